//! Reading mailboxes safely on the broker as it is.

mod coverage;
mod delivered;
mod id_set;
#[cfg(test)]
mod model;
mod ops;
mod options;
mod outstanding;
mod pacing;
mod partition;
mod reader;
#[cfg(test)]
mod reader_tests;
mod reply;
mod settling;
mod stats;

pub use delivered::Delivered;
pub use options::{AckMode, ConsumerOptions, PollerOptions};
pub use pacing::Pacing;
pub use partition::{Partition, PartitionBy};
pub use stats::ConsumerStats;
