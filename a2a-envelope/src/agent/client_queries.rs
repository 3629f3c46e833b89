//! Questions about a peer that are answered at once, and not by a task.

use std::time::Duration;

use agentchat_core::{Address, ClientMsgId};
use tracing::Instrument;

use super::call::envelope_of;
use super::client::{A2aClient, core_request};
use super::error::A2aError;
use super::request::envelope;
use super::telemetry;
use crate::card::RawCard;
use crate::correlation::CorrelationId;
use crate::json::{self, quote};
use crate::json_text::JsonText;
use crate::task::{TaskQuery, TaskText};
use crate::view::RpcView;
use crate::vocabulary::Operation;

/// Tasks that a peer has listed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TaskList {
    /// Those of this page, the one that changed last before the others. One that cannot be read is left out.
    pub tasks: Vec<TaskText>,
    /// How many there are on all pages.
    pub total: u64,
    /// What to ask for the next page with, by [`A2aClient::list_tasks`]; `None` on the last.
    pub next: Option<String>,
}

impl A2aClient {
    /// The tasks that this agent asked for at a peer: under the address at which that peer answers it now, which
    /// is another one after a restart on networks that make one for each peer. What `query` says of an asker is
    /// not sent. `page` is [`TaskList::next`] of the page before.
    ///
    /// # Errors
    /// [`A2aError::Refused`] with -32004 from a peer that lists no tasks, and as [`call`](Self::call).
    pub async fn list_tasks(
        &self,
        at: &Address,
        query: &TaskQuery,
        page: Option<&str>,
    ) -> Result<TaskList, A2aError> {
        let result = self.question(at, Operation::ListTasks, &query.params(page)).await?;
        let root = json::object_of_checked(result.as_str().as_bytes());
        let tasks = root.and_then(|root| root.get("tasks"));
        let tasks =
            tasks.map(|tasks| tasks.items().filter_map(|item| TaskText::read(item.value).ok()).collect());
        let total = root.and_then(|root| root.get("totalSize")).and_then(|total| total.raw().parse().ok());
        let next = root.and_then(|root| root.text_of("nextPageToken"));
        Ok(TaskList {
            tasks: tasks.unwrap_or_default(),
            total: total.unwrap_or(0),
            next: next.map(|next| next.into_owned()).filter(|next| !next.is_empty()),
        })
    }

    /// A peer's extended card, byte for byte.
    ///
    /// # Errors
    /// [`A2aError::Refused`] with -32007 from a peer that has none, and as [`call`](Self::call).
    pub async fn extended_card(&self, at: &Address) -> Result<RawCard, A2aError> {
        let result = self.question(at, Operation::GetExtendedAgentCard, "{}").await?;
        Ok(RawCard::new(result.as_str().to_owned())?)
    }

    /// The result of a question that has one reply.
    async fn question(&self, at: &Address, operation: Operation, params: &str) -> Result<JsonText, A2aError> {
        let id = CorrelationId::new(ClientMsgId::random().as_str())?;
        let envelope = envelope(operation, &id, params)?;
        let request = core_request(&envelope, PATIENCE, false);
        let trace = self.agent.trace_for(&request.client_msg_id);
        let span = telemetry::call(envelope.method(), id.as_str(), trace);
        let answered = async { self.agent.call(at, request).await?.response().await };
        let read = answered.instrument(span.clone()).await.map_err(A2aError::from).and_then(|reply| {
            let envelope = envelope_of(&reply, Some(id.as_str())).ok_or(A2aError::Cut)?;
            let body = JsonText::new(envelope.body_text()?)?;
            let rpc = RpcView::read(body.as_str().as_bytes()).ok_or(A2aError::Cut)?;
            match (rpc.error, rpc.result) {
                (Some(error), _) => {
                    Err(A2aError::Refused { code: error.code, message: error.message.into_owned() })
                }
                (None, Some(result)) => Ok(JsonText::new(result)?),
                (None, None) => Err(A2aError::Cut),
            }
        });
        telemetry::ended(&span, read.as_ref().err());
        read
    }
}

impl TaskQuery {
    /// The parameters of a request: all but the asker, who is told by where the answer goes.
    fn params(&self, page: Option<&str>) -> String {
        let mut params = format!(
            "{{\"pageSize\":{},\"historyLength\":{},\"includeArtifacts\":{}",
            self.page_size, self.history_length, self.artifacts
        );
        let state = self.state.as_ref().map(|state| state.as_str());
        for (name, value) in
            [("contextId", self.context_id.as_deref()), ("status", state), ("pageToken", page)]
        {
            if let Some(value) = value {
                params.push_str(&format!(",\"{name}\":{}", quote(value)));
            }
        }
        if let Some(from) = self.changed_from {
            let ms = u64::try_from(from.as_millis()).unwrap_or(u64::MAX);
            params.push_str(&format!(",\"statusTimestampAfter\":\"{}\"", crate::task::iso8601(ms)));
        }
        params.push('}');
        params
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
