//! A human on a chat network asks agent A, A asks agent B on another network, and the answer comes back to the
//! human.
//!
//! The human and A talk over AgentChat, A and B over mq9, both in memory. B never learns who the human is: what
//! travels is a token that only A can read, and it comes back with the answer.
//!
//! `cargo run --example a2a_relay`, or with `-- --broker mq9://host:4222`.

mod common;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use a2a_envelope::Origin;
use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, TurnHandle};
use agentchat_core::{Address, Agent, Body, Outbound, Request, ServeOptions};
use common::{Args, Failure, RunBroker};
use tokio::sync::mpsc;
use transport_mq9::Mq9Connector;
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

const USAGE: &str = "a2a_relay [--broker mq9://host[:port]]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let chat = AgentChatServer::builder().start().await?;
    let on_chat = |name: &str| -> Result<AgentChatConnector, Failure> {
        let key = ApiKey::new(chat.agent(name))?;
        Ok(AgentChatConnector::new(AgentChatConfig::builder(key).with_base_url(chat.base_url()).build()?)?)
    };
    let on_mq9 = |name: &str| Mq9Connector::builder(&broker.url).generated_inbox(name).build();

    // B knows the weather, and a token it cannot read.
    let b = Agent::builder(on_mq9("b")?).start().await?;
    let weather = |turn: TurnHandle| async move {
        let token = turn.origin().map_or("nobody", Origin::token).to_owned();
        println!("B:     asked {:?} on behalf of {token}", turn.request_text());
        turn.text("answer", "rain until noon").await?;
        Ok(())
    };
    let _b_serves = A2aServer::new(weather).serve(&b).await?;

    // A stands on both networks, and keeps who asked to itself.
    let a_on_chat = Agent::builder(on_chat("assistant")?).start().await?;
    let a_on_mq9 = Agent::builder(on_mq9("a")?).start().await?;
    let asked: Arc<Mutex<HashMap<String, Address>>> = Arc::default();
    let (client, chat_side, b_address) = (A2aClient::new(&a_on_mq9), a_on_chat.clone(), b.address().clone());
    let relay = move |request: Request| {
        let (client, chat_side, b) = (client.clone(), chat_side.clone(), b_address.clone());
        let asked = Arc::clone(&asked);
        async move {
            let human = request.delivery().sender.clone().ok_or("nobody to answer")?;
            let words = request.body().as_str().unwrap_or_default().to_owned();
            let token = format!("{:016x}", fastrand::u64(..));
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), human);
            println!("A:     a human asks {words:?}; B is asked under {token}");
            let question = A2aRequest::text(words).with_origin(Origin::new(token.as_str())?);
            let answer = client.ask(&b, question).await?;
            // Whom it is for is told by the answer, also in a process that did not ask.
            let token = answer.origin.as_ref().map(Origin::token).ok_or("the answer is for nobody")?;
            let human = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
            let human = human.ok_or("the token is not known")?;
            chat_side.send(&Outbound::new(human, Body::text(answer.text()))).await?;
            println!("A:     the answer is on its way to the human");
            Ok(())
        }
    };
    let _a_serves = a_on_chat.serve(relay, ServeOptions::default()).await?;

    let human = Agent::builder(on_chat("ann")?).start().await?;
    let (told, mut heard) = mpsc::channel(1);
    let screen = move |request: Request| {
        let told = told.clone();
        async move { Ok(told.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let _reads = human.serve(screen, ServeOptions::default()).await?;
    println!("human: what is the weather?");
    human.send(&Outbound::new(a_on_chat.address().clone(), Body::text("what is the weather?"))).await?;
    let answer = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await?.ok_or("no answer")?;
    println!("human: reads {answer:?}");
    if answer != "rain until noon" {
        return Err("that is not what B said".into());
    }
    Ok(())
}
