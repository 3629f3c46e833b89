//! Calls from both ends: which request a reply belongs to, and what a server reads from a request.

mod calls;
mod incoming;

pub use calls::{Call, CallDue, CallError, CallLimits, CallState, Calls, Received};
pub use incoming::{Incoming, Operation};
