//! Calls from both ends: which request a reply belongs to, and what a server reads from a request.

mod calls;
mod incoming;
mod limits;
mod outcome;
mod state;

pub use calls::Calls;
pub use incoming::Incoming;
#[cfg(feature = "agent")]
pub(crate) use incoming::{DEADLINE_EXCEEDED, is_stale};
pub use limits::CallLimits;
pub use outcome::{CallDue, CallError, Received};
pub use state::{Call, CallState};
