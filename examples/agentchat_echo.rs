//! Two agents of AgentChat find each other in its directory, call and answer.
//!
//! `cargo run --example agentchat_echo` runs it on the embedded server.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{Agent, AgentCard, Body, CallRequest, CloseMode, Query, Request, ServeOptions};
use common::agentchat::RunServer;
use common::{Args, Failure};

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    Args::parse("agentchat_echo");
    let server = RunServer::start().await?;
    let echo = Agent::builder(server.session("echo-bot")?)
        .card(AgentCard::new("Echo", "Says what you said")?)
        .serve(
            |request: Request| async move {
                let words = request.body().as_str().unwrap_or("no text").to_owned();
                request.progress(Body::text("thinking")).await?;
                request.reply(Body::text(format!("you said: {words}"))).await?;
                Ok(())
            },
            ServeOptions::default(),
        )
        .start()
        .await?;
    println!("{} serves", echo.address());

    let asker = Agent::builder(server.session("curious")?).start().await?;
    let found = asker.discover(&Query::text("echo")).await?;
    let peer = found.agents.first().ok_or("nobody's handle begins like that")?;
    let card = AgentCard::from_json(peer.card.clone())?;
    println!("found {}: {} ({})", peer.name, card.name(), card.description());
    let address = peer.address.clone().ok_or("the entry has no address")?;
    for words in ["hello", "is anybody there?"] {
        let request = CallRequest::new(Body::text(words)).with_timeout(Duration::from_secs(20));
        let mut call = asker.call(&address, request).await?;
        println!("asked: {words}");
        let mut last = None;
        while let Some(reply) = call.next().await {
            let reply = reply?;
            println!("   {}: {}", reply.seq, reply.body().as_str().unwrap_or("no text"));
            last = Some(reply);
        }
        let answer = last.filter(|reply| reply.last).ok_or("no last reply came")?;
        if answer.body().as_str() != Some(format!("you said: {words}").as_str()) {
            return Err("another answer was due".into());
        }
    }
    asker.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    let report = echo.close(CloseMode::Retire, Duration::from_secs(5)).await?;
    println!("closed: {report}");
    match report.is_clean() {
        true => Ok(()),
        false => Err("something was left".into()),
    }
}
