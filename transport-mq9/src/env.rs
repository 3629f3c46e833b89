//! A connector from the environment.

use agentchat_core::{EnvReader, Error, ErrorKind, Result};
use mq9_client::{MailAddress, Mq9Uri};

use crate::connector::{Mq9Connector, Mq9ConnectorBuilder};
use crate::map_error;

impl Mq9ConnectorBuilder {
    /// A builder from this process's environment, to be completed or built:
    ///
    /// | variable | what |
    /// |---|---|
    /// | `MQ9_URL` | the broker, as in [`Mq9Connector::builder`]; without it there is no configuration |
    /// | `MQ9_USER`, `MQ9_PASSWORD` | the login; both or neither |
    /// | `MQ9_TOKEN` | a login by token |
    /// | `MQ9_CREDENTIALS` | a login by a credentials file, its path |
    /// | `MQ9_NKEY_SEED` | a login by nkey |
    /// | `MQ9_TLS_ROOTS` | a PEM file of trusted roots |
    /// | `MQ9_INBOX` | [the inbox](Mq9ConnectorBuilder::inbox) |
    /// | `MQ9_INBOX_FILE` | the file that [keeps a generated inbox](Mq9ConnectorBuilder::kept_inbox) |
    /// | `MQ9_INBOX_PREFIX` | what a generated inbox's name begins with (default `agent`) |
    /// | `MQ9_GROUP` | [the consumer group](Mq9ConnectorBuilder::group) |
    /// | `MQ9_PARTITION` | [the share](Mq9ConnectorBuilder::partition), as `index/count`: `0/4` |
    ///
    /// `None` when there is no `MQ9_URL`: mq9 is off then, whatever else is set. A variable that is set and
    /// empty is not set. No file is read or written before the builder builds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a variable that cannot be used, and for two that exclude each other, also
    /// when there is no `MQ9_URL`. It names the variable and does not show its value.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_env_reader(&EnvReader::process())
    }

    /// The same from another place than the process's environment.
    ///
    /// # Errors
    /// As [`Mq9ConnectorBuilder::from_env`].
    pub fn from_env_reader(env: &EnvReader) -> Result<Option<Self>> {
        let url = env.with("MQ9_URL", |text| checked(&text, text.parse::<Mq9Uri>()))?;
        let login = login(env)?;
        let roots = env.text("MQ9_TLS_ROOTS")?;
        let inbox = env.with("MQ9_INBOX", |text| checked(&text, MailAddress::new(&text)))?;
        let file = env.text("MQ9_INBOX_FILE")?;
        let prefix = env.with("MQ9_INBOX_PREFIX", |text| checked(&text, MailAddress::generate(&text)))?;
        if inbox.is_some() && (file.is_some() || prefix.is_some()) {
            let other = if file.is_some() { "MQ9_INBOX_FILE" } else { "MQ9_INBOX_PREFIX" };
            return Err(EnvReader::fault("MQ9_INBOX", &format!("excludes {other}: unset one of them")));
        }
        let group = env.text("MQ9_GROUP")?;
        let partition = env.with("MQ9_PARTITION", |text| partition(&text))?;

        let Some(url) = url else { return Ok(None) };
        let mut builder = Mq9Connector::builder(url);
        let mut connect = mq9_client::ConnectOptions::new();
        connect = match login {
            Some(Login::User(user, password)) => connect.with_user(user, password),
            Some(Login::Token(token)) => connect.with_token(token),
            Some(Login::File(path)) => connect.with_credentials_file(path),
            Some(Login::Seed(seed)) => connect.with_nkey_seed(seed),
            None => connect,
        };
        if let Some(roots) = roots {
            connect = connect.with_tls_roots(roots);
        }
        builder = builder.connect_options(connect);
        let prefix = prefix.unwrap_or_else(|| "agent".to_owned());
        builder = match (inbox, file) {
            (Some(name), _) => builder.inbox(name),
            (None, Some(path)) => builder.kept_inbox(prefix, path),
            (None, None) => builder.generated_inbox(prefix),
        };
        if let Some(group) = group {
            builder = builder.group(group);
        }
        if let Some((index, count)) = partition {
            builder = builder.partition(index, count);
        }
        Ok(Some(builder))
    }
}

/// How to log in.
enum Login {
    User(String, String),
    Token(String),
    File(String),
    Seed(String),
}

/// The one way that is set.
fn login(env: &EnvReader) -> Result<Option<Login>> {
    let user = match (env.text("MQ9_USER")?, env.text("MQ9_PASSWORD")?) {
        (Some(user), Some(password)) => Some(Login::User(user, password)),
        (Some(_), None) => return Err(EnvReader::fault("MQ9_PASSWORD", "must be set beside MQ9_USER")),
        (None, Some(_)) => return Err(EnvReader::fault("MQ9_USER", "must be set beside MQ9_PASSWORD")),
        (None, None) => None,
    };
    let ways = [
        ("MQ9_USER", user),
        ("MQ9_TOKEN", env.text("MQ9_TOKEN")?.map(Login::Token)),
        ("MQ9_CREDENTIALS", env.text("MQ9_CREDENTIALS")?.map(Login::File)),
        ("MQ9_NKEY_SEED", env.text("MQ9_NKEY_SEED")?.map(Login::Seed)),
    ];
    let mut set = ways.into_iter().filter_map(|(name, way)| Some((name, way?)));
    match (set.next(), set.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(EnvReader::fault(first, &format!("excludes {second}: unset one of them")))
        }
        (way, _) => Ok(way.map(|(_, way)| way)),
    }
}

/// `index/count`.
fn partition(text: &str) -> Result<(u32, u32)> {
    let numbers = text.split_once('/').and_then(|(index, count)| {
        Some((index.trim().parse::<u32>().ok()?, count.trim().parse::<u32>().ok()?))
    });
    match numbers {
        Some((index, count)) if index < count => Ok((index, count)),
        _ => Err(Error::new(ErrorKind::Config, "partition", "it is no `index/count` such as 0/4")),
    }
}

/// The text, if it can be read as what it stands for.
fn checked<T>(text: &str, read: std::result::Result<T, mq9_client::Error>) -> Result<String> {
    read.map(|_| text.to_owned()).map_err(|cause| map_error::error("connector", cause))
}

#[cfg(test)]
mod tests {
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
