//! Why a case does not apply.

use std::fmt;

use crate::capability::{AckGuarantee, Capabilities, OrderGuarantee};

/// Why a case was skipped: what the network does not declare, or what its harness cannot make happen.
///
/// A harness lists what it expects ([`Harness::expected_skips`](super::Harness::expected_skips)); a skip
/// for any other reason is a failure, so that no promise goes untested in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Skip {
    /// The capability `directory` is off.
    Directory,
    /// The capability `cards` is off, though there is a directory.
    Cards,
    /// The capability `readable_status` is off.
    ReadableStatus,
    /// The capability `durable_inbox` is off.
    DurableInbox,
    /// What is not acknowledged does not come again.
    Ack,
    /// Acknowledging moves a cursor over everything before it, and there is no session that sees to the
    /// order: the cases that settle out of order do not apply.
    AckInOrder,
    /// No order is declared.
    Order,
    /// The capability `numbered` is off.
    Numbered,
    /// The capability `server_dedup` is off.
    ServerDedup,
    /// The capability `priority` is off.
    Priority,
    /// The capability `ttl` is off.
    Ttl,
    /// The capability `delay` is off.
    Delay,
    /// The capability `keyed_state` is off.
    KeyedState,
    /// The capability `extra_inbox` is off.
    ExtraInbox,
    /// The capability `replay` is off.
    Replay,
    /// The transport ends with its connection: the cases of those that reconnect do not apply.
    EndsWithConnection,
    /// The transport reconnects: the cases of those that end with their connection do not apply.
    Reconnects,
    /// [`Harness::cut`](super::Harness::cut) does nothing.
    Cut,
    /// [`Harness::outage`](super::Harness::outage) does nothing.
    Outage,
    /// [`Harness::restart`](super::Harness::restart) does nothing.
    Restart,
    /// [`Harness::stall`](super::Harness::stall) does nothing.
    Stall,
    /// [`Harness::expire`](super::Harness::expire) does nothing.
    Expire,
    /// There is no network to test.
    NoNetwork,
}

impl Skip {
    /// Whether a network of these capabilities skips for this reason. The harness's own reasons never
    /// follow from capabilities.
    pub fn follows_from(self, able: &Capabilities) -> bool {
        match self {
            Self::Directory => !able.directory,
            Self::Cards => able.directory && !able.cards,
            Self::ReadableStatus => !able.readable_status,
            Self::DurableInbox => !able.durable_inbox,
            Self::Ack => able.ack == AckGuarantee::None,
            Self::AckInOrder => able.ack == AckGuarantee::Cumulative && !able.reconnects,
            Self::Numbered => !able.numbered,
            Self::Order => able.order == OrderGuarantee::None,
            Self::ServerDedup => !able.server_dedup,
            Self::Priority => !able.priority,
            Self::Ttl => !able.ttl,
            Self::Delay => !able.delay,
            Self::KeyedState => !able.keyed_state,
            Self::ExtraInbox => !able.extra_inbox,
            Self::Replay => !able.replay,
            Self::EndsWithConnection => !able.reconnects,
            Self::Reconnects => able.reconnects,
            Self::Cut | Self::Outage | Self::Restart | Self::Stall | Self::Expire | Self::NoNetwork => false,
        }
    }

    /// The reasons that follow from what a network declares.
    pub(super) const OF_CAPABILITIES: [Self; 17] = [
        Self::Directory,
        Self::Cards,
        Self::ReadableStatus,
        Self::DurableInbox,
        Self::Ack,
        Self::AckInOrder,
        Self::Order,
        Self::Numbered,
        Self::ServerDedup,
        Self::Priority,
        Self::Ttl,
        Self::Delay,
        Self::KeyedState,
        Self::ExtraInbox,
        Self::Replay,
        Self::EndsWithConnection,
        Self::Reconnects,
    ];
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "the network has no directory",
            Self::Cards => "the directory lists accounts and keeps no cards",
            Self::ReadableStatus => "others cannot read an agent's status on this network",
            Self::DurableInbox => "nothing waits for an agent that is away",
            Self::Ack => "the network delivers at most once",
            Self::AckInOrder => "the network acknowledges only in the order of arrival",
            Self::Order => "the network keeps no order",
            Self::Numbered => "the network does not count conversations without holes",
            Self::ServerDedup => "the network does not recognise repeated ids itself",
            Self::Priority => "the network has no priorities",
            Self::Ttl => "messages do not expire on this network",
            Self::Delay => "the network holds no message back",
            Self::KeyedState => "the network keeps no keyed state",
            Self::ExtraInbox => "the network cannot open a further inbox",
            Self::Replay => "the network keeps no readable history",
            Self::EndsWithConnection => "the transport ends with its connection",
            Self::Reconnects => "the transport survives lost connections",
            Self::Cut => "harness cannot cut",
            Self::Outage => "harness cannot make an outage",
            Self::Restart => "harness cannot restart",
            Self::Stall => "harness cannot stall",
            Self::Expire => "harness cannot expire",
            Self::NoNetwork => "there is no network to test",
        })
    }
}
