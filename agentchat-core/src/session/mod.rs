//! What a session thinks; `resilient` is the session itself, which waits and drives this.
//!
//! Machines without sockets, clocks, tasks or randomness of their own. Each takes `now` and what happened, and
//! says what to do and when to be asked again. `lifecycle` has how the session stands, from its first connection
//! to its end; `outbox` has what goes out, `inbox` and `order` what comes in; `rate` and `backoff` say when.

pub(crate) mod backoff;
pub(crate) mod inbox;
pub(crate) mod lifecycle;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod rate;

pub use backoff::BackoffPolicy;
pub use lifecycle::{CloseReason, SessionState};
pub use outbox::OutboxLimits;
pub use rate::{Quota, RateLimits};
