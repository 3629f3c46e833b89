//! The REST base and what is derived from it.

use std::fmt;

use agentchat_core::{Error, ErrorKind, Result};
use url::Url;

/// `http[s]://host[:port][/prefix]`, without a `/` at its end.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    /// Checks `text`. A path prefix is kept as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the base URL and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |what: &str| Error::new(ErrorKind::Config, "config", format!("the base URL {what}"));
        let url = Url::parse(text.trim()).map_err(|error| invalid("is no URL").with_source(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not carry credentials"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("must not have a query or a fragment"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("has no host"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The socket's URL: the scheme's `http` becomes `ws`, the path is joined as text.
    pub(crate) fn websocket(&self) -> String {
        let rest = self.0.strip_prefix("http").unwrap_or(&self.0);
        format!("ws{rest}/v1/ws")
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_kept_and_the_socket_is_beside_it() {
        for (text, base, socket) in [
            ("https://api.agentchat.me", "https://api.agentchat.me", "wss://api.agentchat.me/v1/ws"),
            ("http://127.0.0.1:3900/", "http://127.0.0.1:3900", "ws://127.0.0.1:3900/v1/ws"),
            ("https://edge.test/chat//", "https://edge.test/chat", "wss://edge.test/chat/v1/ws"),
            ("HTTPS://Edge.Test:8443/a/b", "https://edge.test:8443/a/b", "wss://edge.test:8443/a/b/v1/ws"),
            ("http://[::1]:80/", "http://[::1]", "ws://[::1]/v1/ws"),
        ] {
            let url = BaseUrl::parse(text).expect(text);
            assert_eq!((url.as_str(), url.websocket().as_str()), (base, socket), "{text}");
            assert_eq!(url.is_tls(), socket.starts_with("wss"));
        }
    }

    #[test]
    fn other_urls_are_refused_by_name_and_not_repeated() {
        for (text, reason) in [
            ("", "no URL"),
            ("api.agentchat.me", "no URL"),
            ("ws://h/", "http://"),
            ("ftp://h/", "http://"),
            ("https://user:secretpw@h/", "credentials"),
            ("https://h/?key=secretpw", "query"),
            ("https://h/#x", "fragment"),
        ] {
            let error = BaseUrl::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error:?} {error}");
            assert!(shown.contains("base URL") && shown.contains(reason), "{text}: {shown}");
            assert!(!shown.contains("secretpw"), "{shown}");
        }
    }
}
