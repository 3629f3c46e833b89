//! A task asks back, the agent is restarted, and the task goes on from where it was.
//!
//! `cargo run --example a2a_multi_turn`, or with `-- --broker mq9://host:4222`.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, TurnHandle, TurnResult};
use a2a_envelope::idempotency::{MemoryRequestStore, RequestStore};
use a2a_envelope::task::{MemoryTaskStore, TaskStore};
use agentchat_core::{Agent, CloseMode};
use common::{Args, Failure, RunBroker};
use transport_mq9::Mq9Connector;

const USAGE: &str = "a2a_multi_turn [--broker mq9://host[:port]]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

/// Entered for the request, and again for each answer, with the task as it was stored.
async fn books_a_table(turn: TurnHandle) -> TurnResult {
    let task = turn.task();
    match task.turns().len() {
        1 => turn.ask("For how many?").await,
        2 => turn.ask("At what time?").await,
        _ => {
            let people = task.turns()[1].request.message.as_str().contains("four");
            let table = if people { "a table for four" } else { "a table" };
            turn.text("booking", &format!("{table} at {}", turn.request_text())).await?;
            Ok(())
        }
    }
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let inbox = Mq9Connector::builder(&broker.url).generated_inbox("waiter").build()?;
    let guest = Agent::builder(Mq9Connector::builder(&broker.url).generated_inbox("guest").build()?);
    let guest = guest.start().await?;
    let client = A2aClient::new(&guest);

    // In earnest these are on a disk. Here they only outlive the agent.
    let tasks: Arc<dyn TaskStore> = Arc::new(MemoryTaskStore::new());
    let requests: Arc<dyn RequestStore> = Arc::new(MemoryRequestStore::new(1_000));

    let mut question = None;
    let mut booked = String::new();
    for (place, says) in ["A table, please", "four", "eight o'clock"].into_iter().enumerate() {
        // A fresh agent each time: nothing is in memory but the stores.
        let waiter = Agent::builder(inbox.clone()).start().await?;
        let server = A2aServer::new(books_a_table).with_stores(Arc::clone(&tasks), Arc::clone(&requests));
        let serving = server.serve(&waiter).await?;
        println!("waiter: here, for the {}. time", place + 1);

        let mut request = A2aRequest::text(says);
        if let Some(question) = &question {
            request = request.answering(question);
        }
        println!("guest:  {says}");
        let answer = client.ask(waiter.address(), request).await?;
        println!("waiter: {}", answer.text());
        if !answer.is_question() {
            booked = answer.text();
        }
        question = Some(answer);

        serving.stop(Duration::from_secs(5)).await;
        waiter.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    }
    if booked != "a table for four at eight o'clock" {
        return Err(format!("the booking is wrong: {booked:?}").into());
    }
    Ok(())
}
