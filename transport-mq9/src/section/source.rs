//! One reading for both places that settings come from.

use std::ops::RangeInclusive;

use agentchat_core::{ConfigSection, EnvReader, Error, ErrorKind, Result};
use mq9_client::{MailAddress, Mq9Uri};

use crate::map_error;

/// What one place says. What it does not say is left to the other.
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) broker: Option<String>,
    pub(super) agent_id: Option<String>,
    pub(super) ttl: Option<u64>,
    pub(super) login: Option<Login>,
    pub(super) tls_roots: Option<String>,
    pub(super) inbox: Option<String>,
    pub(super) inbox_file: Option<String>,
    pub(super) inbox_prefix: Option<String>,
    pub(super) group: Option<String>,
    pub(super) partition: Option<(u32, u32)>,
}

/// How to log in.
#[derive(Clone)]
pub(super) enum Login {
    User(String, String),
    Token(String),
    File(String),
    Seed(String),
}

/// What a setting is called in either place.
pub(super) struct Key {
    variable: &'static str,
    key: &'static str,
}

/// A place that settings come from.
pub(super) trait Source {
    fn text(&mut self, key: &Key) -> Result<Option<String>>;
    fn with<T>(&mut self, key: &Key, make: impl FnOnce(String) -> Result<T>) -> Result<Option<T>>;
    fn number(&mut self, key: &Key, range: RangeInclusive<u64>) -> Result<Option<u64>>;
    fn name(&self, key: &Key) -> String;
    fn fault(&self, key: &Key, what: &str) -> Error;
}

impl Layer {
    /// Reads all there is. What excludes each other in one place is an error of that place.
    pub(super) fn read(source: &mut impl Source) -> Result<Self> {
        let broker = source.with(&BROKER, |text| checked(&text, text.parse::<Mq9Uri>()))?;
        let agent_id = source.text(&AGENT_ID)?;
        let ttl = source.number(&TTL, SECONDS)?;
        let login = login(source)?;
        let tls_roots = source.text(&TLS_ROOTS)?;
        let inbox = source.with(&INBOX, |text| checked(&text, MailAddress::new(&text)))?;
        let inbox_file = source.text(&INBOX_FILE)?;
        let inbox_prefix = source.with(&INBOX_PREFIX, |text| checked(&text, MailAddress::generate(&text)))?;
        if inbox.is_some() && (inbox_file.is_some() || inbox_prefix.is_some()) {
            let other = if inbox_file.is_some() { INBOX_FILE } else { INBOX_PREFIX };
            return Err(source.fault(&INBOX, &excludes(source, &other)));
        }
        let group = source.text(&GROUP)?;
        let partition = source.with(&PARTITION, |text| partition(&text))?;
        Ok(Self {
            broker,
            agent_id,
            ttl,
            login,
            tls_roots,
            inbox,
            inbox_file,
            inbox_prefix,
            group,
            partition,
        })
    }

    /// This, where `over` says nothing.
    pub(super) fn under(mut self, over: Self) -> Self {
        if over.inbox.is_some() {
            (self.inbox_file, self.inbox_prefix) = (None, None);
        } else if over.inbox_file.is_some() || over.inbox_prefix.is_some() {
            self.inbox = None;
        }
        Self {
            broker: over.broker.or(self.broker),
            agent_id: over.agent_id.or(self.agent_id),
            ttl: over.ttl.or(self.ttl),
            login: over.login.or(self.login),
            tls_roots: over.tls_roots.or(self.tls_roots),
            inbox: over.inbox.or(self.inbox),
            inbox_file: over.inbox_file.or(self.inbox_file),
            inbox_prefix: over.inbox_prefix.or(self.inbox_prefix),
            group: over.group.or(self.group),
            partition: over.partition.or(self.partition),
        }
    }
}

impl Source for &EnvReader {
    fn text(&mut self, key: &Key) -> Result<Option<String>> {
        EnvReader::text(self, key.variable)
    }

    fn with<T>(&mut self, key: &Key, make: impl FnOnce(String) -> Result<T>) -> Result<Option<T>> {
        EnvReader::with(self, key.variable, make)
    }

    fn number(&mut self, key: &Key, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let expected = format!("a whole number, {} to {}", range.start(), range.end());
        match self.parse::<u64>(key.variable, &expected)? {
            Some(number) if !range.contains(&number) => {
                Err(Source::fault(self, key, &format!("must be {expected}")))
            }
            number => Ok(number),
        }
    }

    fn name(&self, key: &Key) -> String {
        key.variable.to_owned()
    }

    fn fault(&self, key: &Key, what: &str) -> Error {
        EnvReader::fault(key.variable, what)
    }
}

impl Source for ConfigSection {
    fn text(&mut self, key: &Key) -> Result<Option<String>> {
        ConfigSection::text(self, key.key)
    }

    fn with<T>(&mut self, key: &Key, make: impl FnOnce(String) -> Result<T>) -> Result<Option<T>> {
        ConfigSection::with(self, key.key, make)
    }

    fn number(&mut self, key: &Key, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        ConfigSection::number(self, key.key, range)
    }

    fn name(&self, key: &Key) -> String {
        self.path_of(key.key)
    }

    fn fault(&self, key: &Key, what: &str) -> Error {
        ConfigSection::fault(self, key.key, what)
    }
}

/// The one way that is set.
fn login(source: &mut impl Source) -> Result<Option<Login>> {
    let user = match (source.text(&USER)?, source.text(&PASSWORD)?) {
        (Some(user), Some(password)) => Some(Login::User(user, password)),
        (Some(_), None) => return Err(source.fault(&PASSWORD, &beside(source, &USER))),
        (None, Some(_)) => return Err(source.fault(&USER, &beside(source, &PASSWORD))),
        (None, None) => None,
    };
    let ways = [
        (USER, user),
        (TOKEN, source.text(&TOKEN)?.map(Login::Token)),
        (CREDENTIALS, source.text(&CREDENTIALS)?.map(Login::File)),
        (NKEY_SEED, source.text(&NKEY_SEED)?.map(Login::Seed)),
    ];
    let mut set = ways.into_iter().filter_map(|(name, way)| Some((name, way?)));
    match (set.next(), set.next()) {
        (Some((first, _)), Some((second, _))) => Err(source.fault(&first, &excludes(source, &second))),
        (way, _) => Ok(way.map(|(_, way)| way)),
    }
}

fn excludes(source: &impl Source, other: &Key) -> String {
    format!("excludes {}: unset one of them", source.name(other))
}

fn beside(source: &impl Source, other: &Key) -> String {
    format!("must be set beside {}", source.name(other))
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

const fn key(variable: &'static str, key: &'static str) -> Key {
    Key { variable, key }
}

const BROKER: Key = key("MQ9_URL", "broker");
const AGENT_ID: Key = key("MQ9_AGENT_ID", "agent_id");
const TTL: Key = key("MQ9_TTL", "ttl");
const USER: Key = key("MQ9_USER", "user");
const PASSWORD: Key = key("MQ9_PASSWORD", "password");
const TOKEN: Key = key("MQ9_TOKEN", "token");
const CREDENTIALS: Key = key("MQ9_CREDENTIALS", "credentials");
const NKEY_SEED: Key = key("MQ9_NKEY_SEED", "nkey_seed");
const TLS_ROOTS: Key = key("MQ9_TLS_ROOTS", "tls_roots");
const INBOX: Key = key("MQ9_INBOX", "inbox");
const INBOX_FILE: Key = key("MQ9_INBOX_FILE", "inbox_file");
const INBOX_PREFIX: Key = key("MQ9_INBOX_PREFIX", "inbox_prefix");
const GROUP: Key = key("MQ9_GROUP", "group");
const PARTITION: Key = key("MQ9_PARTITION", "partition");
/// A week is longer than the broker keeps a message.
const SECONDS: RangeInclusive<u64> = 3..=604_800;
