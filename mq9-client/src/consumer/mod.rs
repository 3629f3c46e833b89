//! Reading mailboxes safely on the broker as it is.
//!
//! Two halves. The machines know no clock and no connection: [`coverage`] (which ids have certainly been
//! seen), [`outstanding`] and [`settling`] (what is in hand, what the broker is told), [`pacing`], and
//! [`reader`], which puts them together for one mailbox. The edge does the waiting: [`driver`] runs many
//! readers in one task, [`slot`] stands between one reader and its handles, [`desk`] and [`shared`] carry word
//! between tasks.

mod acker;
mod client_ops;
mod coverage;
mod delivered;
#[cfg(test)]
mod delivery_tests;
mod desk;
mod driver;
#[cfg(test)]
mod driver_tests;
mod for_each;
mod id_set;
mod limiter;
#[cfg(test)]
mod memory_broker;
#[cfg(test)]
mod model;
mod moment;
mod one_partition;
mod ops;
mod options;
mod outstanding;
mod pacing;
mod partition;
mod poller;
mod reader;
#[cfg(test)]
mod reader_tests;
mod settling;
mod shared;
mod slot;
mod stats;
mod stream;

pub use acker::Acker;
pub use delivered::Delivered;
pub use options::{AckMode, ConsumerOptions, PollerOptions};
pub use pacing::Pacing;
pub use partition::{Partition, PartitionBy};
pub use poller::Poller;
pub use stats::ConsumerStats;
pub use stream::{Closed, Consumer};
