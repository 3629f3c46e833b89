#![doc = include_str!("../README.md")]

mod address;
mod error;
mod message;
mod options;
mod ranking;
#[cfg(feature = "test-broker")]
pub mod testing;

pub use address::MailAddress;
pub use error::{Advice, Error, ErrorKind, Reached, Result};
pub use message::{Headers, Message, MsgId, Priority, Received};
pub use options::{CreateMailbox, DeliverPolicy, FetchOptions, Group, Lifetime, QueryOptions};
