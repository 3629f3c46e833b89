//! How an agent attaches to a broker, again and again, at the same inbox.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentchat_core::{Address, Connector, Error, ErrorKind, Result, Transport};
use async_trait::async_trait;
use mq9_client::{
    ConnectOptions, CreateMailbox, DeliverPolicy, Lifetime, MailAddress, Mq9Uri, Pacing, Partition,
    PartitionBy, Reconnect,
};

use crate::address::Broker;
use crate::headers::CONVERSATION;
use crate::identity::Identity;
use crate::inboxes::ReadOptions;
use crate::map_error;
use crate::transport::Mq9Transport;

/// Attaches one agent to an mq9 broker. Each [`Connector::connect`] makes a fresh connection to the same
/// inbox.
#[derive(Clone)]
pub struct Mq9Connector {
    settings: Arc<Settings>,
}

/// What a [`Mq9Connector`] is made of.
pub(crate) struct Settings {
    url: String,
    connect: ConnectOptions,
    pub(crate) broker: Broker,
    pub(crate) inbox: MailAddress,
    pub(crate) address: Address,
    pub(crate) read: ReadOptions,
    /// Whether the server was ever found to speak mq9.
    met: AtomicBool,
}

/// Configures a [`Mq9Connector`]. Only [`Mq9ConnectorBuilder::build`] can fail.
#[derive(Clone)]
#[must_use]
pub struct Mq9ConnectorBuilder {
    url: String,
    connect: ConnectOptions,
    identity: Identity,
    aliases: Vec<String>,
    group: String,
    partition: Option<(u32, u32)>,
    pacing: Pacing,
    deliver: DeliverPolicy,
}

impl Mq9Connector {
    /// Begins a connector for the broker at `url`: `mq9://host[:port]`, `mq9s://…` for TLS, or the NATS
    /// forms `nats://` and `tls://`; port 4222 unless written. `user:password@` may stand before the
    /// host. A mailbox in it is passed over: see [`Mq9ConnectorBuilder::inbox`].
    pub fn builder(url: impl Into<String>) -> Mq9ConnectorBuilder {
        Mq9ConnectorBuilder {
            url: url.into(),
            connect: ConnectOptions::new(),
            identity: Identity::Generated { prefix: "agent".to_owned() },
            aliases: Vec::new(),
            group: "agent".to_owned(),
            partition: None,
            pacing: Pacing::default(),
            deliver: DeliverPolicy::Earliest,
        }
    }

    /// The agent's inbox.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }
}

impl Mq9ConnectorBuilder {
    /// Uses the mailbox `name` as inbox. A name others can guess is open to them: on mq9 the address is
    /// the only guard.
    pub fn inbox(mut self, name: impl Into<String>) -> Self {
        self.identity = Identity::Named(name.into());
        self
    }

    /// Makes an inbox `{prefix}.{26 characters}` with 128 random bits, new for this connector (the
    /// default, with the prefix `agent`).
    pub fn generated_inbox(mut self, prefix: impl Into<String>) -> Self {
        self.identity = Identity::Generated { prefix: prefix.into() };
        self
    }

    /// Makes such an inbox once and keeps its name in the file at `path` (owner-readable only), so that
    /// a restarted agent finds its inbox again.
    pub fn kept_inbox(mut self, prefix: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.identity = Identity::Kept { prefix: prefix.into(), path: path.into() };
        self
    }

    /// Credentials, TLS and timeouts. Reconnecting is left to the caller of [`Connector::connect`]:
    /// whatever these options say of it, a lost connection ends the attachment.
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.connect = options;
        self
    }

    /// Another `host[:port]` under which addresses of the same broker may be written. Addresses on any
    /// other host are refused.
    pub fn alias(mut self, host: impl Into<String>) -> Self {
        self.aliases.push(host.into());
        self
    }

    /// The consumer group (default `agent`). It holds the offset: keep it over restarts.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = name.into();
        self
    }

    /// Takes the share `index` of `count` of the inbox: conversations are spread over the shares by a
    /// hash, a message without conversation by its key or number. Each share must be taken by exactly
    /// one process; changing `count` reads the inbox anew.
    pub fn partition(mut self, index: u32, count: u32) -> Self {
        self.partition = Some((index, count));
        self
    }

    /// How often the inbox is looked into.
    pub fn pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Where a group that never acknowledged begins (default: with the oldest message kept).
    pub fn deliver(mut self, policy: DeliverPolicy) -> Self {
        self.deliver = policy;
        self
    }

    /// Checks everything and settles which inbox the agent has.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for the URL, an alias or the identity file; [`ErrorKind::Invalid`] for the
    /// inbox's name, an empty group or an impossible partition.
    pub fn build(self) -> Result<Mq9Connector> {
        let uri: Mq9Uri = self.url.parse().map_err(|cause| map_error::error("connector", cause))?;
        let scheme = if uri.requires_tls() { "mq9s" } else { "mq9" };
        let aliases = self
            .aliases
            .iter()
            .map(|host| format!("{scheme}://{host}").parse::<Mq9Uri>())
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|cause| map_error::error("connector", cause))?;
        if aliases.iter().chain([&uri]).any(Mq9Uri::is_connected_one) {
            let what =
                "the host `broker` means the connected one: as URL or alias it would name every broker";
            return Err(Error::new(ErrorKind::Config, "connector", what));
        }
        if self.group.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "connector", "the consumer group's name is empty"));
        }
        let partition = match self.partition {
            Some((index, count)) => Some(
                Partition::new(index, count)
                    .map_err(|cause| map_error::error("connector", cause))?
                    .with_by(PartitionBy::Header(CONVERSATION.to_owned())),
            ),
            None => None,
        };
        let broker = Broker::new(uri, aliases);
        let inbox = self.identity.resolve()?;
        let address = broker.address_of(&inbox)?;
        let read = ReadOptions { group: self.group, partition, pacing: self.pacing, deliver: self.deliver };
        let connect = self.connect.with_reconnect(Reconnect::Close);
        let settings =
            Settings { url: self.url, connect, broker, inbox, address, read, met: AtomicBool::new(false) };
        Ok(Mq9Connector { settings: Arc::new(settings) })
    }
}

#[async_trait]
impl Connector for Mq9Connector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let settings = Arc::clone(&self.settings);
        let failed = |cause| map_error::error("connect", cause);
        let client = settings.connect.clone().connect(&settings.url).await;
        let client = client.map_err(|cause| match settings.met.load(Ordering::Relaxed) {
            true => map_error::of_known("connect", cause),
            false => failed(cause),
        })?;
        settings.met.store(true, Ordering::Relaxed);
        let inbox = CreateMailbox::named(settings.inbox.clone()).with_lifetime(Lifetime::Forever);
        client.ensure_mailbox(inbox).await.map_err(failed)?;
        let searches = client.can_search().await.map_err(failed)?;
        Ok(Arc::new(Mq9Transport::new(client, settings, searches)))
    }
}

impl fmt::Debug for Mq9Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mq9Connector").field("address", &self.settings.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Mq9ConnectorBuilder {
    /// Leaves out the URL, which may hold a password, and the inbox, whose name is its only guard.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mq9ConnectorBuilder")
            .field("group", &self.group)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("address", &self.address).finish_non_exhaustive()
    }
}
