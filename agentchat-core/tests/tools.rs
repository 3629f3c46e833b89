//! Tools as an adapter uses them: what reaches the network, and what is answered.
#![cfg(all(feature = "tools", feature = "conformance"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentchat_core::tools::samples::Samples;
use agentchat_core::tools::{ToolArgs, ToolCall, ToolContext, ToolSchema, ToolSet, ToolSpec};
use agentchat_core::{
    Address, Advice, Agent, Body, Error, ErrorKind, Loopback, Outbound, Result, SendOutcome, tool_args,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by its schema")]
struct SendMessage {
    /// Whom to tell.
    #[schemars(length(min = 3, max = 30), regex(pattern = "^@?[a-z][a-z0-9]*(-[a-z0-9]+)*$"))]
    to: Option<String>,
    #[schemars(length(min = 1, max = 128))]
    conversation_id: Option<String>,
    #[schemars(length(min = 1, max = 32_000))]
    text: String,
    priority: Option<Urgency>,
}
tool_args!(SendMessage, with_exactly_one_of("to", "conversation_id"));

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Urgency {
    Low,
    High,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by its schema")]
struct Presences {
    #[schemars(length(min = 1, max = 100), inner(length(min = 3, max = 30)))]
    handles: Vec<String>,
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    within: Option<Window>,
}
tool_args!(Presences);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by its schema")]
struct Window {
    #[schemars(range(min = 0.5))]
    hours: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}
tool_args!(Nothing);

#[derive(Serialize)]
struct Sent {
    message_id: Option<String>,
    duplicate: bool,
}

/// A tool that sends over an in-process network, and counts how often it is asked to.
fn send_tool(agent: &Agent, calls: &Arc<AtomicUsize>) -> ToolSpec {
    let (agent, calls) = (agent.clone(), Arc::clone(calls));
    ToolSpec::new("send_message", "Sends a message.", move |args: SendMessage, call: ToolCall| {
        calls.fetch_add(1, Ordering::SeqCst);
        let agent = agent.clone();
        async move {
            let to = Address::of("loopback", args.to.as_deref().unwrap_or("nobody"))?;
            let message = Outbound::new(to, Body::text(args.text)).with_id(call.client_msg_id());
            let (message_id, duplicate) = match agent.send(&message).await?.outcome {
                SendOutcome::Accepted(id) => (Some(id.to_string()), false),
                SendOutcome::Duplicate(id) => (Some(id.to_string()), true),
                _ => (None, false),
            };
            Ok(Sent { message_id, duplicate })
        }
    })
    .expect("a tool")
}

fn failing(name: &str, fail: impl Fn() -> Error + Send + Sync + 'static) -> ToolSpec {
    let run = move |_: Nothing, call: ToolCall| {
        let _ = call.client_msg_id();
        let error = fail();
        async move { Err::<(), _>(error) }
    };
    ToolSpec::new(name, "Fails.", run).expect("a tool")
}

async fn agents() -> (Agent, Agent) {
    let network = Loopback::new();
    let start = async |name: &str| {
        Agent::builder(network.connector(name).expect("a name")).start().await.expect("started")
    };
    (start("alice").await, start("bob").await)
}

async fn answer(tool: &ToolSpec, arguments: &str, context: ToolContext) -> Value {
    tool.call(arguments, context).await.read().expect("JSON")
}

#[tokio::test]
async fn a_call_repeated_under_its_id_sends_once_and_any_other_sends_again() {
    let (alice, _bob) = agents().await;
    let tool = send_tool(&alice, &Arc::default());
    let context = |id: &str| ToolContext::new().with_call_id("run 1", id);
    let hello = r#"{"to":"bob","text":"hello"}"#;
    let first = answer(&tool, hello, context("1")).await;
    assert_eq!((&first["ok"], &first["duplicate"]), (&json!(true), &json!(false)));
    let again = answer(&tool, r#"{"text":"hello","to":"bob"}"#, context("1")).await;
    assert_eq!((&again["duplicate"], &again["message_id"]), (&json!(true), &first["message_id"]));
    assert_eq!(answer(&tool, hello, context("2")).await["duplicate"], json!(false));
    assert_eq!(
        answer(&tool, r#"{"to":"bob","text":"other"}"#, context("1")).await["duplicate"],
        json!(false)
    );
    assert_eq!(answer(&tool, hello, ToolContext::new()).await["duplicate"], json!(false));
}

#[tokio::test]
async fn bad_arguments_never_reach_the_tool_and_good_ones_do() {
    let (alice, _bob) = agents().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let tool = send_tool(&alice, &calls);
    let samples = Samples::of(tool.schema()).expect("samples");
    for bad in &samples.bad {
        let answer = answer(&tool, bad, ToolContext::new()).await;
        assert_eq!(answer["error"]["code"], "VALIDATION_ERROR", "{bad}");
        assert_eq!(answer["error"]["class"], "invalid");
    }
    for bad in
        [r#"{"text":"x"}"#, r#"{"to":"bob","conversation_id":"c","text":"x"}"#, r#"{"to":"bob","text":""}"#]
    {
        assert_eq!(answer(&tool, bad, ToolContext::new()).await["ok"], json!(false), "{bad}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0, "a bad sample reached the tool");
    let _ = tool.call(&samples.good, ToolContext::new()).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the good sample did not");
}

#[test]
fn every_schema_has_a_good_sample_and_three_bad_ones() {
    for schema in [SendMessage::schema(), Presences::schema(), Nothing::schema(), ToolSchema::none()] {
        let schema = schema.expect("a schema");
        let samples = Samples::of(&schema).expect("samples");
        schema.check(&samples.good).expect("good");
        for bad in &samples.bad {
            assert_eq!(schema.check(bad).expect_err(bad).kind(), ErrorKind::Invalid);
        }
        let mut distinct = samples.bad.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "{samples:?}");
    }
    let odd = r#"{"type":"object","required":["a"],"additionalProperties":false,
        "properties":{"a":{"type":"string","pattern":"^zzz[0-9]{40}$"}}}"#;
    let error = Samples::of(&ToolSchema::from_json(odd).expect("a schema")).expect_err("no value fits");
    assert!(error.to_string().contains("`a`"), "{error}");
}

#[test]
fn a_schema_from_a_type_is_closed_and_bounded_and_says_what_the_type_does() {
    let schema: Value = SendMessage::schema().and_then(|schema| schema.read()).expect("a schema");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["required"], json!(["text"]));
    assert_eq!(schema["properties"]["text"]["maxLength"], 32_000);
    assert_eq!(schema["properties"]["to"]["type"], "string", "null is no choice among several");
    assert_eq!(schema["properties"]["to"]["description"], "Whom to tell.");
    assert_eq!(schema["oneOf"], json!([{"required": ["to"]}, {"required": ["conversation_id"]}]));
}

#[test]
fn a_type_that_takes_members_nobody_named_is_no_arguments() {
    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "read by its schema")]
    struct Open {
        a: String,
    }
    tool_args!(Open);
    assert_eq!(Open::schema().expect_err("open").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_says_nothing_of_its_words() {
    let tool = ToolSpec::new("dies", "Dies.", |_: Nothing, call: ToolCall| {
        assert!(call.call_id().is_some(), "before there is a future: SECRET");
        async move {
            assert!(call.call_id().is_none(), "within it: SECRET");
            Ok(())
        }
    })
    .expect("a tool");
    for context in [ToolContext::new(), ToolContext::new().with_call_id("run", "1")] {
        let answer = tool.call("{}", context).await;
        assert_eq!(answer.error().map(Error::kind), Some(ErrorKind::Handler));
        assert!(answer.as_json().contains("TOOL_PANICKED") && !answer.as_json().contains("SECRET"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_by_its_deadline() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let tool = ToolSpec::new("hangs", "Hangs.", move |_: Nothing, call: ToolCall| {
        log.lock().expect("alive").push(call.remaining());
        let _ = call.client_msg_id();
        std::future::pending::<Result<()>>()
    })
    .expect("a tool")
    .with_deadline(Duration::from_secs(9));
    let began = tokio::time::Instant::now();
    let own = answer(&tool, "", ToolContext::new()).await;
    assert_eq!(began.elapsed().as_secs(), 9);
    assert_eq!((&own["error"]["code"], &own["error"]["class"]), (&json!("TIMEOUT"), &json!("timeout")));
    assert!(own["error"]["client_msg_id"].is_string(), "what may have been sent is not told: {own}");
    let callers = answer(&tool, "", ToolContext::new().with_deadline(Duration::from_secs(2))).await;
    assert_eq!((began.elapsed().as_secs(), &callers["error"]["code"]), (11, &json!("TIMEOUT")));
    let over = answer(&tool, "", ToolContext::new().with_deadline(Duration::ZERO)).await;
    assert_eq!(over["error"]["code"], "TIMEOUT");
    assert_eq!(*seen.lock().expect("alive"), [9, 2].map(Duration::from_secs), "a dead call was begun");
}

#[tokio::test]
async fn what_the_server_said_is_told_as_it_said_it() {
    let tool = failing("fails", || {
        Error::new(ErrorKind::RateLimited, "send", "wait for an answer first")
            .with_code("AWAITING_REPLY")
            .with_advice(Advice::After(Duration::from_millis(2_500)))
            .with_request_id("req_7")
    });
    let context = || ToolContext::new().with_call_id("run", "1");
    let (first, again) = (answer(&tool, "{}", context()).await, answer(&tool, "{}", context()).await);
    let error = &first["error"];
    assert_eq!((&error["code"], &error["class"]), (&json!("AWAITING_REPLY"), &json!("rate_limited")));
    assert_eq!((&error["retry_after_seconds"], &error["request_id"]), (&json!(3), &json!("req_7")));
    assert_eq!(error["client_msg_id"], again["error"]["client_msg_id"]);
}

#[tokio::test]
async fn a_set_keeps_its_order_finds_by_name_and_answers_for_tools_it_does_not_have() {
    let tool = |name: &str| failing(name, || Error::new(ErrorKind::Closed, "x", "closed"));
    let set = ToolSet::new(["c", "a", "b"].map(tool)).expect("distinct");
    assert_eq!(set.names().collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(set.find("a").map(ToolSpec::name), Some("a"));
    let some = set.subset(["b", "c", "b"]).expect("known");
    assert_eq!(some.names().collect::<Vec<_>>(), ["c", "b"], "not in the order of the whole");
    assert!(some.find("a").is_none() && set.find("d").is_none());
    let error = set.subset(["a", "d"]).expect_err("unknown");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("\"d\""), "{error}");
    assert!(set.clone().with(some.clone()).is_err(), "two of a name");
    let answer = some.call("a", "{}", ToolContext::new()).await;
    assert_eq!(
        answer.error().map(|error| (error.kind(), error.code())),
        Some((ErrorKind::NotFound, Some("UNKNOWN_TOOL")))
    );
    assert!(some.call("b", "{}", ToolContext::new()).await.as_json().contains("CLOSED"));
}

#[test]
fn what_no_host_would_take_is_no_tool() {
    let run = async |_: Nothing, _: ToolCall| Ok(());
    let long = "x".repeat(65);
    for (name, description) in
        [("", "d"), ("a b", "d"), (long.as_str(), "d"), ("a", " "), ("a", &"é".repeat(1_025))]
    {
        let made = ToolSpec::new(name, description, move |args: Nothing, call: ToolCall| run(args, call));
        assert_eq!(made.expect_err(name).kind(), ErrorKind::Config);
    }
}

#[test]
fn hints_are_what_was_said() {
    let tool = failing("a", || Error::new(ErrorKind::Closed, "x", "closed"));
    assert!(!tool.is_read_only() && !tool.is_idempotent());
    let reads = tool.clone().with_read_only(true);
    assert!(reads.is_read_only() && reads.is_idempotent());
    assert!(tool.with_idempotent(true).is_idempotent());
}

#[tokio::test]
async fn arguments_need_not_be_text() {
    let (alice, _bob) = agents().await;
    let tool = send_tool(&alice, &Arc::default());
    let answer = tool.call_with(&json!({"to": "bob", "text": "hello"}), ToolContext::new()).await;
    assert!(answer.is_ok(), "{}", answer.as_json());
}
