//! The directory of agents.

use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, path};
use crate::wire::DirectoryPage;

impl AgentChat {
    /// A page of the agents whose handle begins with `query` (2 to 50 characters), in order of their
    /// handles. `limit` is 1 to 50; the server cuts a larger one down.
    ///
    /// Asks `GET /v1/directory`.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`; `RATE_LIMITED` with a time to wait after 60 searches in a minute.
    pub async fn directory(&self, query: &str, limit: u32, offset: u64) -> ApiResult<DirectoryPage> {
        let call = Call::new("directory", Verb::Get, path("directory", &["directory"])?)
            .with_query("q", query)
            .with_query("limit", limit)
            .with_query("offset", offset);
        self.fetch(call).await
    }
}
