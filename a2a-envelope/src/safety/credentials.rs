//! Credentials among the service parameters of a request.

use crate::envelope::Envelope;
use crate::error::Result;
use crate::headers::Headers;

/// What happens to credentials among the service parameters of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// They are left out. Whoever knows an mq9 address can read the mailbox, and inbox addresses are
    /// published, so a credential sent there is a credential given away.
    #[default]
    LeaveOut,
    /// They travel. For mailboxes whose readers are known by other means.
    Carry,
}

/// Whether a header of this name carries a credential.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    EXACT.contains(&name.as_str()) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

impl Headers {
    /// Takes away every header that carries a credential, and says how many there were.
    pub fn remove_credentials(&mut self) -> usize {
        let found: Vec<String> =
            self.iter().map(|(name, _)| name).filter(|name| is_credential(name)).map(str::to_owned).collect();
        found.iter().for_each(|name| drop(self.remove(name)));
        found.len()
    }
}

impl Envelope {
    /// Adds service parameters, as an A2A client has them: names with their values, which are joined with
    /// `, `. Names are lower-cased; those of this format (`amb-…`, `mq9-…`) are passed over, since they are
    /// not the caller's to set.
    ///
    /// # Errors
    ///
    /// [`Error::Header`](crate::Error::Header) for a name or value that breaks a rule.
    pub fn with_service_parameters<N, V>(
        mut self,
        parameters: impl IntoIterator<Item = (N, V)>,
        credentials: Credentials,
    ) -> Result<Self>
    where
        N: AsRef<str>,
        V: IntoIterator,
        V::Item: AsRef<str>,
    {
        for (name, values) in parameters {
            let name = name.as_ref().to_ascii_lowercase();
            let refused = is_credential(&name) && credentials == Credentials::LeaveOut;
            if refused || OWN.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let values: Vec<String> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
            self.headers.set(&name, &values.join(", "))?;
        }
        Ok(self)
    }
}

const EXACT: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "api-key",
    "apikey",
    "x-amz-security-token",
];
const ENDINGS: [&str; 7] =
    ["-api-key", "-apikey", "-token", "-secret", "-password", "-authorization", "-cookie"];
const OWN: [&str; 2] = ["amb-", "mq9-"];

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: [(&str, &[&str]); 5] = [
        ("A2A-Version", &["1.0"]),
        ("A2A-Extensions", &["https://a.example", "https://b.example"]),
        ("Authorization", &["Bearer secret"]),
        ("X-Api-Key", &["secret"]),
        ("amb-seq", &["7"]),
    ];

    fn with(credentials: Credentials) -> Headers {
        let parameters = PARAMETERS.map(|(name, values)| (name, values.iter()));
        Envelope::new("{}").with_service_parameters(parameters, credentials).unwrap().headers
    }

    #[test]
    fn credentials_do_not_travel_unless_asked_for() {
        let headers = with(Credentials::default());
        assert_eq!(headers.get("a2a-version"), Some("1.0"));
        assert_eq!(headers.get("a2a-extensions"), Some("https://a.example, https://b.example"));
        assert_eq!(headers.len(), 3, "{headers:?}");
        let carried = with(Credentials::Carry);
        assert_eq!(carried.get("authorization"), Some("Bearer secret"));
        assert_eq!(carried.get("x-api-key"), Some("secret"));
    }

    #[test]
    fn a_caller_cannot_set_the_formats_own_headers_by_a_parameter() {
        for credentials in [Credentials::LeaveOut, Credentials::Carry] {
            assert!(!with(credentials).contains("amb-seq"));
        }
    }

    #[test]
    fn credentials_are_told_by_name() {
        for name in
            ["Authorization", "COOKIE", "x-auth-token", "my-api-key", "Proxy-Authorization", "client-secret"]
        {
            assert!(is_credential(name), "{name}");
        }
        for name in ["a2a-version", "traceparent", "amb-idempotency-key", "mq9-key", "tokens", "authorized"] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn what_is_forwarded_can_be_freed_of_them() {
        let mut headers = with(Credentials::Carry);
        assert_eq!(headers.remove_credentials(), 2);
        assert_eq!(headers, with(Credentials::LeaveOut));
        assert_eq!(headers.remove_credentials(), 0);
    }
}
