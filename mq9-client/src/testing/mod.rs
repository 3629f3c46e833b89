//! The mq9 double: what users run with no server installed, and what this crate tests itself against.
//!
//! [`Engine`] is the broker's thinking without sockets, clock or threads: commands and the time go in,
//! replies come out. [`EngineHost`] gives it a real clock and, if wanted, a journal on disk.
//!
//! Under [`Rules::RobustMq`] it answers as a recorded RobustMQ broker does, surprises included, so that a
//! client which is right here is right there. The recordings are replayed against it as tests.
//!
//! [`Broker`] puts it behind a listener in this process; [`Responder`] behind a real NATS server, which
//! [`NatsServer`] starts where its binary is installed.

mod broker;
mod engine;
mod faults;
mod host;
mod journal;
#[cfg(test)]
mod journal_tests;
mod nats_server;
mod responder;
mod wire;

pub use broker::{Broker, BrokerBuilder};
pub use engine::{Command, Engine, EngineProfile, Outcome, Rules};
pub use faults::Faults;
pub use host::{CommandCounts, EngineHost};
pub use nats_server::{NatsServer, NatsServerBuilder};
pub use responder::{Responder, ResponderBuilder};
pub use wire::WireProfile;
