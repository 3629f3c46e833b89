//! The contract a network implements: one live attachment, and how to get a fresh one.
//!
//! The steps from nothing to a conforming transport are on [`Transport`].

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

use crate::address::Address;
use crate::agent::Role;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::{Delivery, Receipt};
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, Result};
use crate::id::{AckTag, ConversationId};
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, SubscribeOptions};

/// One live attachment of one agent to a network.
///
/// For implementers:
/// - **one honest attempt per call**: no retry, no reconnect inside; say in the error whether it reached
///   the peer;
/// - a lost connection ends the attachment: from then on every call fails with
///   [`Disconnected`](crate::ErrorKind::Disconnected), subscriptions end after that error, and the
///   [`Connector`] makes a new one;
/// - every call ends by a deadline of the transport's own;
/// - futures may be dropped at any await: what has not been sent is not sent, what has been may arrive;
/// - wrappers forward every method (`clippy::missing_trait_methods` watches over it).
///
/// # Writing one
///
/// `examples/custom_transport.rs` in the repository is a whole transport in less than 150 lines of code,
/// between two marks, with its harness. In this order each step can be tested before the next:
///
/// 1. **A scheme and an address.** Choose the URI scheme of your network and how an agent's name becomes
///    an [`Address`]. Write a [`Connector`] that attaches, and start from
///    [`Capabilities::none`](crate::Capabilities::none) with that scheme. Every verb you do not have is
///    answered for you.
/// 2. **`send`.** Carry every part of an [`Outbound`]: its id, the sender's address, conversation, media
///    type, headers, tags, `reply_to`, correlation id, deadline. `Ok` only on the network's own answer.
/// 3. **`subscribe`** to [`Inbox::Own`](crate::Inbox::Own), with bounds: never more unsettled than the
///    options say. [`Event::CaughtUp`] comes once, behind what waited. A stream made by
///    `futures_util::stream::try_unfold` needs no task, stops when it is dropped, and ends after its first
///    error.
/// 4. **`ack`.** A tag must lead back to its delivery, and be known for foreign on any other transport:
///    tags that are mere numbers settle the wrong message on the next attachment.
/// 5. **`close`** and the end of the connection: calls fail, streams end with the reason. It is done once, and
///    refused from then on; [`CloseOnce`](crate::CloseOnce) sees to that.
/// 6. **Run the suite** ([`conformance`](crate#your-own-transport)), bare and within
///    [`ResilientConnector`](crate::ResilientConnector). Then declare one capability after the other, and
///    let the suite hold you to it.
///
/// # What each capability obliges to
///
/// | capability | obliges to |
/// |---|---|
/// | `headers` | header lines, and a message's sender, reply address and ids, arrive as they were; it is on in `none`: switch it off where nothing but bodies is carried |
/// | `directory` | `register` puts the agent there, `discover` by name is exact; `unregister` touches one's own entry only |
/// | `cards` | the directory keeps a card byte for byte under its name, `register` replaces whoever holds it, `unregister` takes the entry out, `discover` by tag is exact |
/// | `semantic_search` | a query by meaning is answered as [`NetworkMeaning`](crate::SearchRan::NetworkMeaning) |
/// | `readable_status` | what `report` told is in the entries that others discover |
/// | `durable_inbox` | messages wait for an agent that is away, over restarts of the server |
/// | `ack: Redelivers` | what was not acknowledged comes again, to the next subscription and the next attachment |
/// | `ack: Cumulative` | the same, and nothing but one cursor for each subscription: a session hands tags in in the order of arrival, and so does whoever uses it without one |
/// | `order` | the order of sending, within a conversation (and priority), also over reconnects |
/// | `server_dedup` | a repeated `client_msg_id` of one sender is answered [`Duplicate`](crate::SendOutcome::Duplicate) with the first id, and stored once |
/// | `priority` | what waits comes the most urgent class first |
/// | `ttl`, `delay` | nothing is delivered after its time, or before it |
/// | `keyed_state` | `put` and `get`; of unread messages under one `key` the newest is kept |
/// | `extra_inbox` | `subscribe` opens fresh inboxes that nobody can guess, and reads them again by address; without, calls are answered in the agent's own inbox |
/// | `replay` | `replay` gives a stretch of a conversation by `seq`, settled or not |
/// | `numbered` | `seq` counts each conversation of an inbox without holes, what its owner sends included |
/// | `reconnects` | only for transports over many connections, such as [`Resilient`](crate::Resilient) |
/// | `max_body` | a body of exactly so many bytes is carried, whatever they are |
///
/// What is not declared is not asked of the transport: core checks a message against the capabilities
/// before the transport sees it.
///
/// # What an error means
///
/// Advice and reach begin with what the [kind](crate::ErrorKind) implies; correct them where you know
/// better. The session above decides by them alone.
///
/// | what happened | kind | advice | reached |
/// |---|---|---|---|
/// | the connection is down before anything was written | `Disconnected` | `Reconnect` | set `No` |
/// | it was lost while the call was under way | `Disconnected` | `Reconnect` | `Unknown` |
/// | no more than the call's own connection was lost, and the attachment stands | `Disconnected` | set `Backoff` or `After` | `No` or `Unknown` |
/// | no answer by the deadline | `Timeout` | `Backoff` | `Unknown` |
/// | the server asks for fewer calls | `RateLimited` | `Backoff`, or set `After(its word)` | `Yes` |
/// | credentials are refused, have expired, the session was revoked | `Unauthorized` (ends a session for good) | `Never` | `Yes` |
/// | allowed to others, not to this agent | `Forbidden` | `Never` | `Yes` |
/// | no such inbox, agent or message | `NotFound` | `Never` | `Yes` |
/// | the arguments are wrong; a tag or an address of another network | `Invalid` | `Never` | `No` |
/// | too many bytes | `TooLarge` | `Never` | `No` |
/// | the capability is off | `Unsupported` | `Never` | `No` |
/// | the peer broke its protocol | `Protocol` | `Never` | `Unknown` |
/// | the owner closed it; it is closed a second time | `Closed` | `Never` | `No` |
/// | the configuration cannot be used | `Config` (ends a session for good) | `Never` | `No` |
///
/// Keep the server's own words ([`Error::with_code`]) and the cause ([`Error::with_source`]). Neither an
/// error nor `Debug` may show a body, a key or a whole address.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// What this network can do.
    fn capabilities(&self) -> &Capabilities;

    /// The agent's own inbox.
    fn address(&self) -> &Address;

    /// Whether it is connected now, where it knows. Never waits. What wraps another attachment and connects
    /// again should say so; for others the default will do.
    fn connection(&self) -> ConnectionState {
        ConnectionState::Unknown
    }

    /// Takes note of the role its agent has among those that share a lock, for what it reports of itself.
    /// Nothing else may depend on it. What wraps another attachment passes it on; for others the default,
    /// which does nothing, will do.
    fn set_role(&self, _role: Role) {}

    /// Puts the agent into the directory under the card's name, replacing whoever holds that name. Dropping
    /// the future may leave it registered or not.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability `directory`;
    /// [`Invalid`](crate::ErrorKind::Invalid) for a card this directory cannot hold.
    async fn register(&self, _card: &AgentCard) -> Result<()> {
        Err(Error::unsupported("register", NO_DIRECTORY))
    }

    /// Takes the agent out of the directory. Doing it twice is fine.
    ///
    /// # Errors
    /// As [`Transport::register`].
    async fn unregister(&self) -> Result<()> {
        Err(Error::unsupported("unregister", NO_DIRECTORY))
    }

    /// Reports that the agent is alive and how busy it is. A report that is lost is not repeated.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on a network that takes no status;
    /// [`Invalid`](crate::ErrorKind::Invalid) where only registered agents have one.
    async fn report(&self, _heartbeat: &Heartbeat) -> Result<()> {
        Err(Error::unsupported("report", "this network takes no status"))
    }

    /// Asks the directory. An answer that finds nobody is empty, not an error.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability `directory`.
    async fn discover(&self, _query: &Query) -> Result<Discovered> {
        Err(Error::unsupported("discover", NO_DIRECTORY))
    }

    /// Hands a message to the network. `Ok` is the network's own answer that it has it.
    ///
    /// Messages of one conversation and priority that are sent one after the other arrive in that order;
    /// calls under way at the same time have no order among themselves. Dropping the future withdraws the
    /// message only if nothing of it was sent.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), reached, when there is no such inbox;
    /// [`Timeout`](crate::ErrorKind::Timeout) or [`Disconnected`](crate::ErrorKind::Disconnected), perhaps
    /// reached, when no answer came; [`Invalid`](crate::ErrorKind::Invalid) for what this network cannot
    /// carry.
    async fn send(&self, message: &Outbound) -> Result<Receipt>;

    /// Reads an inbox: first what waited, oldest first within a conversation and priority, then
    /// [`Event::CaughtUp`] (once, however full the bounds are), then what arrives. No more is handed out
    /// than the bounds of `options` allow to be unsettled. Dropping the stream stops reading; what is
    /// unsettled comes again to the next subscriber. Waiting for its next item is cancel-safe.
    ///
    /// The stream lives on its own: dropping the transport's last handle does not end it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bounds of zero, which [`SubscribeOptions::check`] finds;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a fresh or existing inbox without the capability
    /// `extra_inbox`; [`NotFound`](crate::ErrorKind::NotFound) for an existing inbox whose time is over,
    /// here or as the stream's last item.
    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription>;

    /// Declares deliveries settled: handled, never to come again. The transport acknowledges at the
    /// server what is safe to, and never more. Returns once they are recorded here; the server may learn
    /// of it later, at [`Transport::close`] at the latest. Doing it twice is fine, in any order, and so
    /// are tags whose message has expired. Dropping the future may leave some of them settled.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a tag of another transport. After an error that may be
    /// repeated nothing is lost: the same tags are handed in again.
    async fn ack(&self, tags: &[AckTag]) -> Result<()>;

    /// Ends the attachment: acknowledges at the server what is settled, unregisters when asked to,
    /// closes the connection. Subscriptions end with an error, [`Closed`](crate::ErrorKind::Closed), with
    /// which further calls fail as well. After a lost connection there is nothing left to close, and detaching
    /// succeeds.
    ///
    /// It is done once. Calls under way at the same time all wait for the end and get the same answer; when
    /// they ask for both modes, it retires, unless it was detaching already. Dropping the future may leave the
    /// connection open until the transport is dropped; the next call does the rest and gives the answer, which
    /// nobody has had. [`CloseOnce`](crate::CloseOnce) keeps all that for an implementer.
    ///
    /// # Errors
    /// When settled messages could not be acknowledged, or the agent could not be unregistered; the
    /// attachment is closed all the same. [`Closed`](crate::ErrorKind::Closed), at once, when it was closed
    /// before and somebody was told so, and for retiring what has been detached: it stays registered.
    async fn close(&self, mode: CloseMode) -> Result<()>;

    /// Reads history of a conversation as the agent's own inbox counts it, from number `range.from` on,
    /// oldest first: settled messages too, and the agent's own where they have a number there. Where the
    /// network acknowledges single messages, their tags can be acknowledged.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability `replay`.
    async fn replay(&self, _conversation: &ConversationId, _range: ReplayRange) -> Result<Vec<Delivery>> {
        Err(Error::unsupported("replay", "this network keeps no readable history"))
    }

    /// Sets the state under `key` in the inbox `at`; the newest value replaces the older ones.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability `keyed_state`.
    async fn put(&self, _at: &Address, _key: &str, _value: Body) -> Result<()> {
        Err(Error::unsupported("put", "this network keeps no keyed state"))
    }

    /// Reads the newest value under `key` in the inbox `at`, without consuming it.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability `keyed_state`.
    async fn get(&self, _at: &Address, _key: &str) -> Result<Option<KeyedValue>> {
        Err(Error::unsupported("get", "this network keeps no keyed state"))
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The attachment does not tell.
    Unknown,
    /// There is none now, and one is being made or will be.
    Connecting,
    /// There is one, as far as anybody can know.
    Connected,
    /// There is none, and none will be made.
    Closed,
}

/// Makes fresh attachments. Reconnecting is dropping the old [`Transport`] and connecting again; the new
/// one has the same address and finds the same inbox.
#[async_trait]
pub trait Connector: Debug + Send + Sync + 'static {
    /// Attaches. One attempt, bounded by the transport's connect timeout. Dropping the future attaches
    /// nothing.
    ///
    /// # Errors
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized) or [`Config`](crate::ErrorKind::Config) when trying
    /// again cannot help; [`Disconnected`](crate::ErrorKind::Disconnected) or
    /// [`Timeout`](crate::ErrorKind::Timeout) when it may.
    async fn connect(&self) -> Result<Arc<dyn Transport>>;

    /// Attaches for an agent that has this role among those that share a lock. A
    /// [follower](Role::Follower) sends, and reads its own inbox only once it leads, over the same attachment.
    /// Where a network pushes to whoever is attached, that attachment should have nothing to be pushed over
    /// until then. Of its capabilities `ack` alone may be told better once it has a subscription; until then
    /// it must not promise too much. The default makes no difference; what wraps another connector passes the
    /// role on.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    async fn connect_for(&self, role: Role) -> Result<Arc<dyn Transport>> {
        let _ = role;
        self.connect().await
    }
}

#[async_trait]
impl<C: Connector + ?Sized> Connector for Arc<C> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        (**self).connect().await
    }

    async fn connect_for(&self, role: Role) -> Result<Arc<dyn Transport>> {
        (**self).connect_for(role).await
    }
}

/// A subscription: the inbox it reads and its events.
#[non_exhaustive]
pub struct Subscription {
    /// The inbox that is read: for a fresh one, the address to hand out.
    pub address: Address,
    /// What happens. The stream ends only after an item that says why: an error.
    pub events: EventStream,
}

impl Subscription {
    /// A subscription of `address`.
    pub fn new(address: Address, events: EventStream) -> Self {
        Self { address, events }
    }
}

impl Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The events of a subscription.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event>> + Send>>;

/// What happens on a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly every event is a message")]
pub enum Event {
    /// A message.
    Message(Delivery),
    /// Everything that waited when the subscription began has been delivered.
    CaughtUp,
    /// Numbers are missing in a conversation and could not be had.
    Gap {
        /// Where.
        conversation: ConversationId,
        /// The number that was due.
        expected: u64,
        /// The number that came instead.
        got: u64,
    },
    /// The network dropped this many messages before they could be read, where it knows how many. What
    /// is missing is read again from history.
    Lagged {
        /// How many, when known.
        missed: Option<u64>,
    },
}

/// A stretch of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayRange {
    /// The first number wanted.
    pub from: u64,
    /// At most this many messages.
    pub limit: usize,
}

impl ReplayRange {
    /// Up to `limit` messages from number `from` on.
    pub fn new(from: u64, limit: usize) -> Self {
        Self { from, limit }
    }
}

/// A value of keyed state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedValue {
    /// The value.
    pub body: Body,
    /// When it was stored.
    pub created: Option<SystemTime>,
}

impl KeyedValue {
    /// A value.
    pub fn new(body: Body, created: Option<SystemTime>) -> Self {
        Self { body, created }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.body.bytes
    }
}

const NO_DIRECTORY: &str = "this network has no directory";
