#![doc = include_str!("../README.md")]

mod address;
mod consumer;
mod error;
mod message;
mod options;
mod ranking;

pub use address::MailAddress;
pub use consumer::{
    AckMode, Acker, Closed, Consumer, ConsumerOptions, ConsumerStats, Delivered, Pacing, Partition,
    PartitionBy, Poller, PollerOptions,
};
pub use error::{Advice, Error, ErrorKind, Reached, Result};
pub use message::{Headers, Message, MsgId, Priority, Received};
pub use options::{CreateMailbox, DeliverPolicy, FetchOptions, Group, Lifetime, QueryOptions};
