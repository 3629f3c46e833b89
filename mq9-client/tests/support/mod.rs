//! What several test files share.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

pub mod certs;
pub mod configured;
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

/// A fresh directory that only this user can read.
pub fn scratch_dir(what: &str) -> std::path::PathBuf {
    let name = format!("mq9-{what}-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let dir = std::env::temp_dir().join(name);
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir).expect("a directory");
    dir
}

/// Whether what the test needs is installed; says so if not, and fails where it must be.
pub fn installed(what: &str, available: bool) -> bool {
    if !available {
        assert_ne!(std::env::var("REQUIRE_NATS_SERVER").as_deref(), Ok("1"), "{what} is required");
        println!("skipped: {what} is not installed");
    }
    available
}
