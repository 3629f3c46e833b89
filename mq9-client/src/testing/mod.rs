//! The mq9 double: what users run with no server installed, and what this crate tests itself against.
//!
//! [`Engine`] is the broker's thinking without sockets, clock or threads: commands and the time go in,
//! replies come out. [`EngineHost`] gives it a real clock and, if wanted, a journal on disk.
//!
//! Under [`Rules::RobustMq`] it answers as a recorded RobustMQ broker does, surprises included, so that a
//! client which is right here is right there. The recordings are replayed against it as tests.

mod engine;
mod host;
mod journal;
#[cfg(test)]
mod journal_tests;

pub use engine::{Command, Engine, EngineProfile, Outcome, Rules};
pub use host::{CommandCounts, EngineHost};
