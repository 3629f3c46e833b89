#![doc = include_str!("../README.md")]

mod config;
mod key;
mod tls;
pub mod wire;

pub use config::{AgentChatConfig, AgentChatConfigBuilder, ClientIdentity, DEFAULT_BASE_URL, Handshake};
pub use key::ApiKey;
