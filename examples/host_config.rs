//! An agent framework's own configuration, with a section for mq9 and one for AgentChat.
//!
//! The host reads its file as it always does; the two sections are types of the transports that `serde` fills.
//! The environment goes before the file: this run sets the addresses of the embedded doubles over those that
//! `examples/host_config.yaml` names. `cargo run --example host_config`

mod common;

use std::process::ExitCode;
use std::time::Duration;

use a2a_envelope::{CardBuilder, Tool, Toolset};
use agentchat_core::{
    Agent, Body, CallRequest, CloseMode, EnvReader, Query, Request, ResilientConnector, ResilientOptions,
    ServeOptions,
};
use common::Failure;
use mq9_client::testing::Broker;
use serde::Deserialize;
use transport_mq9::{Mq9Connector, Mq9ConnectorBuilder, Mq9Section};
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConnector, AgentChatSection};

/// What the host knows of its file.
#[derive(Deserialize)]
struct Host {
    plugins: Plugins,
    // Absent is the same as empty: nothing is on by itself.
    #[serde(default)]
    mq9: Mq9Section,
    #[serde(default)]
    agentchat: AgentChatSection,
}

#[derive(Deserialize)]
struct Plugins {
    enabled: Vec<String>,
}

const FILE: &str = include_str!("host_config.yaml");

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let (broker, server) = (Broker::builder().start().await?, AgentChatServer::start().await?);
    let (key, base, url) = (server.agent("night-coder"), server.base_url(), broker.url());
    // A host gives `EnvReader::process()`.
    let environment = EnvReader::of([
        ("MQ9_URL", url.as_str()),
        ("AGENTCHATME_API_KEY", key.as_str()),
        ("AGENTCHATME_API_BASE", base.as_str()),
    ]);
    let host = read(FILE)?;
    println!("enabled: {}", host.plugins.enabled.join(", "));
    on_mq9(host.mq9.with_env(&environment)?, &url).await?;
    on_agentchat(host.agentchat.with_env(&environment)?).await?;

    println!("\nwithout a broker");
    let host = read("plugins: {enabled: [mq9]}\nmq9:\n  agent_id: coder\n")?;
    let agent = Agent::builder(connector(&host.mq9)?).start().await?;
    println!("  the agent runs, and mq9 is {}", if agent.is_enabled() { "on" } else { "off" });
    if agent.is_enabled() {
        return Err("a section without a broker must be off".into());
    }

    println!("\nwith a slip of the pen");
    for (what, path) in [
        ("brokre: \"mq9://b\"", "mq9.brokre is not known"),
        ("ttl: soon", "mq9.ttl must be"),
        ("agent_card: {skills: [{name: a}]}", "mq9.agent_card.skills[0].id is missing"),
    ] {
        match read(&format!("plugins: {{enabled: []}}\nmq9: {{{what}}}\n")) {
            Err(error) if error.to_string().contains(path) => println!("  {what}: {error}"),
            Err(error) => return Err(format!("{what}: {error} does not say {path}").into()),
            Ok(_) => return Err(format!("{what} went unnoticed").into()),
        }
    }
    Ok(())
}

/// The errors of this reader quote the lines around a fault, which may hold a secret: without that, please.
fn read(yaml: &str) -> Result<Host, Failure> {
    serde_saphyr::from_str(yaml)
        .map_err(|error: serde_saphyr::Error| error.without_snippet().to_string().into())
}

fn connector(section: &Mq9Section) -> Result<Option<Mq9Connector>, Failure> {
    Ok(section.builder()?.map(Mq9ConnectorBuilder::build).transpose()?)
}

/// The agent that the section describes is found by what its card says, and answers.
async fn on_mq9(section: Mq9Section, url: &str) -> Result<(), Failure> {
    println!("\nmq9: {section:?}");
    let card = {
        let section = section.clone();
        async move |context: agentchat_core::agent::StartContext| {
            let tools = Toolset::new("code", [Tool::new("write", "Writes programs")]);
            let generated = CardBuilder::from_toolsets(section.agent_id().unwrap_or("agent"), [tools]);
            let generated = generated.description("An agent of this host").version("1.0.0");
            section.card(generated, &context.address)
        }
    };
    let agent = Agent::builder(connector(&section)?)
        .card_with(card)
        .heartbeat(section.heartbeat())
        .serve(
            async |request: Request| {
                request.reply(Body::text("fn main() {}")).await?;
                Ok(())
            },
            ServeOptions::default(),
        )
        .start()
        .await?;
    let caller = Agent::builder(Mq9Connector::builder(url).build()?).start().await?;
    let found = caller.discover(&Query::tag("rust")).await?;
    let peer = found.agents.first().ok_or("nobody writes Rust")?;
    println!("  found by the tag of its card: {}", peer.name);
    let address = peer.address.clone().ok_or("it has no inbox")?;
    let call = CallRequest::new(Body::text("a web server, please")).with_timeout(Duration::from_secs(30));
    let answer = caller.call(&address, call).await?.response().await?;
    println!("  it answers: {}", answer.body().as_str().unwrap_or("no text"));
    for agent in [caller, agent] {
        agent.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    }
    Ok(())
}

/// The key is the one of the handle that the file names: another account's would be refused.
async fn on_agentchat(section: AgentChatSection) -> Result<(), Failure> {
    println!("\nagentchat: {section:?}");
    let config = section.config()?.ok_or("there is no key")?;
    let connector = ResilientConnector::new(AgentChatConnector::new(config)?, ResilientOptions::new());
    let agent = Agent::builder(connector).start().await?;
    println!("  attached as {}", agent.address());
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    Ok(())
}
