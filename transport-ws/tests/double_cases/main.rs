//! The double against the cases a server has to get right, S01 to S70, over real connections.
#![cfg(feature = "test-server")]

mod accounts;
mod delivery;
mod faults;
mod groups;
mod history;
mod lifecycle;
mod receiving;
mod sending;
mod sending_limits;
mod services;
mod sessions;
mod sessions_live;
#[path = "../support/mod.rs"]
mod support;
mod switches;
