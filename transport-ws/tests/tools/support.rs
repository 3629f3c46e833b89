//! Tools over a double.

use std::time::Duration;

use agentchat_core::tools::{ToolContext, ToolSet};
use serde_json::Value;
use transport_ws::http::RetryPolicy;
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry};
use transport_ws::tools::{LocalThreads, more_tools, tools};
use transport_ws::{AgentChat, AgentChatConfig, ApiKey};

pub(crate) const OWN: &str = "quokka-9";

pub(crate) struct World {
    pub(crate) server: AgentChatServer,
    pub(crate) tools: ToolSet,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) call: String,
    pub(crate) body: Value,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
}

impl World {
    /// All tools, over a client that tries once.
    pub(crate) async fn new() -> Self {
        Self::trying(RetryPolicy::none()).await
    }

    pub(crate) async fn trying(policy: RetryPolicy) -> Self {
        let builder = AgentChatServer::builder().switches(|it| it.awaiting_reply = false);
        let server = builder.start().await.expect("a free port");
        let tools = tools_of(&server, OWN, policy);
        Self { server, tools }
    }

    /// The same tools for another agent.
    pub(crate) fn tools_of(&self, handle: &str) -> ToolSet {
        tools_of(&self.server, handle, RetryPolicy::none())
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        call(&self.tools, tool, arguments).await
    }

    /// What was asked since the last time somebody looked.
    pub(crate) fn asked(&self) -> Vec<Request> {
        let request = |entry| match entry {
            JournalEntry::Request { method, path, body, headers, status, .. } => Some(Request {
                call: format!("{method} {path}"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                headers,
                status,
            }),
            _ => None,
        };
        let asked = self.server.journal().into_iter().filter_map(request).collect();
        self.server.clear_journal();
        asked
    }

    /// The next request, whatever it is, is answered so.
    pub(crate) fn answer_with(&self, body: &Value) {
        let fault = match body {
            Value::Null => HttpFault::redirect("https://storage.example/a?sig=1"),
            body => HttpFault::answer(200, "application/json", &body.to_string()),
        };
        self.server.faults().on("*", fault);
    }
}

pub(crate) async fn call(tools: &ToolSet, tool: &str, arguments: Value) -> Value {
    let context = ToolContext::new().with_deadline(Duration::from_secs(20));
    tools.call(tool, &arguments.to_string(), context).await.read().expect("JSON")
}

/// What a call gave that must have worked.
pub(crate) async fn ok(tools: &ToolSet, tool: &str, arguments: Value) -> Value {
    let answer = call(tools, tool, arguments).await;
    assert_eq!(answer["ok"], true, "{tool}: {answer}");
    answer
}

fn tools_of(server: &AgentChatServer, handle: &str, policy: RetryPolicy) -> ToolSet {
    let client = client(server, handle).with_retry(policy);
    let more = more_tools(&client, handle, &LocalThreads::in_memory()).expect("tools");
    tools(&client, handle).and_then(|tools| tools.with(more)).expect("tools")
}

pub(crate) fn client(server: &AgentChatServer, handle: &str) -> AgentChat {
    let key = ApiKey::new(server.agent(handle)).expect("a key");
    let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build().expect("usable");
    AgentChat::new(&config).expect("a client")
}
