//! Looks at how AgentChat and mq9 are set up, prints a line for each check, and exits with the number of faults.
//!
//! What to look at comes from the environment: `AGENTCHATME_API_KEY`, `AGENTCHATME_HANDLE`,
//! `AGENTCHATME_API_BASE`, `MQ9_URL` and its companions. With neither a key nor a broker set it shows a healthy pair of
//! embedded doubles: `cargo run --example doctor`.

mod common;

use std::process::ExitCode;

use agentchat_core::EnvReader;
use agentchat_core::doctor::Report;
use common::{Args, Failure};
use mq9_client::testing::Broker;
use transport_mq9::Mq9Section;
use transport_ws::doctor::Checkup;
use transport_ws::testing::AgentChatServer;

const USAGE: &str = "doctor [--lock FILE] [--beacon FILE] [--anchor FILE]";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => common::end(Err(failure)),
    }
}

async fn run() -> Result<u8, Failure> {
    let args = Args::parse(USAGE);
    let environment = EnvReader::process();
    let key = environment.text("AGENTCHATME_API_KEY")?;
    let broker = environment.text("MQ9_URL")?;
    if key.is_none() && broker.is_none() {
        println!("Nothing is configured; this is what a healthy pair of doubles looks like.\n");
        let (server, broker) = (AgentChatServer::start().await?, Broker::builder().start().await?);
        let (key, base) = (server.agent("quokka-9"), server.base_url());
        let variables = [("AGENTCHATME_API_KEY", key.as_str()), ("AGENTCHATME_API_BASE", base.as_str())];
        let agentchat = Checkup::from_env_reader(&EnvReader::of(variables));
        let mq9 = EnvReader::of([("MQ9_URL", broker.url())]);
        return Ok(shown(agentchat, &args).await + shown_mq9(&mq9).await?);
    }
    let mut faults = 0;
    if key.is_some() {
        faults += shown(Checkup::from_env(), &args).await;
    }
    if broker.is_some() {
        faults += shown_mq9(&environment).await?;
    }
    Ok(faults)
}

async fn shown(mut checkup: Checkup, args: &Args) -> u8 {
    if let Some(path) = args.value("lock") {
        checkup = checkup.with_lock(path);
    }
    if let Some(path) = args.value("beacon") {
        checkup = checkup.with_beacon(path);
    }
    if let Some(path) = args.value("anchor") {
        checkup = checkup.with_anchor(path);
    }
    print("AgentChat", &checkup.run().await)
}

async fn shown_mq9(environment: &EnvReader) -> Result<u8, Failure> {
    let section = Mq9Section::default().with_env(environment)?;
    Ok(print("mq9", &transport_mq9::doctor::run_section(&section).await))
}

fn print(network: &str, report: &Report) -> u8 {
    println!("{network}\n{report}");
    report.exit_code()
}
