//! The section `agentchat` of a host's configuration.

use std::fmt;

use agentchat_core::{ConfigSection, EnvReader, Error, ErrorKind, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{AgentChatConfig, BaseUrl, InvitationPolicy};
use crate::key::ApiKey;

/// The section `agentchat` of a host's configuration, in whatever the host writes it: YAML, TOML, JSON.
///
/// ```yaml
/// agentchat:
///   api_key_file: "/etc/agent/agentchat.key"
///   handle: "tally-ho"
/// ```
///
/// | key | variable | what |
/// |---|---|---|
/// | `api_key` | `AGENTCHATME_API_KEY` | the agent's key; without it and without a file AgentChat is off |
/// | `api_key_file` | | [the file](ApiKey::from_file) that holds the key, in place of `api_key` |
/// | `handle` | `AGENTCHATME_HANDLE` | whose key it should be: [`with_handle`](super::AgentChatConfigBuilder::with_handle) |
/// | `api_base` | `AGENTCHATME_API_BASE` | the REST base, where it is not [`DEFAULT_BASE_URL`](crate::DEFAULT_BASE_URL) |
/// | `tls_roots` | | [a PEM file](super::AgentChatConfigBuilder::with_tls_roots) of trusted roots |
/// | `extra_tls_roots` | | [the same](super::AgentChatConfigBuilder::with_extra_tls_roots), besides the others |
/// | `env_proxy` | | whether HTTP goes through [the environment's proxy](super::AgentChatConfigBuilder::with_env_proxy) |
/// | `invitations` | | `leave` or `accept_all`: [`InvitationPolicy`] |
///
/// **The environment goes before the file** ([`AgentChatSection::with_env`]): a variable that is set replaces
/// the key of its row, and that of the API key replaces `api_key_file` too. What is set and empty is not set.
///
/// **Nothing is on by itself**: without a key there is [no configuration](AgentChatSection::config). **A key of
/// the section that is not known is an error** that names it: one that is misspelt would otherwise be off
/// without a word. Errors call the section `agentchat`, wherever it lies, name the path of what is wrong, and
/// show no value; neither does `Debug` show the API key. A configuration is often readable by more than its
/// owner: a file that holds the key alone, as `agentchat_register` writes it, is the better place.
#[derive(Clone, Default)]
pub struct AgentChatSection {
    key: Option<KeySource>,
    handle: Option<String>,
    base: Option<String>,
    tls_roots: Option<String>,
    extra_tls_roots: Option<String>,
    env_proxy: bool,
    invitations: InvitationPolicy,
}

#[derive(Clone)]
enum KeySource {
    Given(ApiKey),
    File(String),
}

impl AgentChatSection {
    /// Reads the section; its errors' paths begin with `agentchat`. No file is read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path of what cannot be used or is not known.
    pub fn read(section: ConfigSection) -> Result<Self> {
        let mut section = section.named(NAME);
        let key = section.with("api_key", ApiKey::new)?.map(KeySource::Given);
        let file = section.text("api_key_file")?.map(KeySource::File);
        if key.is_some() && file.is_some() {
            let what = format!("excludes {NAME}.api_key_file: leave one of them out");
            return Err(section.fault("api_key", &what));
        }
        let read = Self {
            key: key.or(file),
            handle: section.with("handle", |text| super::handle::own(&text))?,
            base: section.with("api_base", |text| BaseUrl::parse(&text).map(|_| text))?,
            tls_roots: section.text("tls_roots")?,
            extra_tls_roots: section.text("extra_tls_roots")?,
            env_proxy: section.flag("env_proxy")?.unwrap_or(false),
            invitations: section.with("invitations", |text| policy(&text))?.unwrap_or_default(),
        };
        section.end()?;
        Ok(read)
    }

    /// Replaces what the environment sets. The section of a host that has none is
    /// [`AgentChatSection::default`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a variable that cannot be used, also when there is no key. It names the
    /// variable and does not show its value.
    pub fn with_env(mut self, env: &EnvReader) -> Result<Self> {
        let key = env.with("AGENTCHATME_API_KEY", ApiKey::new)?.map(KeySource::Given);
        let handle = env.with("AGENTCHATME_HANDLE", |text| super::handle::own(&text))?;
        let base = env.with("AGENTCHATME_API_BASE", |text| BaseUrl::parse(&text).map(|_| text))?;
        self.key = key.or(self.key);
        self.handle = handle.or(self.handle);
        self.base = base.or(self.base);
        Ok(self)
    }

    /// Whether there is a key, or a file that should hold one.
    pub fn is_enabled(&self) -> bool {
        self.key.is_some()
    }

    /// Whose key it should be, where that was said.
    pub fn handle(&self) -> Option<&str> {
        self.handle.as_deref()
    }

    /// The settings that this section makes; `None` where there is no key. An agent that is given a connector
    /// made of it, as an `Option`, runs either way, and logs one line at level debug where it is off. The key
    /// file is read here.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a key file that cannot be read or holds no key, naming `agentchat.api_key_file`.
    pub fn config(&self) -> Result<Option<AgentChatConfig>> {
        let key = match &self.key {
            None => return Ok(None),
            Some(KeySource::Given(key)) => key.clone(),
            Some(KeySource::File(path)) => ApiKey::from_file(path).map_err(|error| {
                let what = format!("{NAME}.api_key_file cannot be used: {error}");
                Error::new(ErrorKind::Config, "config", what).with_source(error)
            })?,
        };
        let mut builder =
            AgentChatConfig::builder(key).with_env_proxy(self.env_proxy).with_invitations(self.invitations);
        if let Some(handle) = &self.handle {
            builder = builder.with_handle(handle);
        }
        if let Some(base) = &self.base {
            builder = builder.with_base_url(base);
        }
        if let Some(roots) = &self.tls_roots {
            builder = builder.with_tls_roots(roots);
        }
        if let Some(roots) = &self.extra_tls_roots {
            builder = builder.with_extra_tls_roots(roots);
        }
        builder.build().map(Some)
    }
}

impl<'de> Deserialize<'de> for AgentChatSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::read(ConfigSection::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Debug for AgentChatSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatSection")
            .field("enabled", &self.is_enabled())
            .field("handle", &self.handle)
            .field("base", &self.base)
            .field("env_proxy", &self.env_proxy)
            .field("invitations", &self.invitations)
            .finish_non_exhaustive()
    }
}

fn policy(text: &str) -> Result<InvitationPolicy> {
    match text {
        "leave" => Ok(InvitationPolicy::Leave),
        "accept_all" => Ok(InvitationPolicy::AcceptAll),
        _ => Err(Error::new(ErrorKind::Config, "invitations", "it is neither leave nor accept_all")),
    }
}

/// What errors call the section.
const NAME: &str = "agentchat";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ac_live_0123456789abcdefghij";
    const OTHER: &str = "ac_live_zyxwvutsrqponmlkjihg";

    fn read(text: &str) -> std::result::Result<AgentChatSection, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn env(variables: &[(&str, &str)]) -> EnvReader {
        EnvReader::of(variables.iter().copied())
    }

    #[test]
    fn every_key_sets_its_setting() {
        let text = format!(
            r#"{{"api_key": "{KEY}", "handle": "@Tally-Ho", "api_base": "http://localhost:8080/v/",
                "tls_roots": "/a.pem", "extra_tls_roots": "/b.pem", "env_proxy": true, "invitations": "accept_all"}}"#
        );
        let section = read(&text).expect("fine");
        assert_eq!((section.is_enabled(), section.handle()), (true, Some("tally-ho")));
        let config = section.config().expect("fine").expect("on");
        assert_eq!(config.key(), Some(&ApiKey::new(KEY).expect("a key")));
        assert_eq!((config.handle(), config.base_url()), (Some("tally-ho"), "http://localhost:8080/v"));
        let roots = (config.tls_roots(), config.extra_tls_roots());
        assert_eq!(roots, (Some("/a.pem".as_ref()), Some("/b.pem".as_ref())));
        assert_eq!((config.settings.env_proxy, config.invitations()), (true, InvitationPolicy::AcceptAll));
        let plain = read(&format!(r#"{{"api_key": "{KEY}"}}"#)).expect("fine").config();
        let plain = plain.expect("fine").expect("on");
        assert_eq!((plain.handle(), plain.base_url()), (None, crate::DEFAULT_BASE_URL));
        assert_eq!((plain.settings.env_proxy, plain.invitations()), (false, InvitationPolicy::Leave));
    }

    #[test]
    fn a_key_comes_from_a_file_that_is_named_where_it_cannot_be_used() {
        let path = std::env::temp_dir().join(format!("agentchat-section-{}", uuid::Uuid::new_v4()));
        let section = read(&format!(r#"{{"api_key_file": {path:?}}}"#)).expect("fine");
        assert!(section.is_enabled());
        let missing = section.config().expect_err("not there");
        assert!(missing.to_string().contains("agentchat.api_key_file cannot be used"), "{missing}");
        ApiKey::new(KEY).expect("a key").to_new_file(&path).expect("written");
        let config = section.config().expect("fine").expect("on");
        assert_eq!(config.key(), Some(&ApiKey::new(KEY).expect("a key")));
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn without_a_key_there_is_nothing_whatever_else_is_set() {
        for text in ["{}", "null", r#"{"api_key": ""}"#, r#"{"handle": "alice", "api_base": "https://h"}"#] {
            let section = read(text).expect(text).with_env(&env(&[("AGENTCHATME_HANDLE", "bob")]));
            let section = section.expect("fine");
            assert!(!section.is_enabled() && section.config().expect("fine").is_none(), "{text}");
        }
    }

    #[test]
    fn the_environment_goes_before_the_file_and_leaves_what_it_does_not_name() {
        let text =
            format!(r#"{{"api_key": "{KEY}", "handle": "alice", "api_base": "https://file.example"}}"#);
        let kept = read(&text).expect("fine").with_env(&env(&[])).expect("fine").config();
        let kept = kept.expect("fine").expect("on");
        assert_eq!((kept.handle(), kept.base_url()), (Some("alice"), "https://file.example"));
        let over = env(&[("AGENTCHATME_API_KEY", OTHER), ("AGENTCHATME_HANDLE", "bob")]);
        for text in [text, r#"{"api_key_file": "/no/such/file", "api_base": "https://file.example"}"#.into()]
        {
            let config = read(&text).expect("fine").with_env(&over).expect("fine").config();
            let config = config.expect("the file is not read").expect("on");
            assert_eq!(config.key(), Some(&ApiKey::new(OTHER).expect("a key")));
            assert_eq!((config.handle(), config.base_url()), (Some("bob"), "https://file.example"));
        }
        let base = env(&[("AGENTCHATME_API_BASE", "https://env.example")]);
        let config = read(&format!(r#"{{"api_key": "{KEY}"}}"#)).expect("fine").with_env(&base);
        let config = config.expect("fine").config().expect("fine").expect("on");
        assert_eq!(config.base_url(), "https://env.example");
    }

    #[test]
    fn each_bad_value_is_named_by_its_path_and_none_is_shown() {
        let both = format!(r#"{{"api_key": "{KEY}", "api_key_file": "SECRET"}}"#);
        for (text, path) in [
            (r#"{"api_key": "ac_SECRET"}"#, "agentchat.api_key cannot be used"),
            (r#"{"api_key": 4711}"#, "agentchat.api_key must be a text"),
            (both.as_str(), "agentchat.api_key excludes agentchat.api_key_file"),
            (r#"{"api_key_file": 4711}"#, "agentchat.api_key_file must be a text"),
            (r#"{"handle": "SECRET_handle"}"#, "agentchat.handle cannot be used"),
            (r#"{"api_base": "ftp://SECRET"}"#, "agentchat.api_base cannot be used"),
            (r#"{"api_base": "https://user:SECRET@chat.example"}"#, "agentchat.api_base cannot be used"),
            (r#"{"tls_roots": ["SECRET"]}"#, "agentchat.tls_roots must be a text"),
            (r#"{"extra_tls_roots": false}"#, "agentchat.extra_tls_roots must be a text"),
            (r#"{"env_proxy": "SECRET"}"#, "agentchat.env_proxy must be true or false"),
            (r#"{"invitations": "SECRET"}"#, "agentchat.invitations cannot be used"),
            (r#"{"apikey": "SECRET"}"#, "agentchat.apikey is not known"),
        ] {
            let shown = read(text).expect_err(text).to_string();
            assert!(shown.contains(path), "{text}: {shown}");
            assert!(!shown.contains("SECRET") && !shown.contains("4711") && !shown.contains(KEY), "{shown}");
        }
        let over = env(&[("AGENTCHATME_API_KEY", "SECRET")]);
        let error = AgentChatSection::default().with_env(&over).expect_err("too short");
        assert!(error.to_string().contains("AGENTCHATME_API_KEY") && !error.to_string().contains("SECRET"));
    }

    #[test]
    fn the_section_prints_without_the_key() {
        let shown = format!("{:?}", read(&format!(r#"{{"api_key": "{KEY}"}}"#)).expect("fine"));
        assert!(shown.contains("enabled: true") && !shown.contains("0123456789"), "{shown}");
    }
}
