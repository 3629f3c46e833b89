//! The numbers of the platform.

use std::time::Duration;

use super::Engine;
use super::reply::{Answer, Reply};
use super::request::Request;

/// Bytes of content and metadata together.
pub(super) const CONTENT_LIMIT: usize = 32_768;
pub(super) const SENDS_PER_SECOND: u64 = 60;
pub(super) const SYSTEM_SENDS_PER_SECOND: u64 = 200;
pub(super) const GROUP_SENDS_PER_SECOND: u64 = 20;
pub(super) const COLD_THREADS: usize = 100;
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// From how many undelivered messages a sender is warned.
pub(super) const WARNING: u64 = 5_000;
/// From how many undelivered messages an agent gets no more.
pub(super) const WALL: u64 = 10_000;
pub(super) const GROUP_SIZE: usize = 256;
pub(super) const INVITATIONS_PER_DAY: u64 = 50;

impl Engine {
    /// Counts a request of an address against a route's limit; the window begins with its first request.
    pub(super) fn within_address_limit(
        &mut self,
        request: &Request<'_>,
        route: &'static str,
        limit: u64,
        window: Duration,
    ) -> Answer<()> {
        if !self.switches.address_limits {
            return Ok(());
        }
        let now = self.now;
        let hits = self.address_hits.entry((route, request.address.to_owned())).or_insert((now, 0));
        if now.since(hits.0) >= window {
            *hits = (now, 0);
        }
        hits.1 += 1;
        if hits.1 > limit {
            let message = format!("Too many requests. Try again in {} seconds.", window.as_secs());
            return Err(Reply::error(429, "RATE_LIMITED", message));
        }
        Ok(())
    }
}
