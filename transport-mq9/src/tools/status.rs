//! `mq9_serve` and `mq9_report`.

use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::tools::{ToolCall, ToolSpec};
use agentchat_core::{Agent, ConnectionState, Heartbeat, Result, tool_args};
use futures_util::FutureExt;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn serve(agent: &Agent) -> Result<ToolSpec> {
    let agent = agent.clone();
    let what = "Whether calls from others are being served: your mailbox, the connection, and whether what \
        answers them runs. It starts and stops nothing.";
    let run = move |_: Nothing, _: ToolCall| {
        let status = status(&agent);
        async move { Ok(status) }
    };
    Ok(ToolSpec::new("mq9_serve", what, run)?.with_read_only(true))
}

pub(super) fn report(agent: &Agent) -> Result<ToolSpec> {
    let agent = agent.clone();
    let what = "Reports to the registry how you are: a word such as online, busy or away, and how much you have \
        to do. You count as alive for three times the interval. You must be registered.";
    let run = move |args: Report, _: ToolCall| {
        let agent = agent.clone();
        async move {
            let interval = Duration::from_secs(args.interval_seconds.unwrap_or(60));
            let mut heartbeat = Heartbeat::new(args.status, interval);
            heartbeat.active_tasks = args.active_tasks.unwrap_or(0);
            heartbeat.load = args.load.unwrap_or(0.0);
            agent.report(&heartbeat).await?;
            Ok(json!({ "reported": heartbeat.status, "alive_for_seconds": interval.as_secs() * 3 }))
        }
    };
    Ok(ToolSpec::new("mq9_report", what, run)?.with_idempotent(true))
}

fn status(agent: &Agent) -> Value {
    let connection = match agent.connection() {
        ConnectionState::Connected => "connected",
        ConnectionState::Connecting => "connecting",
        ConnectionState::Closed => "closed",
        _ => "not_told",
    };
    let role = match agent.role() {
        Role::Follower => "follower",
        _ => "leader",
    };
    // What has not ended is not ready.
    let (serving, error) = match agent.served().now_or_never() {
        None if agent.role() == Role::Follower => ("waiting_to_lead", None),
        None => ("running", None),
        Some(None) => ("not_served_by_this_agent", None),
        Some(Some(served)) => ("ended", served.error.as_ref().map(ToString::to_string)),
    };
    json!({
        "mailbox": agent.address().as_str(),
        "connection": connection,
        "role": role,
        "serving": serving,
        "ended_with": error,
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}
tool_args!(Nothing);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    /// A word: online, busy, away.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]+$"), example = &"busy")]
    status: String,
    /// How many requests you are working on.
    #[schemars(range(min = 0, max = 1_000_000))]
    active_tasks: Option<u32>,
    /// How busy you are, from 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    load: Option<f32>,
    /// When you will report next; 60 unless told.
    #[schemars(range(min = 1, max = 86_400))]
    interval_seconds: Option<u64>,
}
tool_args!(Report);
