//! Three worker processes share one inbox; one is killed in the middle and started again; every task is
//! answered exactly once.
//!
//! The broker does not balance the members of a group, so each worker takes its own share of the inbox:
//! `partition(i, 3)` spreads conversations by a hash, without anyone coordinating.
//!
//! `cargo run --example worker_pool`, or with `-- --broker mq9://host:4222`.

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{Address, Agent, Body, CallRequest, CloseMode, ConversationId, Request, ServeOptions};
use common::{Args, Failure, Process, RunBroker};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use transport_mq9::Mq9Connector;

const USAGE: &str = "worker_pool [--broker mq9://host[:port]]";
const WORKERS: u32 = 3;
const TASKS: usize = 60;

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    match args.value("worker") {
        Some(index) => worker(args.required("broker")?, args.required("inbox")?, index.parse()?).await,
        None => direct(&args).await,
    }
}

async fn direct(args: &Args) -> Result<(), Failure> {
    let broker = RunBroker::from_args(args).await?;
    let inbox = mq9_client::MailAddress::generate("pool")?;
    let start = |index: u32| {
        let index = index.to_string();
        Process::again(&["--broker", &broker.url, "--inbox", inbox.as_str(), "--worker", &index])
    };
    let mut workers = Vec::new();
    for index in 0..WORKERS {
        let mut worker = start(index)?;
        worker.lines.next_line().await?.ok_or("a worker did not start")?;
        workers.push(worker);
    }
    println!("{WORKERS} workers share one inbox");

    let asker = Agent::builder(Mq9Connector::builder(&broker.url).generated_inbox("asker").build()?);
    let asker = asker.start().await?;
    let pool = Address::parse(asker.address().as_str().replace(asker.address().name(), inbox.as_str()))?;
    let mut answers = FuturesUnordered::new();
    for task in 0..TASKS {
        let request = CallRequest::new(Body::text(format!("task {task}")))
            .with_conversation(ConversationId::new(format!("conversation-{task}"))?)
            .with_timeout(Duration::from_secs(60));
        let mut call = asker.call(&pool, request).await?;
        answers.push(async move {
            let mut replies = Vec::new();
            while let Some(reply) = call.next().await {
                replies.push(reply?.body().as_str().unwrap_or_default().to_owned());
            }
            Ok::<_, agentchat_core::Error>((task, replies))
        });
    }
    println!("{TASKS} tasks sent");

    let mut by_worker: BTreeMap<String, usize> = BTreeMap::new();
    let mut answered = vec![0_usize; TASKS];
    let mut killed = false;
    while let Some(answer) = answers.next().await {
        let (task, replies) = answer?;
        for reply in &replies {
            answered[task] += 1;
            *by_worker.entry(reply.split(" did ").next().unwrap_or("?").to_owned()).or_default() += 1;
        }
        if !killed && answered.iter().sum::<usize>() >= TASKS / 4 {
            killed = true;
            workers[1].child.kill().await?;
            println!("worker 1 killed");
            workers[1] = start(1)?;
            println!("worker 1 started again");
        }
    }
    for (worker, count) in &by_worker {
        println!("{worker} answered {count}");
    }
    asker.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    if let Some(task) = answered.iter().position(|count| *count != 1) {
        return Err(format!("task {task} was answered {} times", answered[task]).into());
    }
    if by_worker.len() != WORKERS as usize {
        return Err("a worker did nothing".into());
    }
    println!("each of the {TASKS} tasks was answered exactly once");
    Ok(())
}

/// Works until it is killed. A task it had not settled then comes again when it is back; the answer has
/// the same id, so that a caller who has it already does not see it twice.
async fn worker(broker: &str, inbox: &str, index: u32) -> Result<(), Failure> {
    let connector = Mq9Connector::builder(broker).inbox(inbox).partition(index, WORKERS).build()?;
    let agent = Agent::builder(connector).start().await?;
    let handler = move |request: Request| async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let task = request.body().as_str().unwrap_or("?");
        request.reply(Body::text(format!("worker {index} did {task}"))).await?;
        Ok(())
    };
    let serving = agent.serve(handler, ServeOptions::default().with_concurrency(2)).await?;
    println!("ready");
    serving.wait().await.error.map_or(Ok(()), |error| Err(error.into()))
}
