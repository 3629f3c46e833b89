#![doc = include_str!("../README.md")]

pub mod api;
mod config;
mod digest;
#[cfg(feature = "doctor")]
pub mod doctor;
mod etiquette;
#[cfg(test)]
mod fuzz;
pub mod http;
mod key;
mod map_error;
mod mapping;
mod socket;
mod tls;
mod transport;
pub mod wire;

pub use api::AgentChat;
pub use config::{
    AgentChatConfig, AgentChatConfigBuilder, AgentChatSection, ClientIdentity, DEFAULT_BASE_URL, Handshake,
    InvitationPolicy,
};
pub use etiquette::{ETIQUETTE, etiquette};
pub use http::ApiError;
pub use key::ApiKey;
pub use map_error::ErrorCode;
pub use mapping::{MAX_ANY_BODY, MAX_BODY};
pub use transport::{
    AgentChatConnector, AgentChatPollConnector, AgentChatTransport, Frames, Invitations, Invited, Pushed,
    ReceiveStats,
};
pub use wire::Context;
#[cfg(feature = "test-server")]
pub mod testing;
#[cfg(feature = "tools")]
pub mod tools;
