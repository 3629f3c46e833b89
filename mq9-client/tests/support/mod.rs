//! What several test files share.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

pub mod scripted;

use std::future::Future;
use std::time::Duration;

use mq9_client::MailAddress;

/// Fails instead of hanging.
pub async fn within<F: Future>(seconds: u64, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end within {seconds} s"),
    }
}

pub fn address(name: &str) -> MailAddress {
    MailAddress::new(name).expect("a valid name")
}
