//! The calling half of the proof of concept: discovers an agent, sends it a message whose callback is a
//! mailbox, and waits there for the answer.
//!
//! `cargo run --example poc_caller` starts a broker and the agent by itself; with
//! `-- --broker mq9://host:4222 --name NAME` it calls one that runs already.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use a2a_envelope::with_callback;
use agentchat_core::{Agent, Body, CorrelationId, Event, Outbound, Query, SubscribeOptions};
use common::{Args, Failure, Process, RunBroker};
use futures_util::StreamExt;
use transport_mq9::Mq9Connector;

const USAGE: &str = "poc_caller [--broker mq9://host[:port] --name NAME]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let name = args.value("name").unwrap_or("poc-agent");
    let _agent = match args.value("name") {
        Some(_) => None,
        None => {
            let mut agent = Process::example("poc_agent", &["--broker", &broker.url, "--name", name])?;
            agent.lines.next_line().await?.ok_or("the agent did not start")?;
            Some(agent)
        }
    };
    let caller = Agent::builder(Mq9Connector::builder(&broker.url).generated_inbox("caller").build()?);
    let caller = caller.start().await?;
    let found = caller.discover(&Query::name(name)).await?;
    let target = found.agents.into_iter().find_map(|agent| agent.address).ok_or("nobody of that name")?;
    println!("found {name}");

    let mut callback =
        caller.transport().subscribe(SubscribeOptions::fresh(Duration::from_secs(86_400))).await?;
    let message = r#"{"role":"user","parts":[{"kind":"text","text":"hello mailbox"}]}"#;
    let message = with_callback(message.as_bytes(), callback.address.as_str(), None, false)?;
    let correlation = CorrelationId::random();
    let outbound = Outbound::new(target, Body::json(message)).with_correlation_id(correlation.clone());
    caller.send(&outbound).await?;
    println!("sent, with the callback in the message");

    let answer = async {
        while let Some(event) = callback.events.next().await {
            if let Event::Message(delivery) = event?
                && delivery.correlation_id.as_ref() == Some(&correlation)
            {
                return Ok::<_, Failure>(delivery.body.as_str().unwrap_or_default().to_owned());
            }
        }
        Err("the callback mailbox was closed".into())
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(20), answer).await.map_err(|_| "no answer came")??;
    println!("answer: {answer}");
    if answer.contains("HELLO MAILBOX") { Ok(()) } else { Err("that is not the answer".into()) }
}
