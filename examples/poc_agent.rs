//! The serving half of the proof of concept: registers a hard-coded card, answers what comes.
//!
//! `cargo run --example poc_agent -- --broker mq9://host:4222`; `poc_caller` starts one by itself.

mod common;

use std::process::ExitCode;

use a2a_envelope::{CardBuilder, Skill, callback_of};
use agentchat_core::{
    Address, Agent, AgentCard, Body, ClientMsgId, Delivery, Outbound, Request, ServeOptions,
};
use common::{Args, Failure};
use serde_json::json;
use transport_mq9::Mq9Connector;

const USAGE: &str = "poc_agent --broker mq9://host[:port] [--name NAME]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let name = args.value("name").unwrap_or("poc-agent");
    let connector = Mq9Connector::builder(args.required("broker")?).generated_inbox("poc").build()?;
    let card = CardBuilder::new(name)
        .description("Repeats what it is told, in capitals")
        .version("1.0.0")
        .skill(Skill::new("shout", "Shout", "Repeats a text in capitals").with_tags(["shout"]))
        .mq9_interface(connector.address().as_str())
        .build()?;
    let agent = Agent::builder(connector).card(AgentCard::from_json(card.into_bytes())?).start().await?;

    let speaker = agent.clone();
    let handler = move |request: Request| {
        let speaker = speaker.clone();
        async move { Ok(answer(&speaker, request.delivery()).await?) }
    };
    let serving = agent.serve(handler, ServeOptions::default()).await?;
    println!("ready");
    serving.wait().await.error.map_or(Ok(()), |error| Err(error.into()))
}

/// Answers to the callback that stands in the message itself: `pushNotification.url`, or the field of
/// its A2A version.
async fn answer(agent: &Agent, delivery: &Delivery) -> Result<(), Failure> {
    let Some(callback) = callback_of(&delivery.body.bytes) else {
        println!("a message without a callback: nothing to answer to");
        return Ok(());
    };
    let message: serde_json::Value = serde_json::from_slice(&delivery.body.bytes)?;
    let text = message.pointer("/parts/0/text").and_then(|text| text.as_str()).unwrap_or_default();
    let reply = json!({"role": "agent", "parts": [{"kind": "text", "text": text.to_uppercase()}]});
    let mut outbound = Outbound::new(Address::parse(callback)?, Body::json(reply.to_string()))
        .with_id(ClientMsgId::derived("poc", delivery.id.as_str()));
    outbound.correlation_id.clone_from(&delivery.correlation_id);
    agent.send(&outbound).await?;
    Ok(())
}
