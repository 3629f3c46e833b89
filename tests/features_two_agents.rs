//! A user asks one agent for something; its model finds another agent by the tools, and has it done.
//!
//! The model is a script, but it sees what a model sees: the tools' answers, as JSON text.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_envelope::agent::{A2aServer, TurnHandle};
use agentchat_core::tools::{ToolContext, ToolSet};
use agentchat_core::{Agent, AgentCard, CloseMode};
use mq9_client::testing::Broker;
use serde_json::{Value, json};
use transport_mq9::Mq9Connector;

const REQUEST: &str = "find an agent that can write Python and have it write me an HTTP server";

/// What happened, in order, whoever it happened to.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(what.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

async fn start(broker: &Broker, name: &str, what: &str) -> Agent {
    let inbox = name.replace('-', ".");
    let connector = Mq9Connector::builder(broker.url()).generated_inbox(inbox).build().expect("valid");
    let card = AgentCard::new(name, what).expect("a card");
    Agent::builder(connector).card(card).start().await.expect("started")
}

/// A tool's answer, as a model gets it.
async fn use_tool(tools: &ToolSet, log: &Log, name: &str, arguments: Value) -> Value {
    let context = ToolContext::new().with_deadline(Duration::from_secs(20));
    let answer: Value = tools.call(name, &arguments.to_string(), context).await.read().expect("JSON");
    assert_eq!(answer["ok"], true, "{name}: {answer}");
    log.note(format!("A used {name}"));
    answer
}

/// The script: looks for somebody who can do what the user wants, and hands the task over as an A2A message.
async fn model(tools: &ToolSet, own: &str, log: &Log, user: &str) -> String {
    let found = use_tool(tools, log, "mq9_discover", json!({ "query": user, "limit": 5 })).await;
    let agents = found["agents"].as_array().expect("a list");
    let peer = agents.iter().find(|agent| agent["name"] != own).expect("somebody can do that");
    log.note(format!("A found {}", peer["name"].as_str().unwrap_or_default()));
    let message = json!({ "jsonrpc": "2.0", "id": "1", "method": "SendMessage", "params": { "message": {
        "messageId": "task-1", "role": "ROLE_USER", "parts": [{ "text": user }] } } });
    let call = json!({ "target_mailbox": peer["mailbox"], "message": message });
    let answer = use_tool(tools, log, "mq9_call", call).await;
    let part = "/reply/result/task/artifacts/0/parts/0/text";
    answer.pointer(part).and_then(Value::as_str).unwrap_or_else(|| panic!("no text: {answer}")).to_owned()
}

#[tokio::test]
async fn a_user_is_served_by_two_agents_in_the_seven_steps() {
    let (broker, log) = (Broker::builder().start().await.expect("a free port"), Log::default());
    let a = start(&broker, "hermes-a", "Takes requests of a user").await;
    log.note("A registered");
    let b = start(&broker, "hermes-b", "Writes Python programs and HTTP servers").await;
    log.note("B registered");
    let at_work = log.clone();
    let write = move |turn: TurnHandle| {
        let log = at_work.clone();
        async move {
            assert_eq!(turn.request_text(), REQUEST);
            log.note("B worked");
            Ok(turn.text("program", "import http.server").await?)
        }
    };
    let _serving = A2aServer::new(write).serve(&b).await.expect("served");

    let tools = transport_mq9::tools::tools(&a).expect("tools");
    log.note("the user asked A");
    let told = model(&tools, "hermes-a", &log, REQUEST).await;
    log.note(format!("the user has: {told}"));
    assert_eq!(
        log.read(),
        [
            "A registered",
            "B registered",
            "the user asked A",
            "A used mq9_discover",
            "A found hermes-b",
            "B worked",
            "A used mq9_call",
            "the user has: import http.server",
        ]
    );
    for agent in [a, b] {
        agent.close(CloseMode::Retire, Duration::from_secs(5)).await.expect("closed");
    }
}
