//! What an inbox may hold, what it is told about its transport, and what it counts.

use std::time::Duration;

use crate::address::Address;
use crate::capability::{AckGuarantee, Capabilities};
use crate::options::SubscribeOptions;
use crate::session::order::OrderLimits;

/// Bounds and switches of an [`Inbox`](super::Inbox).
#[derive(Debug, Clone)]
pub(crate) struct InboxLimits {
    /// A random number. The tags handed out carry it, so that a tag of another inbox or of an earlier
    /// process settles nothing here.
    pub(crate) session: u64,
    /// Messages whose sender is this address are acknowledged and counted, not delivered. `None` delivers
    /// them; own sends are then holes like any other, and history brings them.
    pub(crate) own: Option<Address>,
    /// Unsettled messages, held ones included, after which there is no credit (default 256). History adds
    /// at most as many again.
    pub(crate) max_unsettled: usize,
    /// The same in bytes of body and headers (default 8 MiB). One delivery may go over it.
    pub(crate) max_unsettled_bytes: usize,
    /// How settled deliveries become acknowledgements.
    pub(crate) ack: AckStyle,
    /// Whether `seq` counts every message of a conversation that this inbox gets or its owner sends.
    /// Otherwise it is ignored, and messages pass as they arrive.
    pub(crate) numbered: bool,
    /// Order within a conversation.
    pub(crate) order: OrderLimits,
    /// How many settled ids are remembered (default 65,536), over all connections.
    pub(crate) seen_ids: usize,
    /// How long they are remembered (default 24 h).
    pub(crate) seen_age: Duration,
    /// How long a backlog may bring nothing although there is credit, before it counts as read
    /// (default 30 s). It runs while disconnected, too.
    pub(crate) catch_up_idle: Duration,
    /// How long reading the backlog may take altogether before live rows stop waiting for it
    /// (default 10 min).
    pub(crate) catch_up_cap: Duration,
}

/// Which tags may be acknowledged when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckStyle {
    /// Each as soon as it is settled: the server acknowledges single messages.
    PerMessage,
    /// Each once everything that arrived before it on this connection is settled as well: the server
    /// moves one cursor. Rows from history did not arrive on the subscription and are not acknowledged;
    /// their copy on the subscription is. The cursor would pass them where they should have arrived, so
    /// it waits until they are settled.
    Prefix,
}

/// What has happened, counted since the inbox was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InboxStats {
    /// Messages taken in: from the subscription, and new ones from history.
    pub(crate) received: u64,
    /// Messages handed out.
    pub(crate) delivered: u64,
    /// Repetitions, which were not handed out.
    pub(crate) duplicates: u64,
    /// Messages handed out after others with higher numbers.
    pub(crate) late: u64,
    /// The agent's own messages, which were not handed out.
    pub(crate) self_filtered: u64,
    /// Gaps in the numbers that were given up.
    pub(crate) gaps: u64,
    /// Holes in the numbers that were filled.
    pub(crate) gaps_filled: u64,
}

impl InboxLimits {
    /// The defaults on a network with `capabilities`, with the bounds of `options`. The agent's own messages
    /// are delivered.
    pub(crate) fn new(
        session: u64,
        is_own: bool,
        capabilities: &Capabilities,
        options: &SubscribeOptions,
    ) -> Self {
        let mut limits = Self { session, numbered: capabilities.numbered, ..Self::default() };
        limits.set_bounds(options);
        if capabilities.ack == AckGuarantee::Cumulative {
            limits.ack = AckStyle::Prefix;
        }
        // History is that of the agent's own inbox: numbers of another count something else.
        if !capabilities.replay || !is_own {
            limits.order.history_rows = 0;
        }
        limits
    }

    /// Takes over the bounds of `options`.
    pub(crate) fn set_bounds(&mut self, options: &SubscribeOptions) {
        self.max_unsettled = options.max_unsettled.max(1);
        self.max_unsettled_bytes = options.max_unsettled_bytes.max(1);
    }
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            session: 0,
            own: None,
            max_unsettled: 256,
            max_unsettled_bytes: 8 * 1024 * 1024,
            ack: AckStyle::PerMessage,
            numbered: true,
            order: OrderLimits::default(),
            seen_ids: 65_536,
            seen_age: Duration::from_secs(24 * 3600),
            catch_up_idle: Duration::from_secs(30),
            catch_up_cap: Duration::from_secs(600),
        }
    }
}
