//! The WebSocket: how it is opened, what it says, and the task that has it.
//!
//! `dial` connects, upgrades and greets; `greeting` writes the one frame that holds the key; `session` thinks
//! for one socket from its upgrade to its end, and `close_code` says what an end means; `run` has the socket
//! once it is live. The frames themselves are in `wire`, the choice of handshake in `config`.

mod close_code;
mod dial;
mod greeting;
mod run;
mod session;

pub(crate) use close_code::CloseMeaning;
pub(crate) use dial::dial;
#[cfg(feature = "doctor")]
pub(crate) use dial::reach;
pub(crate) use run::{End, run};
