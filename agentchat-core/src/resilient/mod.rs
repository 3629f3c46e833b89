//! A transport that survives its connections: the session itself. What it thinks is in `session`.
//!
//! `core` says what to do next, over `sends` (what goes out), `slots` (what comes in) and `calls`, which
//! drive the machines of `session`; `driver` alone waits, up to its `parting`, and in `direct` a sender makes
//! the first attempt itself. What the stores are told, and what they tell: `gate`, `keeping`, `positions`,
//! `recall`. What the outside is told: `observer`, `session_event`, `state`.

mod calls;
mod connector;
mod core;
mod dating;
mod direct;
mod driver;
mod events;
mod gate;
mod keeping;
mod observer;
mod options;
mod own_sends;
mod parting;
mod positions;
mod recall;
mod sending;
mod sends;
mod session_event;
mod shared;
mod slots;
mod spans;
mod state;
mod stores;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use async_trait::async_trait;

pub use connector::ResilientConnector;
pub(crate) use driver::SILENT;
pub use options::ResilientOptions;
pub use sending::Sending;
pub use session_event::{RateScope, SessionEvent, SessionEvents, StateEvent};
pub use state::{Parked, SessionStats};
pub use stores::Stores;

use self::calls::{Answer, Call};
use self::core::closed;
use self::events::Events;
use self::shared::{Owner, Shared};
use crate::address::Address;
use crate::agent::Role;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::clock::after;
use crate::delivery::{Delivery, Receipt};
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AckTag, ClientMsgId, ConversationId};
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, SubscribeOptions};
use crate::session::lifecycle::SessionState;
use crate::telemetry::observed;
use crate::transport::{ConnectionState, Connector, KeyedValue, ReplayRange, Subscription, Transport};

/// A [`Transport`] over ever new connections of a [`Connector`]: it reconnects, sends again what may have
/// been lost, and reads on where it was. Handles are cheap to clone.
///
/// - **Sending**: messages wait in an outbox of bounded size. Those of one conversation are sent one
///   after the other, also over lost connections. A message that fails for good goes back to its sender
///   as an error; one that nobody waits for any more is [parked](Resilient::parked).
/// - **A message that fails is not overtaken**: what was handed in behind it in its conversation before its
///   sender could know goes back with an error that says so ([`Reached::No`](crate::Reached::No), its cause
///   is the earlier failure). Send it again to go on without that one. Where nobody waits for it, it is
///   [parked](Resilient::parked) and holds back the rest until it is [resumed](Resilient::resume) or
///   [discarded](Resilient::discard).
/// - **Repeating**: a message that is handed in again joins the one in the outbox. Dropping the repetition, or
///   the end of its time, takes nothing from what was [detached](Sending::detach), parked, or left by an
///   earlier session.
/// - **Other calls** wait for a connection and are repeated until their time is over.
/// - **Reading**: a subscription goes on over new connections. What comes again is recognised: a message
///   is handed out once for each subscription. It is acknowledged when it is settled.
/// - **Order**: where the network numbers its messages ([`Capabilities::numbered`]), a conversation is
///   handed out by number. A missing one is asked of history at once and waited for up to 2 s; then an
///   [`Event::Gap`](crate::Event::Gap) tells of it, and what comes after all is handed out as
///   [`late`](Delivery::late). While what waited is being read, newer messages of the same conversation
///   wait for it; other conversations do not. The numbers of up to 10,000 conversations are remembered.
/// - **Own messages** that come back are settled unseen ([`ResilientOptions::skip_own`]) and leave no gap.
/// - **Restarts**: with [stores](ResilientOptions::with_store), what was taken into the outbox and what was
///   settled survives the process. Then nothing is tried or handed out before the store knows, and `Ok` from
///   `ack` says that the store has it. What the session could not send stays there for the next one.
/// - **State**: [`Resilient::state`] and [`Resilient::state_changed`] tell how the session stands.
///
/// Dropping the last handle and the last subscription ends everything at once, without a runtime;
/// [`Transport::close`] ends cleanly.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{Body, Connector, Loopback, Outbound, Resilient, ResilientOptions, Transport};
///
/// let network = Loopback::new();
/// let session = Resilient::connect(network.connector("worker")?, ResilientOptions::new()).await?;
/// network.cut();
/// let peer = network.connector("peer")?.connect().await?;
/// session.send(&Outbound::new(peer.address().clone(), Body::text("still here"))).await?;
/// assert_eq!(session.stats().connects, 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Resilient {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    options: Arc<ResilientOptions>,
    address: Address,
    capabilities: Capabilities,
    /// The same once a subscription has shown more of them.
    shown: Arc<OnceLock<Capabilities>>,
}

impl Resilient {
    /// Makes the first connection, which decides address and capabilities, and starts the session. An
    /// error that may be repeated is, within [`ResilientOptions::connect_timeout`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for the options; the connector's error when repeating cannot help, or the
    /// last one when the time is over.
    pub async fn connect(connector: impl Connector, options: ResilientOptions) -> Result<Self> {
        Self::begin(Arc::new(connector), options, Role::Leader).await
    }

    async fn begin(connector: Arc<dyn Connector>, options: ResilientOptions, role: Role) -> Result<Self> {
        let options = Arc::new(options);
        let (shared, owner) = driver::start(connector, Arc::clone(&options), role).await?;
        let (address, capabilities) = shared.lock().facts();
        Ok(Self { shared, owner, options, address, capabilities, shown: Arc::default() })
    }

    /// How the session stands now.
    pub fn state(&self) -> SessionState {
        self.shared.state.borrow().clone()
    }

    /// Waits until the session stands otherwise than `seen`, and says how. Cancel-safe. States that pass
    /// quickly may be missed; the last one never is.
    pub async fn state_changed(&self, seen: &SessionState) -> SessionState {
        let mut states = self.shared.state.subscribe();
        let changed = states.wait_for(|state| state != seen).await;
        // The sender lives in `shared`, so there is always a state.
        changed.map_or_else(|_| self.state(), |state| state.clone())
    }

    /// What has happened, and what the session holds.
    pub fn stats(&self) -> SessionStats {
        self.shared.lock().stats()
    }

    /// Tells what happens in the session from now on, until it is closed.
    pub fn events(&self) -> SessionEvents {
        let mut core = self.shared.lock();
        let state = core.state();
        core.watch.listen(&state, tokio::time::Instant::now())
    }

    /// How many messages and bytes the outbox has room for.
    pub fn capacity(&self) -> (usize, usize) {
        self.shared.lock().sends.capacity()
    }

    /// Takes a message into the outbox, if there is room now.
    ///
    /// # Errors
    /// The message comes back with [`ErrorKind::Backpressure`] when there is no room or others wait for
    /// it, else with what [`Transport::send`] would answer at once. What becomes of it later the [`Sending`]
    /// tells; when an earlier message of its conversation fails before, as [`Resilient`] says for sending.
    pub fn try_send(&self, message: Outbound) -> std::result::Result<Sending, Box<(Outbound, Error)>> {
        if let Err(error) = self.check(&message) {
            return Err(Box::new((message, error)));
        }
        let message = Arc::new(message);
        let place = self.shared.change(|core, now| match core.check_open("send") {
            Ok(()) => core.sends.offer(message, now, SystemTime::now()),
            Err(error) => Err(Box::new((message, error))),
        });
        match place {
            Ok(place) => Ok(Sending::new(Arc::clone(&self.shared), place)),
            Err(refused) => {
                let (message, error) = *refused;
                Err(Box::new((Arc::unwrap_or_clone(message), error)))
            }
        }
    }

    /// The messages that were given up while nobody waited for them, or that stood behind one whose sender was
    /// told that it failed, oldest first; once the session has
    /// ended, everything it could not send. They take room in the outbox, which bounds their number. With a
    /// store they are there again after a restart.
    pub fn parked(&self) -> Vec<Parked> {
        self.shared.lock().sends.parked_messages()
    }

    /// Takes a parked message out, so that the later ones of its conversation go on. It leaves the store, too,
    /// unless the session has ended: then the store keeps it for the next one.
    pub fn discard(&self, id: &ClientMsgId) -> Option<Outbound> {
        self.shared.change(|core, _| core.sends.discard(id))
    }

    /// Sends a parked message again. Returns whether it does: not when it is past its deadline, or the
    /// session has ended.
    pub fn resume(&self, id: &ClientMsgId) -> bool {
        self.shared.change(|core, now| core.sends.resume(id, now))
    }

    /// Agents are known by name: an address of that name on another host of this network is no other.
    fn check(&self, message: &Outbound) -> Result<()> {
        if self.options.skip_own && message.to.has_name_of(&self.address) {
            let what = "a message to oneself would never be seen: `ResilientOptions::skip_own` is on";
            return Err(Error::new(ErrorKind::Invalid, "send", what));
        }
        self.capabilities.check(message)
    }

    async fn call(&self, call: Call) -> Result<Answer> {
        let span = spans::call(&call);
        let answered = async {
            let answer = self.shared.change(|core, now| {
                core.check_open(call.operation())?;
                core.calls.push(call, after(now, self.options.call_timeout))
            })?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        };
        observed(span, answered).await
    }
}

#[async_trait]
impl Transport for Resilient {
    fn capabilities(&self) -> &Capabilities {
        self.shown.get().unwrap_or(&self.capabilities)
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn connection(&self) -> ConnectionState {
        match &*self.shared.state.borrow() {
            SessionState::CatchingUp | SessionState::Live | SessionState::Draining => {
                ConnectionState::Connected
            }
            SessionState::Connecting | SessionState::BackingOff { .. } => ConnectionState::Connecting,
            SessionState::Closed(_) => ConnectionState::Closed,
        }
    }

    fn set_role(&self, role: Role) {
        let mut core = self.shared.lock();
        core.role = role;
        core.watch.set_role(role);
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.call(Call::Register(card.clone())).await.map(drop)
    }

    async fn unregister(&self) -> Result<()> {
        self.call(Call::Unregister).await.map(drop)
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.call(Call::Report(heartbeat.clone())).await.map(drop)
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        match self.call(Call::Discover(query.clone())).await? {
            Answer::Found(found) => Ok(found),
            _ => Err(mixed_up("discover")),
        }
    }

    /// Waits for room in the outbox and then for the network's answer, over as many connections as it
    /// takes. Sends of the same message that are under way together share one answer. Sends of one conversation
    /// that are under way together go out in the order they began, and when one fails, those behind it fail
    /// with it.
    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.check(message)?;
        observed(spans::send(message), direct::send(&self.shared, message, self.options.call_timeout)).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        options.check()?;
        match self.call(Call::Subscribe(options)).await? {
            Answer::Seated(address, seat) => {
                let (_, shown) = self.shared.lock().facts();
                if shown != self.capabilities {
                    let _ = self.shown.set(shown);
                }
                let events = Events::new(seat, Arc::clone(&self.owner));
                Ok(Subscription::new(address, Box::pin(events)))
            }
            _ => Err(mixed_up("subscribe")),
        }
    }

    /// The tags of a subscription of this session. They stay good over lost connections. With a store for it,
    /// `Ok` means that the store has them as settled; after an error none of them is acknowledged.
    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        keeping::settle(&self.shared, &self.options.stores, self.options.call_timeout, tags).await
    }

    /// Takes nothing in any more, sends what is queued within [`ResilientOptions::drain_timeout`],
    /// acknowledges what is settled, and closes the attachment. Without a connection it waits for one, for as
    /// long: to send, and to acknowledge what was settled of an inbox whose subscription is still held. Of one
    /// that was dropped nothing comes again here. Dropping the future does not stop it: closing again waits for
    /// its end and gives the result, as it does while another closing waits. A session that ended by itself has
    /// nothing left to do, and the first closing succeeds.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) for what was left: how many messages were not sent is in its
    /// [context](Error::context), or that settled messages could not be acknowledged and will come again.
    /// [`Closed`](ErrorKind::Closed) once a closing was told how it ended, and for retiring while the session is
    /// being detached already.
    async fn close(&self, mode: CloseMode) -> Result<()> {
        let closed = async {
            self.shared.change(|core, now| core.close(mode, now))?;
            // A session that has ended gives no pause, and who asks in the same breath is not late.
            tokio::task::yield_now().await;
            let mut states = self.shared.state.subscribe();
            let _ = states.wait_for(|state| matches!(state, SessionState::Closed(_))).await;
            self.shared.lock().closed(mode)
        };
        observed(spans::close(), closed).await
    }

    /// The tags of what is read from history cannot be acknowledged.
    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        match self.call(Call::Replay(conversation.clone(), range)).await? {
            Answer::Rows(rows) => Ok(rows),
            _ => Err(mixed_up("replay")),
        }
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.call(Call::Put(at.clone(), key.to_owned(), value)).await.map(drop)
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        match self.call(Call::Get(at.clone(), key.to_owned())).await? {
            Answer::Value(value) => Ok(value),
            _ => Err(mixed_up("get")),
        }
    }
}

impl fmt::Debug for Resilient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resilient")
            .field("address", &self.address)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn mixed_up(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, operation, "the session gave the answer to another call")
}
