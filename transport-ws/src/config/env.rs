//! Settings from the environment.

use agentchat_core::{EnvReader, Result};

use super::{AgentChatConfig, AgentChatSection};

impl AgentChatConfig {
    /// Settings from this process's environment:
    ///
    /// | variable | what |
    /// |---|---|
    /// | `AGENTCHATME_API_KEY` | the agent's key; without it there is no configuration |
    /// | `AGENTCHATME_HANDLE` | whose key it should be: [`with_handle`](super::AgentChatConfigBuilder::with_handle) |
    /// | `AGENTCHATME_API_BASE` | the REST base, where it is not [`DEFAULT_BASE_URL`](crate::DEFAULT_BASE_URL) |
    ///
    /// `None` when there is no key: AgentChat is off then, whatever else is set. A variable that is set and
    /// empty is not set. The same from a host's own configuration, with these before it, is
    /// [`AgentChatSection`].
    ///
    /// # Errors
    /// [`Config`](agentchat_core::ErrorKind::Config) for a variable that cannot be used, also when there is no
    /// key. It names the variable and does not show its value.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_env_reader(&EnvReader::process())
    }

    /// The same from another place than the process's environment.
    ///
    /// # Errors
    /// As [`AgentChatConfig::from_env`].
    pub fn from_env_reader(env: &EnvReader) -> Result<Option<Self>> {
        AgentChatSection::default().with_env(env)?.config()
    }
}

#[cfg(test)]
mod tests {
    use agentchat_core::ErrorKind;

    use super::*;
    use crate::key::ApiKey;

    const API_KEY: &str = "AGENTCHATME_API_KEY";
    const HANDLE: &str = "AGENTCHATME_HANDLE";
    const API_BASE: &str = "AGENTCHATME_API_BASE";

    const KEY: &str = "ac_live_0123456789abcdefghij";

    fn read(variables: &[(&str, &str)]) -> Result<Option<AgentChatConfig>> {
        AgentChatConfig::from_env_reader(&EnvReader::of(variables.iter().copied()))
    }

    #[test]
    fn without_a_key_there_is_nothing_whatever_else_is_set() {
        for variables in [&[][..], &[(API_KEY, "")], &[(HANDLE, "alice"), (API_BASE, "https://chat.example")]]
        {
            assert!(read(variables).expect("fine").is_none(), "{variables:?}");
        }
    }

    #[test]
    fn every_variable_sets_its_setting() {
        let config = read(&[(API_KEY, KEY)]).expect("fine").expect("on");
        assert_eq!((config.base_url(), config.handle()), (crate::DEFAULT_BASE_URL, None));
        let all = [(API_KEY, KEY), (HANDLE, " @Alice-1 "), (API_BASE, "http://localhost:8080/v/")];
        let config = read(&all).expect("fine").expect("on");
        assert_eq!(config.key(), Some(&ApiKey::new(KEY).expect("valid")));
        assert_eq!((config.base_url(), config.handle()), ("http://localhost:8080/v", Some("alice-1")));
    }

    #[test]
    fn each_bad_value_is_named_and_none_is_shown_even_without_a_key() {
        for (name, value) in [
            (API_KEY, "ac_SECRET"),
            (API_KEY, "ac_SECRET with a blank in it"),
            (HANDLE, "SECRET_handle"),
            (HANDLE, "x"),
            (API_BASE, "SECRET"),
            (API_BASE, "ftp://SECRET"),
            (API_BASE, "https://user:SECRET@chat.example"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(name) && !shown.contains("SECRET"), "{shown}");
        }
    }
}
