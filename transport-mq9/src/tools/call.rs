//! `mq9_call`.

use std::time::Duration;

use a2a_envelope::{CallbackPlan, callback_of, with_callback};
use agentchat_core::tools::{ToolCall, ToolSpec};
use agentchat_core::{
    Address, Agent, Body, CallRequest, ClientMsgId, CorrelationId, Error, ErrorKind, Outbound, Reached,
    Result, tool_args,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::words::{Mailbox, Message, shown};

pub(super) fn call(agent: &Agent) -> Result<ToolSpec> {
    let agent = agent.clone();
    let what = "Sends a message to another agent's mailbox and waits for its answer. The message goes as it is, \
        but for the address of the answer where it has a free place for one; an A2A message is one. \
        With `callback_mailbox`, or where the message names a callback of its own, nothing is waited \
        for: the answer goes there. After \
        TIMEOUT the work may go on: call again with the `client_msg_id` of the error and the same message to \
        wait on, and nothing is done twice.";
    let run = move |args: Call, call: ToolCall| {
        let agent = agent.clone();
        async move { ask(&agent, args, &call).await }
    };
    // Not said to be idempotent: a host that names neither its calls nor the message asks a second time. A call
    // by its own timeout always ends before the tool's.
    Ok(ToolSpec::new("mq9_call", what, run)?.with_deadline(LONGEST + LEEWAY))
}

async fn ask(agent: &Agent, args: Call, call: &ToolCall) -> Result<Value> {
    let target = args.target_mailbox.address(agent.address())?;
    let callback = args.callback_mailbox.map(|it| it.address(agent.address())).transpose()?;
    let id = match args.client_msg_id {
        Some(id) => ClientMsgId::new(id)?,
        None => call.client_msg_id(),
    };
    let body = args.message.into_body();
    if let Some(callback) = callback {
        return tell(agent, target, body, callback, id).await;
    }
    // Its answer comes there, so to wait for it here would be to wait for nothing.
    if let Ok(CallbackPlan::InMessage(named)) = CallbackPlan::of(&body.bytes, None) {
        return send(agent, target, body, Named::in_message(named.uri, agent.address()), id).await;
    }
    let asked = args.timeout_seconds.map_or(USUAL, Duration::from_secs);
    // What is left of the call's time is the bound, and a little of it is for telling.
    let within = asked.min(call.remaining().saturating_sub(TELLING));
    let request =
        CallRequest::new(body).with_id(id).with_timeout(within).with_reply_to_in_body(with_callback_in);
    let mut answers = agent.call(&target, request).await?;
    let (mut earlier, mut left_out) = (Vec::new(), 0_u64);
    while let Some(reply) = answers.next().await {
        let reply = reply?;
        if let Some(error) = reply.error {
            let error = Error::new(ErrorKind::Handler, "call", format!("the other agent failed: {error}"));
            return Err(error.with_code("PEER_FAILED").with_reached(Reached::Yes));
        }
        if reply.last {
            return Ok(json!({
                "reply": shown(reply.body()),
                "correlation_id": answers.correlation_id().as_str(),
                "earlier_replies": earlier,
                "earlier_replies_left_out": left_out,
            }));
        }
        if earlier.len() < MOST_EARLIER {
            earlier.push(shown(reply.body()));
        } else {
            left_out += 1;
        }
    }
    Err(Error::new(ErrorKind::Closed, "call", "the call ended without a last reply"))
}

/// Sends it and lets the answer go to `callback`, which stands in a header and, where the message's own
/// version has a place for it that is free, in the message.
async fn tell(
    agent: &Agent,
    target: Address,
    body: Body,
    callback: Address,
    id: ClientMsgId,
) -> Result<Value> {
    let body = match with_callback(&body.bytes, callback.as_str(), None, false) {
        Ok(bytes) => Body::new(body.media_type.clone(), bytes),
        // Whoever reads the message would answer elsewhere than whoever reads the header.
        Err(a2a_envelope::Error::CallbackExists { .. }) if !names(&body, &callback, agent.address()) => {
            let what = "the message names a callback already, and it is another one than `callback_mailbox`";
            return Err(Error::new(ErrorKind::Invalid, "arguments", what));
        }
        // No JSON, no place for it, or it is there.
        Err(_) => body,
    };
    let named = Named { shown: callback.as_str().to_owned(), header: Some(callback) };
    send(agent, target, body, named, id).await
}

/// Sends it and waits for nothing.
async fn send(agent: &Agent, target: Address, body: Body, callback: Named, id: ClientMsgId) -> Result<Value> {
    let correlation = CorrelationId::new(id.as_str())?;
    let mut message = Outbound::new(target, body).with_id(id).with_correlation_id(correlation.clone());
    if let Some(header) = callback.header {
        message = message.with_reply_to(header);
    }
    let receipt = agent.send(&message).await?;
    Ok(json!({
        "sent": true,
        "message_id": receipt.message_id().map(|id| id.as_str().to_owned()),
        "correlation_id": correlation.as_str(),
        "callback_mailbox": callback.shown,
    }))
}

/// Where the answer goes.
struct Named {
    shown: String,
    /// Nothing for what is no mailbox of this network, such as a web address: whoever answers finds it in the
    /// message.
    header: Option<Address>,
}

impl Named {
    fn in_message(uri: String, own: &Address) -> Self {
        let mailbox = Mailbox::from(uri.clone()).address(own).ok();
        Self { shown: uri, header: mailbox.filter(|it| it.scheme() == own.scheme()) }
    }
}

/// `body` with the address for answers, where its own version has a free place for one. A callback that the
/// message has already is left alone.
fn with_callback_in(body: &Body, inbox: &Address) -> Option<Body> {
    let bytes = with_callback(&body.bytes, inbox.as_str(), None, false).ok()?;
    Some(Body::new(body.media_type.clone(), bytes))
}

/// Whether the callback in `body` is this one.
fn names(body: &Body, callback: &Address, own: &Address) -> bool {
    callback_of(&body.bytes).and_then(|named| Mailbox::from(named).address(own).ok()).as_ref()
        == Some(callback)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Call {
    target_mailbox: Mailbox,
    /// What to send: a JSON object, such as an A2A message, or a text.
    message: Message,
    /// Where the answer is to go, instead of coming back from this tool.
    callback_mailbox: Option<Mailbox>,
    /// How long to wait for the answer; 25 unless told.
    #[schemars(range(min = 1, max = 300))]
    timeout_seconds: Option<u64>,
    /// Only to repeat a call that failed: the `client_msg_id` that came with its error.
    #[schemars(length(min = 1, max = 128), example = &"0b9f6d1e-55a1-4d0e-9a55-0d3f1f6d7c11")]
    client_msg_id: Option<String>,
}
tool_args!(Call);

const USUAL: Duration = Duration::from_secs(25);
const LONGEST: Duration = Duration::from_secs(300);
const LEEWAY: Duration = Duration::from_secs(5);
const TELLING: Duration = Duration::from_millis(100);
/// Progress that a model still reads.
const MOST_EARLIER: usize = 16;
