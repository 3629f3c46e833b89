//! State that others read without asking: only the newest value of each key is kept.
//!
//! `cargo run --example state_by_key`, or with `-- --broker mq9://host:4222`.

mod common;

use std::process::ExitCode;

use agentchat_core::{Agent, Body};
use common::{Args, Failure, RunBroker};
use transport_mq9::Mq9Connector;

const USAGE: &str = "state_by_key [--broker mq9://host[:port]]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let worker = Agent::builder(Mq9Connector::builder(&broker.url).generated_inbox("worker").build()?);
    let worker = worker.start().await?;
    let watcher = Agent::builder(Mq9Connector::builder(&broker.url).generated_inbox("watcher").build()?);
    let watcher = watcher.start().await?;

    if watcher.state_of(worker.address(), "task.7").await?.is_some() {
        return Err("there is state before any was set".into());
    }
    for percent in [10, 55, 100] {
        worker.put_state("task.7", Body::json(format!(r#"{{"percent":{percent}}}"#))).await?;
        println!("worker: {percent} %");
    }
    worker.put_state("task.8", Body::json(r#"{"percent":0}"#)).await?;

    // The worker may be gone by now: the state is the broker's.
    worker.close(agentchat_core::CloseMode::Detach, std::time::Duration::from_secs(5)).await?;
    let value = watcher.state_of(worker.address(), "task.7").await?.ok_or("the state is gone")?;
    println!("watcher: {}", value.body.as_str().unwrap_or("?"));
    if value.body.as_str() != Some(r#"{"percent":100}"#) {
        return Err("that is not the newest value".into());
    }
    Ok(())
}
