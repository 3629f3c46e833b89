//! One program over three networks: only the connector differs.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::time::Duration;

use a2a::within;
use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Connector, Loopback, Outbound, Query, Request,
    ServeOptions,
};
use mq9_client::testing::Broker;
use transport_mq9::Mq9Connector;
use transport_ws::testing::AgentChatServer;
use transport_ws::{AgentChatConfig, AgentChatConnector, ApiKey};

/// The program: it knows names and no network. Register, discover, send, call, and leave.
async fn run(scheme: &str, coder: impl Connector, asker: impl Connector) {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let words = request.body().as_str().unwrap_or_default().to_uppercase();
            if request.wants_reply() {
                request.progress(Body::text("thinking")).await?;
                request.reply(Body::text(words)).await?;
            } else {
                told.send(words)?;
            }
            Ok(())
        }
    };
    let card = AgentCard::new("coder", "Writes programs").expect("a card");
    let coder = Agent::builder(coder).card(card).serve(handler, ServeOptions::default());
    let coder = coder.start().await.expect("started");
    let asker = Agent::builder(asker).start().await.expect("started");

    let found = asker.discover(&Query::name("coder")).await.expect("asked").agents;
    let [peer] = &found[..] else { panic!("{scheme}: {} agents of that name", found.len()) };
    let address = peer.address.clone().expect("it has an inbox");
    assert!(address.as_str().starts_with(scheme), "{scheme}");

    let mut call = asker.call(&address, CallRequest::new(Body::text("hello"))).await.expect("sent");
    let mut replies = Vec::new();
    while let Some(reply) = within("a reply", call.next()).await {
        let reply = reply.expect("no error");
        replies.push((reply.body().as_str().unwrap_or_default().to_owned(), reply.last));
    }
    assert_eq!(replies, [("thinking".to_owned(), false), ("HELLO".to_owned(), true)], "{scheme}");

    asker.send(&Outbound::new(address, Body::text("bye"))).await.expect("accepted");
    assert_eq!(within("the message", heard.recv()).await.as_deref(), Some("BYE"), "{scheme}");
    for agent in [asker, coder] {
        let report = agent.close(CloseMode::Retire, Duration::from_secs(10)).await.expect("closed");
        assert!(report.drained, "{scheme}: {report}");
    }
}

#[tokio::test]
async fn the_same_program_runs_within_a_process_and_over_both_networks() {
    let network = Loopback::new();
    run(
        "loopback://",
        network.connector("coder").expect("a name"),
        network.connector("asker").expect("a name"),
    )
    .await;

    let broker = Broker::builder().start().await.expect("a free port");
    let on_mq9 = |inbox: &str| Mq9Connector::builder(broker.url()).generated_inbox(inbox).build();
    run("mq9://", on_mq9("coder").expect("valid"), on_mq9("asker").expect("valid")).await;

    let server = AgentChatServer::start().await.expect("a free port");
    let on_agentchat = |handle: &str| {
        let key = ApiKey::new(server.agent(handle)).expect("a key");
        let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build();
        AgentChatConnector::new(config.expect("valid")).expect("a connector")
    };
    run("agentchat://", on_agentchat("coder"), on_agentchat("asker")).await;
}
