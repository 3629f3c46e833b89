//! The thinking of a session that outlives its connections: machines without sockets, clocks, tasks or
//! randomness of their own. Each takes `now` and what happened, and says what to do and when to be asked
//! again.

mod backoff;
mod inbox;
mod order;
mod outbox;

pub use backoff::BackoffPolicy;
pub use outbox::OutboxLimits;
