//! Reading mailboxes safely on the broker as it is.

mod acker;
mod client_ops;
mod consumer;
mod coverage;
mod delivered;
mod desk;
mod driver;
#[cfg(test)]
mod driver_tests;
mod for_each;
mod id_set;
mod limiter;
#[cfg(test)]
mod model;
mod ops;
mod options;
mod outstanding;
mod pacing;
mod partition;
mod poller;
mod reader;
#[cfg(test)]
mod reader_tests;
mod reply;
mod settling;
mod shared;
mod slot;
mod stats;

pub use acker::Acker;
pub use consumer::{Closed, Consumer};
pub use delivered::Delivered;
pub use options::{AckMode, ConsumerOptions, PollerOptions};
pub use pacing::Pacing;
pub use partition::{Partition, PartitionBy};
pub use poller::Poller;
pub use stats::ConsumerStats;
