//! The two JSON texts of the handshake: `INFO` from the server, `CONNECT` from the client.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::WireProfile;

/// What the server tells about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) port: u16,
    pub(crate) client_id: u64,
    pub(crate) max_payload: usize,
    pub(crate) auth_required: bool,
}

impl Info {
    /// The `INFO` line. For RobustMQ, field by field as recorded.
    pub(crate) fn line(&self, profile: WireProfile) -> Bytes {
        let text = match profile {
            WireProfile::Standard => json!({
                "server_id": format!("MQ9DOUBLE{:05}", self.port),
                "server_name": "mq9-double",
                "version": "2.9.10",
                "proto": 1,
                "go": "rust",
                "host": "127.0.0.1",
                "port": self.port,
                "headers": true,
                "auth_required": self.auth_required,
                "max_payload": self.max_payload,
                "client_id": self.client_id,
                "client_ip": "127.0.0.1",
            }),
            WireProfile::RobustMq => json!({
                "server_id": "1",
                "server_name": "server-1",
                "version": "0.4.3",
                "proto": 1,
                "host": "127.0.0.1",
                "port": self.port,
                "headers": true,
                "auth_required": self.auth_required,
                "tls_required": false,
                "tls_verify": false,
                "tls_available": true,
                "max_payload": self.max_payload,
                "jetstream": false,
                "client_id": self.client_id,
                "client_ip": "127.0.0.1",
                "nonce": nonce(self.client_id),
                "cluster": "broker-server",
                "cluster_dynamic": true,
                "connect_urls": [format!("127.0.0.1:{}", self.port)],
                "ws_connect_urls": ["127.0.0.1:4443"],
                "ldm": false,
                "git_commit": "-",
                "go": "robustmq-rust",
                "domain": "-",
            }),
        };
        Bytes::from(format!("INFO {text}\r\n"))
    }
}

/// What a client asked for in `CONNECT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) verbose: bool,
    pub(crate) pedantic: bool,
    /// Whether the client wants its own messages back.
    pub(crate) echo: bool,
    pub(crate) headers: bool,
    pub(crate) no_responders: bool,
}

impl Wishes {
    /// What holds before, or without, a `CONNECT`.
    pub(crate) fn unsaid(profile: WireProfile) -> Self {
        // nats-server treats a silent client as a person at a terminal.
        let terminal = profile == WireProfile::Standard;
        Wishes { verbose: terminal, pedantic: terminal, echo: true, headers: !terminal, no_responders: false }
    }
}

/// The name and password a client gave.
#[derive(Default, Deserialize)]
pub(crate) struct Login {
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) pass: Option<String>,
}

/// Reads a `CONNECT` text. `None`: not acceptable to this profile.
pub(crate) fn read_connect(profile: WireProfile, text: &[u8]) -> Option<(Wishes, Login)> {
    let unsaid = Wishes::unsaid(profile);
    let connect: Connect = serde_json::from_slice(text).ok()?;
    let login = Login { user: connect.user, pass: connect.pass };
    let wishes = Wishes {
        verbose: connect.verbose.unwrap_or(unsaid.verbose),
        pedantic: connect.pedantic.unwrap_or(unsaid.pedantic),
        echo: connect.echo.unwrap_or(unsaid.echo),
        headers: connect.headers.unwrap_or(unsaid.headers),
        no_responders: connect.no_responders.unwrap_or(unsaid.no_responders),
    };
    let complete = connect.verbose.is_some()
        && connect.pedantic.is_some()
        && connect.tls_required.is_some()
        && connect.name.is_some()
        && connect.lang.is_some()
        && connect.version.is_some();
    (complete || profile == WireProfile::Standard).then_some((wishes, login))
}

#[derive(Deserialize)]
struct Connect {
    verbose: Option<bool>,
    pedantic: Option<bool>,
    tls_required: Option<bool>,
    name: Option<String>,
    lang: Option<String>,
    version: Option<String>,
    echo: Option<bool>,
    headers: Option<bool>,
    no_responders: Option<bool>,
    user: Option<String>,
    pass: Option<String>,
}

/// Twenty lower-case characters, as the broker sends; nothing is ever signed with them.
fn nonce(client_id: u64) -> String {
    let mut random = fastrand::Rng::with_seed(client_id);
    (0..20)
        .map(|_| random.choice(b"0123456789abcdefghijklmnopqrstuv").map_or('0', |byte| char::from(*byte)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str =
        r#"{"verbose":false,"pedantic":false,"tls_required":false,"name":"n","lang":"l","version":"1"}"#;

    #[test]
    fn robustmq_throws_away_a_connect_without_its_six_fields() {
        assert!(read_connect(WireProfile::RobustMq, FULL.as_bytes()).is_some());
        let full: serde_json::Map<String, serde_json::Value> = serde_json::from_str(FULL).unwrap();
        for field in full.keys() {
            for replacement in [None, Some(serde_json::Value::Null)] {
                let mut poorer = full.clone();
                match replacement {
                    None => poorer.remove(field),
                    Some(null) => poorer.insert(field.clone(), null),
                };
                let text = serde_json::to_vec(&poorer).unwrap();
                assert!(read_connect(WireProfile::RobustMq, &text).is_none(), "{field}");
                assert!(read_connect(WireProfile::Standard, &text).is_some(), "{field}");
            }
        }
    }

    #[test]
    fn unsaid_wishes_are_those_of_nats_server() {
        let (wishes, _) = read_connect(WireProfile::Standard, b"{}").unwrap();
        let expected =
            Wishes { verbose: true, pedantic: true, echo: true, headers: false, no_responders: false };
        assert_eq!(wishes, expected);
    }
}
