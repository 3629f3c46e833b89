//! Messages wait for an agent that is away, over a restart of the broker, and arrive in order.
//!
//! `cargo run --example offline_inbox`, or with `-- --broker mq9://host:4222` (a real broker is not
//! restarted).

mod common;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{Agent, Body, CloseMode, ConversationId, Outbound, Request, ServeOptions};
use common::{Args, Failure, Scratch};
use mq9_client::testing::Broker;
use tokio::sync::mpsc;
use transport_mq9::Mq9Connector;

const USAGE: &str = "offline_inbox [--broker mq9://host[:port]]";
const MESSAGES: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let scratch = Scratch::new("offline-inbox")?;
    let mut embedded = match args.value("broker") {
        Some(_) => None,
        None => Some(Broker::builder().data_dir(scratch.file("broker")).start().await?),
    };
    let url = match (&embedded, args.value("broker")) {
        (Some(broker), _) => broker.url(),
        (None, url) => url.ok_or("no broker")?.to_owned(),
    };
    let receiver = || Mq9Connector::builder(&url).kept_inbox("receiver", scratch.file("inbox")).build();
    let sender = || Mq9Connector::builder(&url).generated_inbox("sender").build();

    let away = Agent::builder(receiver()?).start().await?;
    let address = away.address().clone();
    away.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    println!("the receiver is away");

    let agent = Agent::builder(sender()?).start().await?;
    let conversation = ConversationId::new("report")?;
    for number in 0..MESSAGES {
        let message = Outbound::new(address.clone(), Body::text(number.to_string()));
        agent.send(&message.with_conversation(conversation.clone())).await?;
    }
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    println!("{MESSAGES} messages sent");
    if let Some(broker) = &mut embedded {
        broker.restart().await?;
        println!("the broker was restarted");
    }

    let back = Agent::builder(receiver()?).start().await?;
    let (seen, mut log) = mpsc::channel(MESSAGES);
    let handler = move |request: Request| {
        let seen = seen.clone();
        async move { Ok(seen.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let serving = back.serve(handler, ServeOptions::default()).await?;
    for number in 0..MESSAGES {
        let next = tokio::time::timeout(Duration::from_secs(20), log.recv());
        let next = next.await.map_err(|_| format!("message {number} did not come"))?;
        if next.as_deref() != Some(number.to_string().as_str()) {
            return Err(format!("message {number} was due, and {next:?} came").into());
        }
    }
    println!("the receiver is back and has all {MESSAGES}, in order");
    back.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    drop(serving);

    let again = Agent::builder(receiver()?).start().await?;
    let (seen, mut log) = mpsc::channel(MESSAGES);
    let handler = move |request: Request| {
        let seen = seen.clone();
        async move { Ok(seen.send(request.delivery().id.clone()).await?) }
    };
    let _serving = again.serve(handler, ServeOptions::default()).await?;
    if tokio::time::timeout(Duration::from_secs(1), log.recv()).await.is_ok() {
        return Err("a settled message came again".into());
    }
    println!("what was settled does not come again");
    Ok(())
}
