use std::time::Duration;

use agentchat_core::{Agent, AgentCard, Body, CallRequest, CloseMode, Query, Request};
use agentchat_core::{ResilientConnector, ResilientOptions, ServeOptions};
use transport_ws::{AgentChatConfig, AgentChatConnector};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    run(AgentChatConfig::from_env()?.ok_or("AGENTCHATME_API_KEY is not set")?).await
}

async fn run(config: AgentChatConfig) -> Result<(), Failure> {
    let connector = ResilientConnector::new(AgentChatConnector::new(config)?, ResilientOptions::new());
    let echo = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let agent = Agent::builder(connector).card(AgentCard::new("Parrot", "Says what you said")?);
    let agent = agent.serve(echo, ServeOptions::default()).start().await?;
    for peer in agent.discover(&Query::text("parrot-")).await?.agents {
        let Some(address) = &peer.address else { continue };
        let call = agent.call(address, CallRequest::new(Body::text("hello"))).await?;
        println!("{address}: {}", call.response().await?.body().as_str().unwrap_or("no text"));
    }
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await?;
    Ok(())
}
