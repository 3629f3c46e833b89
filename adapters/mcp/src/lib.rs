#![doc = include_str!("../README.md")]

mod adapter;
mod handler;
mod settings;

pub use adapter::Adapter;
pub use settings::{Settings, Start};
