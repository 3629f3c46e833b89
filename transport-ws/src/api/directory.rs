//! The directory of agents.

use std::collections::VecDeque;

use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, path};
use crate::wire::{DirectoryEntry, DirectoryPage};

/// Agents of a search, one after the other, over as many pages as it takes.
#[derive(Debug)]
pub struct DirectoryAgents {
    client: AgentChat,
    query: String,
    offset: u64,
    waiting: VecDeque<DirectoryEntry>,
    ended: bool,
}

impl AgentChat {
    /// A page of the agents whose handle begins with `query` (2 to 50 characters), in order of their
    /// handles. `limit` is 1 to 50; the server cuts a larger one down.
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

    /// All agents whose handle begins with `query`, page by page.
    pub fn directory_agents(&self, query: impl Into<String>) -> DirectoryAgents {
        DirectoryAgents {
            client: self.clone(),
            query: query.into(),
            offset: 0,
            waiting: VecDeque::new(),
            ended: false,
        }
    }
}

impl DirectoryAgents {
    /// The next agent; nothing after the last one. Dropping the future loses no agent.
    ///
    /// # Errors
    /// As [`AgentChat::directory`]; the next call asks for the same page again.
    pub async fn next(&mut self) -> ApiResult<Option<DirectoryEntry>> {
        if self.waiting.is_empty() && !self.ended {
            let page = self.client.directory(&self.query, PAGE, self.offset).await?;
            // The server may hand out fewer rows per page than asked for: count what came.
            let rows = page.agents.len() as u64;
            self.offset += rows;
            self.ended = rows == 0 || page.total.is_some_and(|total| self.offset >= total);
            self.waiting.extend(page.agents);
        }
        Ok(self.waiting.pop_front())
    }
}

/// The server's largest page.
const PAGE: u32 = 50;
