//! A connector from the environment.

use agentchat_core::{EnvReader, Result};

use crate::connector::Mq9ConnectorBuilder;
use crate::section::Mq9Section;

impl Mq9ConnectorBuilder {
    /// A builder from this process's environment, to be completed or built:
    ///
    /// | variable | what |
    /// |---|---|
    /// | `MQ9_URL` | the broker, as in [`Mq9Connector::builder`](crate::Mq9Connector::builder); without it there is no configuration |
    /// | `MQ9_AGENT_ID` | who the agent is: a generated inbox's name begins so |
    /// | `MQ9_USER`, `MQ9_PASSWORD` | the login; both or neither |
    /// | `MQ9_TOKEN` | a login by token |
    /// | `MQ9_CREDENTIALS` | a login by a credentials file, its path |
    /// | `MQ9_NKEY_SEED` | a login by nkey |
    /// | `MQ9_TLS_ROOTS` | a PEM file of trusted roots |
    /// | `MQ9_INBOX` | [the inbox](Mq9ConnectorBuilder::inbox) |
    /// | `MQ9_INBOX_FILE` | the file that [keeps a generated inbox](Mq9ConnectorBuilder::kept_inbox) |
    /// | `MQ9_INBOX_PREFIX` | what a generated inbox's name begins with (default: the agent's id, else `agent`) |
    /// | `MQ9_GROUP` | [the consumer group](Mq9ConnectorBuilder::group) |
    /// | `MQ9_PARTITION` | [the share](Mq9ConnectorBuilder::partition), as `index/count`: `0/4` |
    ///
    /// `None` when there is no `MQ9_URL`: mq9 is off then, whatever else is set. A variable that is set and
    /// empty is not set. No file is read or written before the builder builds. The same from a host's own
    /// configuration, with these before it, is [`Mq9Section`].
    ///
    /// # Errors
    /// [`Config`](agentchat_core::ErrorKind::Config) for a variable that cannot be used, and for two that exclude each other, also
    /// when there is no `MQ9_URL`. It names the variable and does not show its value.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_env_reader(&EnvReader::process())
    }

    /// The same from another place than the process's environment.
    ///
    /// # Errors
    /// As [`Mq9ConnectorBuilder::from_env`].
    pub fn from_env_reader(env: &EnvReader) -> Result<Option<Self>> {
        Mq9Section::default().with_env(env)?.builder()
    }
}

#[cfg(test)]
mod tests {
    use agentchat_core::ErrorKind;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Mq9ConnectorBuilder>> {
        Mq9ConnectorBuilder::from_env_reader(&EnvReader::of(variables.iter().copied()))
    }

    const URL: (&str, &str) = ("MQ9_URL", "mq9://localhost:4333");

    #[test]
    fn without_a_url_there_is_nothing_whatever_else_is_set() {
        for variables in [&[][..], &[("MQ9_URL", "")], &[("MQ9_TOKEN", "t"), ("MQ9_INBOX", "a.b")]] {
            assert!(read(variables).expect("fine").is_none(), "{variables:?}");
        }
    }

    #[test]
    fn what_is_set_is_in_the_connector() {
        let all = [
            URL,
            ("MQ9_USER", "ada"),
            ("MQ9_PASSWORD", "secret"),
            ("MQ9_INBOX", "coder.inbox"),
            ("MQ9_GROUP", "workers"),
            ("MQ9_PARTITION", "1/4"),
        ];
        let builder = read(&all).expect("fine").expect("on");
        let shown = format!("{builder:?}");
        assert!(
            shown.contains("workers") && shown.contains("(1, 4)") && !shown.contains("secret"),
            "{shown}"
        );
        let connector = builder.build().expect("usable");
        assert_eq!(connector.address().as_str(), "mq9://localhost:4333/coder.inbox");
        let generated = read(&[URL, ("MQ9_INBOX_PREFIX", "coder")]).expect("fine").expect("on");
        assert!(generated.build().expect("usable").address().name().starts_with("coder."));
        let plain = read(&[URL]).expect("fine").expect("on").build().expect("usable");
        assert!(plain.address().name().starts_with("agent."));
    }

    #[test]
    fn a_kept_inbox_is_the_same_for_the_next_start() {
        let path = std::env::temp_dir().join(format!("inbox-{}", agentchat_core::ClientMsgId::random()));
        let path_text = path.to_str().expect("UTF-8");
        let build = || {
            let builder = read(&[URL, ("MQ9_INBOX_FILE", path_text)]).expect("fine").expect("on");
            builder.build().expect("usable").address().clone()
        };
        assert_eq!(build(), build());
        std::fs::remove_file(path).expect("it was made");
    }

    #[test]
    fn each_bad_value_is_named_and_none_is_shown_even_without_a_url() {
        for (variables, name) in [
            (&[("MQ9_URL", "SECRET")][..], "MQ9_URL"),
            (&[("MQ9_URL", "mq9://u:SECRET@/x")], "MQ9_URL"),
            (&[("MQ9_USER", "SECRET")], "MQ9_PASSWORD"),
            (&[("MQ9_PASSWORD", "SECRET")], "MQ9_USER"),
            (&[("MQ9_TOKEN", "SECRET"), ("MQ9_NKEY_SEED", "SECRET")], "MQ9_NKEY_SEED"),
            (&[("MQ9_TOKEN", " ")], "MQ9_TOKEN"),
            (&[("MQ9_INBOX", "SECRET box")], "MQ9_INBOX"),
            (&[("MQ9_INBOX", "a.b"), ("MQ9_INBOX_FILE", "SECRET")], "MQ9_INBOX_FILE"),
            (&[("MQ9_INBOX_PREFIX", "SECRET box")], "MQ9_INBOX_PREFIX"),
            (&[("MQ9_PARTITION", "SECRET")], "MQ9_PARTITION"),
            (&[("MQ9_PARTITION", "4/4")], "MQ9_PARTITION"),
        ] {
            let error = read(variables).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(name) && !shown.contains("SECRET"), "{shown}");
        }
    }
}
