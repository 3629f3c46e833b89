#![doc = include_str!("../README.md")]

mod address;
mod connector;
mod directory;
pub mod doctor;
mod env;
mod headers;
mod identity;
mod inboxes;
mod map_error;
mod mapping;
mod section;
#[cfg(feature = "tools")]
pub mod tools;
mod transport;

pub use connector::{Mq9Connector, Mq9ConnectorBuilder};
pub use section::Mq9Section;
