//! Where the answers to a call go on mq9: a mailbox of its own, for a day, for its own answers only.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::Arc;
use std::time::Duration;

use a2a::within;
use agentchat_core::{Address, Agent, Body, CallRequest, CorrelationId, Outbound, Request, ServeOptions};
use mq9_client::testing::Broker;
use mq9_client::{Client, MailAddress, Mq9Uri};
use tokio::sync::{Notify, mpsc};
use transport_mq9::Mq9Connector;

const HOUR: Duration = Duration::from_secs(3_600);

async fn start(broker: &Broker, inbox: &str) -> Agent {
    let connector = Mq9Connector::builder(broker.url()).inbox(inbox).build().expect("valid");
    Agent::builder(connector).start().await.expect("started")
}

/// Serves an agent that waits for the gate before it answers, and tells where the answers are to go.
async fn asked(agent: &Agent, gate: &Arc<Notify>) -> mpsc::UnboundedReceiver<(Address, CorrelationId)> {
    let (told, heard) = mpsc::unbounded_channel();
    let gate = Arc::clone(gate);
    let handler = move |request: Request| {
        let (told, gate) = (told.clone(), Arc::clone(&gate));
        async move {
            let delivery = request.delivery();
            let to = delivery.reply_to.clone().ok_or("no reply address")?;
            told.send((to, delivery.correlation_id.clone().ok_or("no correlation id")?))?;
            gate.notified().await;
            request.reply(Body::text("mine")).await?;
            Ok(())
        }
    };
    let agent = agent.clone();
    tokio::spawn(async move {
        agent.serve(handler, ServeOptions::default()).await.expect("served").wait().await;
    });
    heard
}

fn mailbox(address: &Address) -> MailAddress {
    address.as_str().parse::<Mq9Uri>().expect("an mq9 address").mailbox().expect("a mailbox").clone()
}

#[tokio::test]
async fn a_call_makes_a_mailbox_for_a_day_and_tells_its_address_in_the_message() {
    let broker = Broker::builder().start().await.expect("a free port");
    let (asker, coder) = (start(&broker, "asker").await, start(&broker, "coder").await);
    let gate = Arc::new(Notify::new());
    let mut heard = asked(&coder, &gate).await;
    let before = broker.host().counts().creates;
    let call = asker.call(coder.address(), CallRequest::new(Body::text("?"))).await.expect("sent");
    let (reply_to, _) = within("the request", heard.recv()).await.expect("asked");
    assert_eq!(broker.host().counts().creates, before + 1, "one mailbox was made for it");
    assert_ne!(&reply_to, asker.address(), "it is not the inbox that everybody knows");
    gate.notify_one();
    assert_eq!(within("the answer", call.response()).await.expect("answered").body().as_str(), Some("mine"));

    let looker = Client::connect(&broker.url()).await.expect("connects");
    let mailbox = mailbox(&reply_to);
    broker.host().advance(24 * HOUR - Duration::from_secs(60));
    assert!(looker.mailbox_exists(&mailbox).await.expect("asked"), "it is gone before the day is over");
    broker.host().advance(HOUR);
    assert!(!looker.mailbox_exists(&mailbox).await.expect("asked"), "it outlives the day");
}

#[tokio::test]
async fn an_answer_to_something_else_in_the_same_mailbox_is_no_answer_to_the_call() {
    let broker = Broker::builder().start().await.expect("a free port");
    let (asker, coder) = (start(&broker, "asker").await, start(&broker, "coder").await);
    let gate = Arc::new(Notify::new());
    let mut heard = asked(&coder, &gate).await;
    let mut call = asker.call(coder.address(), CallRequest::new(Body::text("?"))).await.expect("sent");
    let (reply_to, own) = within("the request", heard.recv()).await.expect("asked");
    let foreign = CorrelationId::random();
    assert_ne!(foreign, own);
    let stray = Outbound::new(reply_to, Body::text("not yours"))
        .with_correlation_id(foreign)
        .with_header(agentchat_core::agent::REPLY_SEQ, "1")
        .with_header(agentchat_core::agent::REPLY_LAST, "true");
    coder.send(&stray).await.expect("sent");
    let settled = async {
        while asker.late_replies() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the stray answer to be dropped", settled).await;
    gate.notify_one();
    let reply = within("the answer", call.next()).await.expect("open").expect("no error");
    assert_eq!((reply.body().as_str(), reply.last), (Some("mine"), true));
    assert!(within("the end", call.next()).await.is_none());
}
