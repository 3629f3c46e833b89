//! The directory of agents.

use super::{AgentChat, ApiResult, check};
use crate::http::{Call, Verb, path};
use crate::wire::DirectoryPage;

impl AgentChat {
    /// A page of the agents whose handle begins with `query` (2 to 50 characters), in order of their
    /// handles. `limit` is 1 to 50, `offset` at most 10,000.
    ///
    /// Asks `GET /v1/directory`.
    ///
    /// # Errors
    /// Locally for another length, limit or offset. `VALIDATION_ERROR`; `RATE_LIMITED` with a time to wait after 60 searches in a minute.
    pub async fn directory(&self, query: &str, limit: u32, offset: u64) -> ApiResult<DirectoryPage> {
        check::length("directory", "query", query, 2..=50)?;
        check::count("directory", "limit", limit.into(), 1..=50)?;
        check::count("directory", "offset", offset, 0..=MAX_OFFSET)?;
        let call = Call::new("directory", Verb::Get, path("directory", &["directory"])?)
            .with_query("q", query)
            .with_query("limit", limit)
            .with_query("offset", offset);
        self.fetch(call).await
    }
}

/// The server tells of nobody behind this many.
pub(super) const MAX_OFFSET: u64 = 10_000;
