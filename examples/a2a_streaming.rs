//! An agent answers in A2A while it thinks: the caller reads the words as they come.
//!
//! `cargo run --example a2a_streaming`, or with `-- --broker mq9://host:4222`.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, TurnHandle};
use a2a_envelope::stream::ReaderItem;
use a2a_envelope::task::Event;
use agentchat_core::Agent;
use common::{Args, Failure, RunBroker};
use transport_mq9::Mq9Connector;

const USAGE: &str = "a2a_streaming [--broker mq9://host[:port]]";
const ANSWER: &str = "Mailboxes keep what is said while nobody listens, so a stream survives a slow reader.";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let agent = |name: &str| Mq9Connector::builder(&broker.url).generated_inbox(name).build();
    let model = Agent::builder(agent("model")?).start().await?;
    let user = Agent::builder(agent("user")?).start().await?;

    // The stand-in for a model: a word at a time.
    let thinks = |turn: TurnHandle| async move {
        for word in ANSWER.split_inclusive(' ') {
            turn.text("answer", word).await?;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    };
    let _serving = A2aServer::new(thinks).serve(&model).await?;

    let request = A2aRequest::text("why mailboxes?").with_streaming();
    let mut call = A2aClient::new(&user).call(model.address(), request).await?;
    let mut chunks = 0;
    while let Some(item) = call.next().await {
        match item? {
            ReaderItem::Taken => println!("the model has the question"),
            ReaderItem::Reply(reply) => {
                if let Event::Artifact { artifact, .. } = reply.event {
                    chunks += 1;
                    println!("  {:>2}  {}", reply.seq.unwrap_or_default(), artifact.text());
                }
            }
            _ => {}
        }
    }
    let answer = call.answer().await?;
    println!("whole: {}", answer.text());
    if answer.text() != ANSWER || chunks < 2 {
        return Err("the answer did not arrive whole and in parts".into());
    }
    Ok(())
}
