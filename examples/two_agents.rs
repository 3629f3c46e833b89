//! Two agents find each other and work together.
//!
//! Agent A and agent B are separate processes; every byte between them goes over real sockets through an
//! mq9 broker. B registers and goes away. A user asks A for something; A finds B by what B can do and
//! sends it the task. B comes back, finds the task in its mailbox, streams its progress and answers; A
//! hands the answer to the user.
//!
//! `cargo run --example two_agents` runs it on the embedded broker; `-- --broker mq9://host:4222` on a
//! real one. The exit status says whether every step held.

mod common;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use a2a_envelope::{CardBuilder, Skill};
use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Connector, Query, Request, SearchRan, ServeOptions,
};
use common::{Args, Failure, Process, RunBroker, Scratch};
use serde_json::json;
use tokio::sync::mpsc;
use transport_mq9::Mq9Connector;

const USAGE: &str = "two_agents [--broker mq9://host[:port]] [--request TEXT]";
const REQUEST: &str = "find an agent that can write Python and have it write me an HTTP server";

/// What must happen, in this order; each is the beginning of a line that a process prints.
const STEPS: [&str; 9] = [
    "B: registered",
    "B: away",
    "A: registered",
    "A: the user asks",
    "A: found B",
    "A: the task is in B's mailbox",
    "B: found the task in my mailbox",
    "A: B reports",
    "A: the answer for the user",
];

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    match args.value("role") {
        Some("a") => agent_a(args.required("broker")?, args.value("request").unwrap_or(REQUEST)).await,
        Some("b-registers") => b_registers(args.required("broker")?, args.required("identity")?).await,
        Some("b-works") => b_works(args.required("broker")?, args.required("identity")?).await,
        Some(other) => Err(format!("unknown role {other}").into()),
        None => direct(&args).await,
    }
}

/// Starts the processes one after the other and watches that every step happens in its order.
async fn direct(args: &Args) -> Result<(), Failure> {
    let broker = RunBroker::from_args(args).await?;
    let scratch = Scratch::new("two-agents")?;
    let identity = scratch.file("agent-b.inbox");
    let identity = identity.to_str().ok_or("the temporary directory's path is not UTF-8")?;
    let at_b = ["--broker", &broker.url, "--identity", identity, "--role"];
    let mut seen: Vec<String> = Vec::new();

    let mut b = Process::again(&[&at_b[..], &["b-registers"]].concat())?;
    while let Some(line) = b.lines.next_line().await? {
        note(&mut seen, line);
    }
    b.succeed("agent B, registering").await?;

    let request = args.value("request").unwrap_or(REQUEST);
    let mut a = Process::again(&["--broker", &broker.url, "--role", "a", "--request", request])?;
    while let Some(line) = a.lines.next_line().await? {
        let sent = line.starts_with("A: the task is in B's mailbox");
        note(&mut seen, line);
        if sent {
            break;
        }
    }
    let mut b = Process::again(&[&at_b[..], &["b-works"]].concat())?;
    let (mut a_open, mut b_open) = (true, true);
    while a_open || b_open {
        tokio::select! {
            line = a.lines.next_line(), if a_open => match line? {
                Some(line) => note(&mut seen, line),
                None => a_open = false,
            },
            line = b.lines.next_line(), if b_open => match line? {
                Some(line) => note(&mut seen, line),
                None => b_open = false,
            },
        }
    }
    a.succeed("agent A").await?;
    b.succeed("agent B, working").await?;

    let mut lines = seen.iter();
    for step in STEPS {
        if !lines.any(|line| line.starts_with(step)) {
            return Err(format!("this did not happen in its place: {step}").into());
        }
    }
    println!("all {} steps held", STEPS.len());
    Ok(())
}

fn note(seen: &mut Vec<String>, line: String) {
    println!("{line}");
    seen.push(line);
}

/// B puts itself into the directory and leaves. Its mailbox goes on collecting.
async fn b_registers(broker: &str, identity: &str) -> Result<(), Failure> {
    let agent = start_b(broker, identity).await?;
    println!("B: registered as a Python programmer");
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    println!("B: away");
    Ok(())
}

/// B comes back to the same mailbox, works off what it finds there, and retires.
async fn b_works(broker: &str, identity: &str) -> Result<(), Failure> {
    let agent = start_b(broker, identity).await?;
    println!("B: back");
    let (done, mut finished) = mpsc::channel(1);
    let handler = move |request: Request| {
        let done = done.clone();
        async move {
            write_program(&request).await?;
            done.send(()).await?;
            Ok(())
        }
    };
    let serving = agent.serve(handler, ServeOptions::default()).await?;
    tokio::time::timeout(Duration::from_secs(60), finished.recv()).await.map_err(|_| "no task came")?;
    agent.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    match serving.wait().await.error {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

async fn start_b(broker: &str, identity: &str) -> Result<Agent, Failure> {
    let connector = Mq9Connector::builder(broker).kept_inbox("coder", Path::new(identity)).build()?;
    let card = CardBuilder::new("coder")
        .description("Writes Python programs from a description")
        .version("1.0.0")
        .skill(
            Skill::new("python", "Python programming", "Writes Python scripts, HTTP servers and tests")
                .with_tags(["python", "code"]),
        )
        .mq9_interface(connector.address().as_str())
        .streaming(true)
        .build()?;
    start(connector, AgentCard::from_json(card.into_bytes())?).await
}

async fn start(connector: impl Connector, card: AgentCard) -> Result<Agent, Failure> {
    Ok(Agent::builder(connector).card(card).start().await?)
}

/// The scripted stand-in for a model: reads the task, reports progress, answers with a program.
async fn write_program(request: &Request) -> Result<(), Failure> {
    let task = text_of(request.body()).ok_or("the task is not an A2A message")?;
    println!("B: found the task in my mailbox: {task}");
    for (share, step) in [(30, "reading the task"), (80, "writing the program")] {
        request.progress(Body::json(json!({"percent": share, "step": step}).to_string())).await?;
    }
    let program = "from http.server import HTTPServer, SimpleHTTPRequestHandler\n\
                   HTTPServer((\"127.0.0.1\", 8000), SimpleHTTPRequestHandler).serve_forever()\n";
    let answer = json!({"jsonrpc": "2.0", "id": "1", "result": {"message": {
        "messageId": "answer-1", "role": "ROLE_AGENT", "parts": [{"text": program}]}}});
    request.reply(Body::json(answer.to_string())).await?;
    println!("B: answered");
    Ok(())
}

/// A takes the user's request, finds who can do it, and hands the answer back.
async fn agent_a(broker: &str, request: &str) -> Result<(), Failure> {
    let connector = Mq9Connector::builder(broker).generated_inbox("assistant").build()?;
    let card = AgentCard::new("assistant", "Takes requests of a user and finds agents that can do them")?;
    let agent = start(connector, card).await?;
    println!("A: registered as the user's assistant");
    println!("A: the user asks: {request}");

    let found = agent.discover(&Query::meaning(request).with_limit(5)).await?;
    let how = match found.ran {
        SearchRan::NetworkMeaning => "the broker's search by meaning",
        _ => "a text ranking of this library, as the broker has no search",
    };
    let own = agent.address().clone();
    let peer =
        found.agents.into_iter().find(|peer| peer.address.as_ref().is_some_and(|address| *address != own));
    let peer = peer.ok_or("nobody can do that")?;
    let address = peer.address.ok_or("the entry has no inbox")?;
    println!("A: found B: {} (by {how})", peer.name);

    let task = json!({"jsonrpc": "2.0", "id": "1", "method": "SendMessage", "params": {"message": {
        "messageId": "task-1", "role": "ROLE_USER", "parts": [{"text": request}]}}});
    let call = CallRequest::new(Body::json(task.to_string())).with_timeout(Duration::from_secs(60));
    let mut call = agent.call(&address, call).await?;
    println!("A: the task is in B's mailbox");
    let mut answer = None;
    while let Some(reply) = call.next().await {
        let reply = reply?;
        match reply.last {
            false => println!("A: B reports {}", reply.body().as_str().unwrap_or("something")),
            true => answer = text_of(reply.body()),
        }
    }
    let answer = answer.ok_or("B gave no answer")?;
    println!("A: the answer for the user:");
    for line in answer.lines() {
        println!("   | {line}");
    }
    agent.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    Ok(())
}

/// The text of the first part of an A2A message, in a request or in a result.
fn text_of(body: &Body) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&body.bytes).ok()?;
    let message = value.pointer("/params/message").or_else(|| value.pointer("/result/message"))?;
    message.pointer("/parts/0/text")?.as_str().map(str::to_owned)
}
