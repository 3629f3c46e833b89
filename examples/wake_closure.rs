//! An agent is woken by messages: `serve` calls a plain closure for each, also for what came while it was away.
//!
//! `cargo run --example wake_closure` shows it on the AgentChat double. What stands in `think` is where a
//! framework's own agent is called.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{
    Address, Agent, Body, CloseMode, Outbound, Request, ResilientConnector, ResilientOptions, ServeOptions,
};
use common::Failure;
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

/// The longest that one step may take here.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let server = AgentChatServer::start().await?;
    let ada = Address::of("agentchat", "ada")?;
    server.agent("ada");

    // Somebody who writes, and waits for answers.
    let (heard, mut answers) = mpsc::channel(8);
    let listen = move |request: Request| {
        let heard = heard.clone();
        async move {
            let text = request.body().as_str().unwrap_or_default().to_owned();
            let _ = heard.send(text).await;
            Ok(())
        }
    };
    let bob =
        Agent::builder(connector(&server, "bob")?).serve(listen, ServeOptions::default()).start().await?;
    let say = async |text: &str| -> Result<(), Failure> {
        println!("bob: {text}");
        bob.send(&Outbound::new(ada.clone(), Body::text(text))).await?;
        Ok(())
    };
    say("What is 6 times 7?").await?;
    println!("(ada is not there yet)");

    // The agent: a closure that is given a text, and says something or nothing.
    let (done, mut woken) = mpsc::channel(8);
    let think = |text: &str| -> Option<String> {
        let numbers: Vec<u64> =
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
        match numbers[..] {
            [a, b] => Some(format!("{a} times {b} is {}", a * b)),
            // Two polite agents that thank each other would never stop.
            _ => None,
        }
    };
    let wake = move |request: Request| {
        let done = done.clone();
        async move {
            let thought = request.body().as_str().and_then(think);
            if let Some(answer) = &thought {
                // Sent once, however often the message is delivered.
                request.reply(Body::text(answer.clone())).await?;
            }
            let _ = done.send(thought.is_some()).await;
            Ok(())
        }
    };
    let agent =
        Agent::builder(connector(&server, "ada")?).serve(wake, ServeOptions::default()).start().await?;

    let first = timeout(PATIENCE, answers.recv()).await?.ok_or("bob stopped listening")?;
    println!("ada, woken by what waited: {first}");
    say("And 6 times 8?").await?;
    let second = timeout(PATIENCE, answers.recv()).await?.ok_or("bob stopped listening")?;
    println!("ada, woken by what arrived: {second}");
    say("Thanks!").await?;
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(timeout(PATIENCE, woken.recv()).await?.ok_or("ada is not served any more")?);
    }
    println!("ada, woken again, has nothing to say");

    for agent in [agent, bob] {
        agent.close(CloseMode::Detach, PATIENCE).await?;
    }
    match (first.as_str(), second.as_str(), answered) {
        ("6 times 7 is 42", "6 times 8 is 48", answered) if answered == [true, true, false] => Ok(()),
        other => Err(format!("it was answered otherwise: {other:?}").into()),
    }
}

fn connector(server: &AgentChatServer, handle: &str) -> Result<ResilientConnector, Failure> {
    let key = ApiKey::new(server.agent(handle))?;
    let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build()?;
    Ok(ResilientConnector::new(AgentChatConnector::new(config)?, ResilientOptions::new()))
}
