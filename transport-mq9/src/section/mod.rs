//! The section `mq9` of a host's configuration.

mod card;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use a2a_envelope::{CardBuilder, CardCapabilities, CardOverride};
use agentchat_core::{Address, AgentCard, ConfigSection, EnvReader, Error, ErrorKind, Result};
use mq9_client::ConnectOptions;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::connector::{Mq9Connector, Mq9ConnectorBuilder};
use source::{Layer, Login};

/// The section `mq9` of a host's configuration, in whatever the host writes it: YAML, TOML, JSON.
///
/// ```yaml
/// mq9:
///   broker: "mq9://broker.internal:4332"
///   agent_id: "coder-prod-001"
///   ttl: 600
///   capabilities:
///     streaming: true
///     push_notifications: true
/// ```
///
/// | key | variable | what |
/// |---|---|---|
/// | `broker` | `MQ9_URL` | the broker, as in [`Mq9Connector::builder`]; without it mq9 is off |
/// | `agent_id` | `MQ9_AGENT_ID` | who the agent is: required beside `broker` |
/// | `ttl` | `MQ9_TTL` | for how many seconds the agent counts as alive without a sign of life, 3 to 604800 (default 300) |
/// | `inbox` | `MQ9_INBOX` | [the inbox](Mq9ConnectorBuilder::inbox) |
/// | `inbox_file` | `MQ9_INBOX_FILE` | the file that [keeps a generated inbox](Mq9ConnectorBuilder::kept_inbox) |
/// | `inbox_prefix` | `MQ9_INBOX_PREFIX` | what a generated inbox's name begins with (default: letters and digits of `agent_id`, else `agent`) |
/// | `user`, `password` | `MQ9_USER`, `MQ9_PASSWORD` | the login; both or neither |
/// | `token` | `MQ9_TOKEN` | a login by token |
/// | `credentials` | `MQ9_CREDENTIALS` | a login by a credentials file, its path |
/// | `nkey_seed` | `MQ9_NKEY_SEED` | a login by nkey |
/// | `tls_roots` | `MQ9_TLS_ROOTS` | a PEM file of trusted roots |
/// | `group` | `MQ9_GROUP` | [the consumer group](Mq9ConnectorBuilder::group) |
/// | `partition` | `MQ9_PARTITION` | [the share](Mq9ConnectorBuilder::partition), as `index/count`: `"0/4"` |
/// | `capabilities` | | `streaming`, `push_notifications`: what [the card](Mq9Section::card) says |
/// | `agent_card` | | `name`, `description`, `version`, `skills`, `capabilities`, `default_input_modes`, `default_output_modes`: each replaces what was generated |
///
/// **The environment goes before the file** ([`Mq9Section::with_env`]): a variable that is set replaces the
/// key. A login is replaced as a whole, and so is the choice of an inbox. What is set and empty is not set.
///
/// **Nothing is on by itself.** Without a broker there is [no connector](Mq9Section::builder), whatever else is
/// set, and no broker is a default. **A key that is not known is an error** that names it: one that is
/// misspelt would otherwise be off without a word. Errors call the section `mq9`, wherever it lies, name the
/// path of what is wrong (`mq9.agent_card.skills[0].id`), and show no value. `Debug` shows none either: the
/// section may hold a password.
#[derive(Clone, Default)]
pub struct Mq9Section {
    layer: Layer,
    capabilities: CardCapabilities,
    agent_card: CardOverride,
    /// A file that names a broker must say whose it is.
    names_broker: bool,
}

impl Mq9Section {
    /// Reads the section; its errors' paths begin with `mq9`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the path of what cannot be used or is not known.
    pub fn read(section: ConfigSection) -> Result<Self> {
        let mut section = section.named(NAME);
        let layer = Layer::read(&mut section)?;
        let capabilities = card::capabilities(&mut section)?;
        let agent_card = card::agent_card(&mut section)?;
        section.end()?;
        Ok(Self { names_broker: layer.broker.is_some(), layer, capabilities, agent_card })
    }

    /// Replaces what the environment sets. The section of a host that has none is [`Mq9Section::default`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a variable that cannot be used, and for two that exclude each other, also
    /// when there is no broker. It names the variable and does not show its value.
    pub fn with_env(mut self, env: &EnvReader) -> Result<Self> {
        let over = Layer::read(&mut &*env)?;
        self.layer = self.layer.under(over);
        Ok(self)
    }

    /// Whether there is a broker.
    pub fn is_enabled(&self) -> bool {
        self.layer.broker.is_some()
    }

    /// Who the agent is.
    pub fn agent_id(&self) -> Option<&str> {
        self.layer.agent_id.as_deref()
    }

    /// For how long the agent counts as alive without a sign of life.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.layer.ttl.unwrap_or(TTL))
    }

    /// How often the agent is to [report](agentchat_core::agent::AgentBuilder::heartbeat), so that it counts as
    /// alive for [`Mq9Section::ttl`]: a report counts for three of its intervals.
    pub fn heartbeat(&self) -> Duration {
        self.ttl() / 3
    }

    /// Whether an agent finds its inbox again after a restart. A generated one that no file keeps is new each
    /// time, and what is left in it is never read.
    pub fn keeps_inbox(&self) -> bool {
        self.layer.inbox.is_some() || self.layer.inbox_file.is_some()
    }

    /// The connector of this section, to be completed or built; `None` where there is no broker. An agent that
    /// is given what comes of it, as `Option<Mq9Connector>`, runs either way, and logs one line at level debug
    /// where it is off. No file is read or written before the builder builds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the section names a broker, and neither it nor the environment `agent_id`.
    pub fn builder(&self) -> Result<Option<Mq9ConnectorBuilder>> {
        let Some((url, connect)) = self.broker()? else { return Ok(None) };
        let layer = &self.layer;
        let mut builder = Mq9Connector::builder(url).connect_options(connect);
        let prefix = layer.inbox_prefix.clone().unwrap_or_else(|| self.prefix());
        builder = match (&layer.inbox, &layer.inbox_file) {
            (Some(name), _) => builder.inbox(name),
            (None, Some(path)) => builder.kept_inbox(prefix, path),
            (None, None) => builder.generated_inbox(prefix),
        };
        if let Some(group) = &layer.group {
            builder = builder.group(group);
        }
        if let Some((index, count)) = layer.partition {
            builder = builder.partition(index, count);
        }
        Ok(Some(builder))
    }

    /// The agent's card: what was generated, with what the section says in its place, and with the inbox. A
    /// host generates it from its tools: [`CardBuilder::from_toolsets`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a card that lacks what a card must have, naming it.
    pub fn card(&self, generated: CardBuilder, inbox: &Address) -> Result<AgentCard> {
        let card = generated.capabilities(self.capabilities).overridden(&self.agent_card);
        let card = card.mq9_interface(inbox.as_str()).build().map_err(|error| {
            Error::new(ErrorKind::Config, "agent card", error.to_string()).with_source(error)
        })?;
        AgentCard::from_json(card.into_bytes())
    }

    /// Where the broker is, and how it is reached.
    pub(crate) fn broker(&self) -> Result<Option<(&str, ConnectOptions)>> {
        let Some(url) = self.layer.broker.as_deref() else { return Ok(None) };
        if self.names_broker && self.layer.agent_id.is_none() {
            let what = format!("{NAME}.agent_id is missing: it says whose the broker is");
            return Err(Error::new(ErrorKind::Config, "config", what));
        }
        let mut connect = ConnectOptions::new();
        connect = match self.layer.login.clone() {
            Some(Login::User(user, password)) => connect.with_user(user, password),
            Some(Login::Token(token)) => connect.with_token(token),
            Some(Login::File(path)) => connect.with_credentials_file(path),
            Some(Login::Seed(seed)) => connect.with_nkey_seed(seed),
            None => connect,
        };
        if let Some(roots) = &self.layer.tls_roots {
            connect = connect.with_tls_roots(roots);
        }
        Ok(Some((url, connect)))
    }

    /// What of the id a mailbox's name may have.
    fn prefix(&self) -> String {
        let id = self.agent_id().unwrap_or_default().to_ascii_lowercase();
        let words: Vec<&str> =
            id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let prefix: String = words.join(".").chars().take(LONGEST_PREFIX).collect();
        let prefix = prefix.trim_end_matches('.');
        if prefix.is_empty() { "agent".to_owned() } else { prefix.to_owned() }
    }
}

impl<'de> Deserialize<'de> for Mq9Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::read(ConfigSection::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Debug for Mq9Section {
    /// Leaves out the broker's URL, the login and the inbox: they guard something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mq9Section")
            .field("enabled", &self.is_enabled())
            .field("agent_id", &self.layer.agent_id)
            .field("ttl", &self.ttl())
            .field("group", &self.layer.group)
            .field("partition", &self.layer.partition)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// What errors call the section.
const NAME: &str = "mq9";
/// For how many seconds a registration counts when nothing is said.
const TTL: u64 = 300;
/// A mailbox's name has 128 characters, of which the random part takes 27.
const LONGEST_PREFIX: usize = 64;
