//! Messages of AgentChat wait for an agent that is away, over a restart of the server, and arrive in order.
//!
//! `cargo run --example agentchat_offline` runs it on the embedded server.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{Agent, Body, CallRequest, CloseMode, ConversationId, Outbound, Request, ServeOptions};
use common::agentchat::RunServer;
use common::{Args, Failure};
use tokio::sync::mpsc;

const MESSAGES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    Args::parse("agentchat_offline");
    let mut server = RunServer::start().await?;
    let sender = Agent::builder(server.session("reporter")?).start().await?;
    let (away, mut log) = receiver(&server).await?;
    let address = away.address().clone();
    // On AgentChat a stranger's second message waits until the first one is answered.
    let introduction = CallRequest::new(Body::text("may I send you my report?")).with_timeout(PATIENCE);
    let answer = sender.call(&address, introduction).await?.response().await?;
    println!("the receiver says: {}", answer.body().as_str().unwrap_or("nothing"));
    next(&mut log).await?;
    away.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    println!("the receiver is away");

    let conversation = ConversationId::new("report")?;
    for number in 0..MESSAGES {
        let message = Outbound::new(address.clone(), Body::text(number.to_string()));
        sender.send(&message.with_conversation(conversation.clone())).await?;
    }
    println!("{MESSAGES} messages sent");
    server.0.down().await?;
    server.0.up().await?;
    println!("the server was restarted");

    let (back, mut log) = receiver(&server).await?;
    for number in 0..MESSAGES {
        let words = next(&mut log).await?;
        if words != number.to_string() {
            return Err(format!("message {number} was due, and {words} came").into());
        }
    }
    println!("the receiver is back and has all {MESSAGES}, in order");
    back.close(CloseMode::Detach, Duration::from_secs(5)).await?;

    let (again, mut log) = receiver(&server).await?;
    if tokio::time::timeout(Duration::from_secs(1), log.recv()).await.is_ok() {
        return Err("a settled message came again".into());
    }
    println!("what was settled does not come again");
    again.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    sender.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    Ok(())
}

/// The receiver, served: it answers who asks, and tells what it sees.
async fn receiver(server: &RunServer) -> Result<(Agent, mpsc::Receiver<String>), Failure> {
    let (seen, log) = mpsc::channel(MESSAGES + 1);
    let handler = move |request: Request| {
        let seen = seen.clone();
        async move {
            if request.wants_reply() {
                request.reply(Body::text("yes, please")).await?;
            }
            seen.send(request.body().as_str().unwrap_or_default().to_owned()).await?;
            Ok(())
        }
    };
    let builder = Agent::builder(server.session("archive")?).serve(handler, ServeOptions::default());
    Ok((builder.start().await?, log))
}

async fn next(log: &mut mpsc::Receiver<String>) -> Result<String, Failure> {
    let next = tokio::time::timeout(PATIENCE, log.recv()).await.map_err(|_| "a message did not come")?;
    next.ok_or_else(|| "nobody serves".into())
}
