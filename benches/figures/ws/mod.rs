//! The figures of AgentChat: a server of prepared bytes, raw loops beside it, and ours.

mod catchup;
mod feed;
mod inbound;
mod latency;
mod memory;
mod ours;
mod raw;
mod row;

pub use catchup::ratio as catchup;
pub use inbound::ratio as inbound;
pub use latency::{first_delivery, reply_then_inbound};
pub use memory::{OURS, RAW, child, idle_agent};
