//! An agent that is told to terminate finishes what it has begun, leaves the directory, and says what is
//! left.
//!
//! `cargo run --example graceful_shutdown` shows it: the agent is a process of its own, which is asked
//! something slow and sent SIGTERM while it works. `-- --broker mq9://host:4222` does the same on a real
//! broker. `-- --role agent --broker mq9://host:4222` is the agent alone, to be ended by SIGTERM or ctrl-c.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Query, Request, ResilientConnector, ResilientOptions,
    ServeOptions,
};
use common::{Args, Failure, Process, RunBroker};
use transport_mq9::Mq9Connector;

const USAGE: &str =
    "graceful_shutdown [--broker mq9://host[:port]] [--role agent [--name NAME] [--work-ms N]]";
const NAME: &str = "slow-worker";
/// What a terminating agent gives its handlers. Whoever runs it must wait a little longer before it kills.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    match args.value("role") {
        Some("agent") => agent(&args).await,
        Some(other) => Err(format!("unknown role {other}").into()),
        None => direct(&args).await,
    }
}

/// Serves until it is told to stop, or until it cannot serve any more.
async fn agent(args: &Args) -> Result<(), Failure> {
    let name = args.value("name").unwrap_or(NAME);
    let work = Duration::from_millis(args.value("work-ms").unwrap_or("1000").parse()?);
    // Ready before the agent can be found: a signal must not end the process the hard way.
    let told = Termination::listen()?;
    let connector = Mq9Connector::builder(args.required("broker")?).generated_inbox("worker").build()?;
    let handler = move |request: Request| async move {
        println!("agent: working on {}", request.body().as_str().unwrap_or("something"));
        tokio::time::sleep(work).await;
        request.reply(Body::text(format!("done after {work:?}"))).await?;
        println!("agent: done");
        Ok(())
    };
    let agent = Agent::builder(ResilientConnector::new(connector, ResilientOptions::new()))
        .card(AgentCard::new(name, "Takes its time, and finishes what it has begun")?)
        .serve(handler, ServeOptions::default())
        .start()
        .await?;
    println!("agent: registered as {name}");

    let (signal, ended) = tokio::select! {
        signal = told.wait() => (Some(signal), None),
        served = agent.served() => (None, served),
    };
    // Said once closing has begun: what comes from then on is not taken in any more.
    let say = async { signal.inspect(|signal| println!("agent: {signal}, retiring")) };
    let (closed, _) = tokio::join!(agent.close(CloseMode::Retire, PATIENCE), say);
    let report = closed?;
    println!("agent: {report}");
    match ended.and_then(|served| served.error.as_ref().map(ToString::to_string)) {
        Some(error) => Err(error.into()),
        None if report.drained => Ok(()),
        None => Err("a handler was not done in time".into()),
    }
}

/// Asks the agent, terminates it while it works, and looks at what is left from outside.
async fn direct(args: &Args) -> Result<(), Failure> {
    let broker = RunBroker::from_args(args).await?;
    let name = format!("{NAME}-{}", std::process::id());
    let mut process = Process::again(&["--role", "agent", "--broker", &broker.url, "--name", &name])?;
    told(&mut process, "agent: registered").await?;

    let asker = Mq9Connector::builder(&broker.url).generated_inbox("asker").build()?;
    let asker = Agent::builder(asker).start().await?;
    let found = asker.discover(&Query::name(&name)).await?.agents;
    let address = found.into_iter().next().and_then(|entry| entry.address).ok_or("the agent is not found")?;
    let request = CallRequest::new(Body::text("a slow request")).with_timeout(Duration::from_secs(30));
    let call = asker.call(&address, request).await?;
    told(&mut process, "agent: working").await?;

    common::terminate(&process.child)?;
    let answer = call.response().await?;
    println!("asker: the answer all the same: {}", answer.body().as_str().unwrap_or_default());
    while let Some(line) = process.lines.next_line().await? {
        println!("{line}");
    }
    process.succeed("the agent").await?;
    match asker.discover(&Query::name(&name)).await?.agents.is_empty() {
        true => println!("asker: the agent is not in the directory any more"),
        false => return Err("the agent is still in the directory".into()),
    }
    asker.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    Ok(())
}

/// Waits until the agent says a line that begins like this.
async fn told(process: &mut Process, beginning: &str) -> Result<(), Failure> {
    while let Some(line) = process.lines.next_line().await? {
        println!("{line}");
        if line.starts_with(beginning) {
            return Ok(());
        }
    }
    Err(format!("the agent ended before it said: {beginning}").into())
}

/// What tells a process to end.
#[cfg(unix)]
struct Termination {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Termination {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "ctrl-c",
        }
    }
}

#[cfg(not(unix))]
struct Termination;

#[cfg(not(unix))]
impl Termination {
    fn listen() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn wait(self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "ctrl-c",
            // Without it there is no way to be told.
            Err(_) => std::future::pending().await,
        }
    }
}
