//! An in-process network with reference semantics: what every transport means by its promises.
//!
//! It is always compiled: for examples, for the tests of an application, and as the local path of code
//! that runs over a real network elsewhere.

mod accepted;
mod attachment;
mod counts;
mod faults;
mod history;
mod hooks;
mod hub;
mod inbox;
mod keyed;
mod locked;
mod moment;
mod reader;
mod registry;
mod row;
mod staged;
mod stored;
mod view;
mod waiting_rows;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

pub use faults::LoopbackFaults;

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Connector, Transport};
use attachment::Attachment;
use hub::Hub;
use inbox::InboxLimits;
use locked::Locked;

/// An in-process network. Clones share it.
///
/// Inboxes are durable for its life: an agent that detaches and comes back finds what was sent
/// meanwhile. Repeated `client_msg_id`s of one sender are recognised, as far as 65,536 messages back. A
/// fresh inbox lives for its ttl, and keeps nothing once nobody has read it for ten minutes. Messages are
/// numbered within their conversation, for each inbox apart: they are remembered of the 65,536 conversations
/// used last, and begin again in one that was forgotten.
///
/// History ([`Transport::replay`]) shows the agent's own inbox, settled messages included: of its last
/// 10,000 messages with a conversation, and of 16 MiB of bodies and headers, the last 1,000 of each
/// conversation. What has expired or was replaced is gone from it, too.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{Agent, Body, CallRequest, Loopback, Request, ServeOptions};
///
/// let network = Loopback::new();
/// let echo = Agent::builder(network.connector("echo")?).start().await?;
/// let serving = echo
///     .serve(
///         |request: Request| async move {
///             request.reply(request.body().clone()).await?;
///             Ok(())
///         },
///         ServeOptions::default(),
///     )
///     .await?;
///
/// let asker = Agent::builder(network.connector("asker")?).start().await?;
/// let call = asker.call(echo.address(), CallRequest::new(Body::text("hello"))).await?;
/// assert_eq!(call.response().await?.body().as_str(), Some("hello"));
/// # drop(serving); Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Loopback {
    hub: Arc<Mutex<Hub>>,
}

impl Loopback {
    /// A network without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A network that misbehaves, the same way for the same seed and calls.
    pub fn with_faults(faults: LoopbackFaults) -> Self {
        Self { hub: Arc::new(Mutex::new(Hub::new(faults))) }
    }

    /// The same with inboxes that hold at most so many messages and bytes (default 65,536 and 64 MiB): bodies,
    /// headers, and 1,024 for each message's own keeping. A send to a full inbox waits up to 10 s for room and
    /// then fails with [`ErrorKind::Backpressure`], having stored nothing. Keyed state has as much room beside the
    /// messages, and what goes beyond is refused at once: values are replaced, never removed. An empty inbox takes any message. Both
    /// are at least 1, which [`connector`](Self::connector) checks.
    pub fn with_inbox_limits(self, messages: usize, bytes: usize) -> Self {
        self.lock().limits = InboxLimits { messages, bytes };
        self
    }

    /// Attaches as `name`, whose inbox is `loopback://name`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when `name` has a `/` or anything but visible ASCII, is empty, or is longer
    /// than 96 characters; and on a network with [chances](LoopbackFaults::check) or inbox limits out of range.
    pub fn connector(&self, name: &str) -> Result<LoopbackConnector> {
        let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if name.len() > LONGEST_NAME || !name.bytes().all(legal) {
            let what = "a loopback name has at most 96 visible ASCII characters, and no `/`";
            return Err(Error::new(ErrorKind::Invalid, "address", what));
        }
        let address = Address::of(SCHEME, name)?;
        self.lock().check()?;
        Ok(LoopbackConnector { network: self.clone(), address })
    }

    /// Cuts every attachment: calls fail as disconnected, subscriptions end. Connecting again works.
    pub fn cut(&self) {
        self.lock().end_all(attachment::Life::Cut);
    }

    /// The network, with nothing left that is settled.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut hub = self.lock_unsettled();
        hub.settle(usize::MAX);
        hub
    }

    /// The network as it stands: what is settled may still be there.
    pub(crate) fn lock_unsettled(&self) -> Locked<'_> {
        Locked::new(self.hub.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").finish_non_exhaustive()
    }
}

/// Attaches one agent to a [`Loopback`].
#[derive(Debug, Clone)]
pub struct LoopbackConnector {
    network: Loopback,
    address: Address,
}

#[async_trait]
impl Connector for LoopbackConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let gate = self.network.lock().gate.watch();
        gate.connect().await?;
        Ok(Arc::new(Attachment::new(self.network.clone(), self.address.clone())))
    }
}

fn disconnected(operation: &'static str) -> Error {
    Error::new(ErrorKind::Disconnected, operation, "the loopback network was cut")
}

const SCHEME: &str = "loopback";
/// As long as the names of other networks may be.
const LONGEST_NAME: usize = 96;
