//! The server's side of the NATS protocol: parsing, sessions and routing without a socket or a clock,
//! and the connection task that gives them both.

pub(crate) mod connection;
pub(crate) mod due;
pub(crate) mod encode;
mod frame;
mod hello;
pub(crate) mod hub;
mod keepalive;
pub(crate) mod outbox;
mod parser;
mod router;
mod session;
mod subject;

/// How the broker double behaves on the wire. Independent of what the engine behind it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WireProfile {
    /// As nats-server does, so that any NATS client works: replies are routed by subject, a request to a
    /// subject nobody serves is answered `503`, bad credentials and protocol errors end the connection.
    /// A waiting FETCH delays nothing else.
    #[default]
    Standard,
    /// As RobustMQ does, quirks included: `PING` right after `INFO`; a `CONNECT` without its six fields is
    /// thrown away; replies go to the requesting connection under the sid of an exact `_INBOX.`
    /// subscription, else `0`; no `503`; `UNSUB` at once; bad credentials leave the connection open;
    /// requests of one connection run one at a time, a waiting FETCH included; a payload over 8 MiB ends
    /// all understanding without a word.
    RobustMq,
}

/// A user name and password the broker asks for.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What every mq9 subject begins with.
pub(crate) const MQ9_PREFIX: &str = "$mq9.AI";
