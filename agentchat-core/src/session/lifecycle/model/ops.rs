//! What can happen to a session, and which steps that may take it.

use std::time::Duration;

use super::{Advice, CloseMode, Dice, Error, ErrorKind, SessionState};

/// What can happen to a session. What cannot at the moment, such as a loss without a connection, is left out;
/// after its end everything can.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Op {
    Connected,
    /// The attempt failed.
    Failed(Fault),
    /// The connection was lost.
    Lost(Fault),
    Close {
        mode: CloseMode,
        within: Duration,
    },
    Seal,
    End {
        requested: bool,
    },
    /// Whether closing has anything more to wait for.
    Drained(bool),
    /// Whether what waited is still being read.
    CatchingUp(bool),
    Pass(Duration),
    Poll,
    /// Time goes on to what is due next.
    ToDeadline,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Fault {
    Cut,
    Busy,
    SlowDown(Duration),
    Useless,
    /// A bad key, whatever else the error says.
    Fatal(Advice),
}

impl Op {
    /// The one that these bytes stand for.
    pub(in super::super) fn of(bytes: &[u8]) -> Self {
        Self::decode(&mut Dice::of(bytes))
    }

    pub(super) fn decode(dice: &mut Dice) -> Self {
        match dice.u8(0..32) {
            0..6 => Self::Connected,
            6..10 => Self::Failed(Fault::decode(dice)),
            10..15 => Self::Lost(Fault::decode(dice)),
            15 => {
                let mode = if dice.bool() { CloseMode::Retire } else { CloseMode::Detach };
                Self::Close { mode, within: Duration::from_millis(dice.u64(0..12_000)) }
            }
            16 => Self::Seal,
            17 => Self::End { requested: dice.bool() },
            18..20 => Self::Drained(dice.bool()),
            20..22 => Self::CatchingUp(dice.bool()),
            22..25 => Self::Pass(Duration::from_millis(dice.u64(0..5_000))),
            25..28 => Self::Poll,
            _ => Self::ToDeadline,
        }
    }
}

impl Fault {
    fn decode(dice: &mut Dice) -> Self {
        match dice.u8(0..24) {
            0..10 => Self::Cut,
            10..16 => Self::Busy,
            16..21 => Self::SlowDown(Duration::from_millis(dice.u64(0..8_000))),
            21..23 => Self::Useless,
            _ => {
                let advice = [Advice::Never, Advice::Backoff, Advice::After(Duration::ZERO)];
                Self::Fatal(advice[dice.usize(0..3)])
            }
        }
    }

    pub(super) fn error(self) -> Error {
        match self {
            Self::Cut => Error::new(ErrorKind::Disconnected, "subscribe", "cut"),
            Self::Busy => Error::new(ErrorKind::Timeout, "connect", "no answer"),
            Self::SlowDown(wait) => {
                Error::new(ErrorKind::RateLimited, "connect", "busy").with_advice(Advice::After(wait))
            }
            Self::Useless => Error::new(ErrorKind::Unexpected, "connect", "no use"),
            Self::Fatal(advice) => {
                Error::new(ErrorKind::Unauthorized, "connect", "bad key").with_advice(advice)
            }
        }
    }
}

/// Whether the table of [`Lifecycle`](super::Lifecycle) has such a step.
pub(super) fn is_in_table(from: &SessionState, op: Op, to: &SessionState) -> bool {
    use SessionState::*;
    match (from, to) {
        _ if from == to => true,
        (Closed(_), _) => false,
        (_, Closed(_)) => matches!(op, Op::End { .. } | Op::Failed(_) | Op::Lost(_)),
        (Draining, _) => false,
        (_, Draining) => matches!(op, Op::Close { .. }),
        (Connecting, CatchingUp | Live) => matches!(op, Op::Connected),
        (Connecting, BackingOff { .. }) => matches!(op, Op::Failed(_)),
        (CatchingUp | Live, BackingOff { .. }) => matches!(op, Op::Lost(_)),
        (BackingOff { .. }, Connecting) => matches!(op, Op::Poll | Op::ToDeadline),
        (CatchingUp, Live) | (Live, CatchingUp) => matches!(op, Op::CatchingUp(_)),
        _ => false,
    }
}
