//! `agentchat-core`: what its promises cost, in one process.

pub mod flood;
pub mod loopback;
pub mod machines;
pub mod pair;
