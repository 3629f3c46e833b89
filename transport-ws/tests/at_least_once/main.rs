//! What nobody settled comes again: without a socket, on servers that mark on writing, after a kill.
#![cfg(feature = "test-server")]

mod closing;
mod keeping;
#[cfg(unix)]
mod killed;
mod poll;
mod verdict;
#[path = "../ws_support/mod.rs"]
mod ws_support;
