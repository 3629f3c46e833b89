//! The WebSocket: how it is opened, what it says, and the task that has it.

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
