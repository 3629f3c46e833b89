#![doc = include_str!("../README.md")]

mod address;
mod client;
mod connect;
mod consumer;
mod error;
mod headers;
#[cfg(feature = "interop")]
mod interop;
mod message;
mod options;
mod protocol;
mod ranking;
mod registry;
mod status;
#[cfg(feature = "test-broker")]
pub mod testing;
mod uri;

pub use address::MailAddress;
pub use client::{Client, ConnectionState, Ensured, Sent};
pub use connect::{ConnectOptions, Reconnect};
pub use consumer::{
    AckMode, Acker, Closed, Consumer, ConsumerOptions, ConsumerStats, Delivered, Pacing, Partition,
    PartitionBy, Poller, PollerOptions,
};
pub use error::{Advice, Error, ErrorKind, Reached, Result};
pub use message::{Headers, Message, MsgId, Priority, Received};
pub use options::{CreateMailbox, DeliverPolicy, FetchOptions, Group, Lifetime, QueryOptions};
pub use protocol::payload::{BASE64, CONTENT_ENCODING};
pub use registry::{AgentEntry, DiscoverQuery, Discovered, Registration, Search, SearchKind};
pub use status::{AgentStatus, STATUS_MAILBOX};
pub use uri::{Mq9Uri, Scheme};
