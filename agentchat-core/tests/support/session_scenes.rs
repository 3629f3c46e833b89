//! Scenes of sessions, in which everything is secret.

use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, CloseMode, Connector, ConversationId, Error, ErrorKind, Event,
    Heartbeat, Loopback, LoopbackConnector, LoopbackFaults, Outbound, Query, Quota, RateLimits, Reached,
    ReplayRange, Request, Resilient, ResilientConnector, ResilientOptions, Result, ServeOptions,
    SessionEvent, SubscribeOptions, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

use crate::flaky::{Flaky, Trouble};
use crate::holey::Holey;
use crate::stage::{Stage, row};
use crate::support::peer::Peer;
use crate::support::{self, Fate, SECOND, Scripted, soon};

/// Agents talk over sessions that are cut and refused, and everything of theirs is secret.
pub(crate) async fn conversation() -> Vec<SessionEvent> {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice-inbox-to-hide");
    let session = session(scripted.clone(), ResilientOptions::new()).await;
    let events = session.events();
    let card = AgentCard::new("alice", "card-to-hide").expect("valid");
    let alice = Agent::builder(session.clone()).card(card).start().await.expect("started");
    let bob = ResilientConnector::new(connector(&network, "bob-inbox-to-hide"), ResilientOptions::new());
    let bob = Agent::builder(bob).start().await.expect("started");
    let answer = |request: Request| async move {
        request.progress(Body::text("body-to-hide")).await?;
        request.reply(Body::text("body-to-hide")).await?;
        Ok(())
    };
    let serving = bob.serve(answer, ServeOptions::default()).await.expect("served");
    alice.discover(&Query::meaning("question-to-hide")).await.expect("asked");
    alice.put_state("key-to-hide", Body::text("body-to-hide")).await.expect("put");
    alice.state_of(alice.address(), "key-to-hide").await.expect("got");
    alice.report(&Heartbeat::new("online", SECOND)).await.expect("reported");
    scripted.change(|script| script.sends = [Fate::Lost(ErrorKind::Backpressure, Reached::No)].into());
    for _ in 0..2 {
        let request = CallRequest::new(Body::text("body-to-hide"))
            .with_header("x", "header-to-hide")
            .with_conversation(secret_conversation());
        let call = alice.call(bob.address(), request).await.expect("sent");
        soon(call.response()).await.expect("answered");
        network.cut();
    }
    tokio::time::sleep(120 * SECOND).await;
    let range = ReplayRange::new(1, 10);
    session.replay(&secret_conversation(), range).await.expect_err("the loopback has no history to give");
    session.unregister().await.expect("unregistered");
    drop(serving);
    alice.close(CloseMode::Retire, SECOND).await.expect("closed");
    bob.close(CloseMode::Detach, SECOND).await.expect("closed");
    soon(events.collect()).await
}

/// Messages that are held back, refused, and given up.
pub(crate) async fn sending() -> Vec<SessionEvent> {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice-inbox-to-hide");
    let limits = RateLimits::new().with_per_agent(Quota::per_second(1));
    let session = session(scripted.clone(), ResilientOptions::new().with_rate(limits)).await;
    let events = session.events();
    let secret = || Outbound::new(session.address().clone(), Body::text("body-to-hide"));
    session.send(&secret()).await.expect("sent");
    session.send(&secret()).await.expect("sent");
    let refused = Fate::Lost(ErrorKind::Forbidden, Reached::Yes);
    scripted.change(|script| script.sends = [refused, refused].into());
    session.send(&secret()).await.expect_err("refused");
    session.try_send(secret()).expect("room").detach();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(session.parked().len(), 1);
    drop(session);
    soon(events.collect()).await
}

/// A network that loses messages, to agents and to calls.
pub(crate) async fn holes() -> Vec<SessionEvent> {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1).with_numbers());
    let holey = Holey::new(connector(&network, "carol-inbox-to-hide"));
    let session = session(holey, ResilientOptions::new()).await;
    let events = session.events();
    let carol = Agent::builder(session.clone()).start().await.expect("started");
    let serving = carol.serve(|_: Request| async { Ok(()) }, ServeOptions::default()).await.expect("served");
    let mut peer = Peer::start(&network, "peer-inbox-to-hide").await;
    for body in ["1", "found", "3", "gone", "5"] {
        let message = Outbound::new(carol.address().clone(), Body::text(body));
        peer.agent.send(&message.with_conversation(secret_conversation())).await.expect("sent");
    }
    let other = ConversationId::new("conversation-to-hide-too").expect("id");
    let request = CallRequest::new(Body::text("body-to-hide")).with_conversation(other.clone());
    let call = carol.call(peer.agent.address(), request.with_timeout(10 * SECOND)).await.expect("sent");
    let asked = peer.request().await;
    for (body, last) in [("1", false), ("gone", false), ("3", true)] {
        let mut reply = peer.reply(&asked, body, last);
        reply.conversation = Some(other.clone());
        peer.agent.send(&reply).await.expect("sent");
    }
    let error = soon(call.response()).await.expect_err("a reply is missing");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    drop((carol, session));
    soon(events.collect()).await
}

/// Acknowledgements that fail.
pub(crate) async fn acknowledging() {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "erin-inbox-to-hide");
    let session = session(scripted.clone(), ResilientOptions::new()).await;
    let note = Outbound::new(session.address().clone(), Body::text("body-to-hide"));
    session.send(&note).await.expect("sent");
    scripted.change(|script| {
        script.ack_takes = SECOND / 2;
        script.acks = vec![ErrorKind::Timeout; 2].into();
    });
    let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let Some(Ok(Event::Message(delivery))) = soon(events.next()).await else { panic!("no message") };
    session.ack(&[delivery.tag]).await.expect("settled");
    tokio::time::sleep(SECOND / 10).await;
    drop(events);
    tokio::time::sleep(10 * SECOND).await;
}

/// A session beside stores that fail.
pub(crate) async fn keeping() {
    let network = Loopback::new();
    let store = Flaky::default();
    store.trouble("remove", Trouble::Broken, 1);
    let options = ResilientOptions::new().with_store(store.clone());
    let kept = session(connector(&network, "grace-inbox-to-hide"), options.clone()).await;
    kept.send(&Outbound::new(kept.address().clone(), Body::text("body-to-hide"))).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.calls("remove"), 1);

    let stage = Stage::new().with_history();
    store.trouble("set", Trouble::Broken, 1);
    let numbered = session(stage.clone(), options).await;
    let mut events = numbered.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    stage.push([row("conversation-to-hide", 1)]);
    let Some(Ok(Event::Message(delivery))) = soon(events.next()).await else { panic!("no message") };
    numbered.ack(&[delivery.tag]).await.expect("settled");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(store.calls("set"), 1);
}

/// A session whose credentials are refused.
pub(crate) async fn ending() {
    let network = Loopback::new();
    let fickle = Fickle { inner: connector(&network, "frank-inbox-to-hide"), connects: Arc::default() };
    let session = session(fickle, ResilientOptions::new()).await;
    network.cut();
    session
        .send(&Outbound::new(session.address().clone(), Body::text("body-to-hide")))
        .await
        .expect_err("ended");
}

/// Connects once.
#[derive(Debug)]
struct Fickle {
    inner: LoopbackConnector,
    connects: Arc<Mutex<u32>>,
}

#[async_trait]
impl Connector for Fickle {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let again = std::mem::replace(&mut *self.connects.lock().expect("not poisoned"), 1);
        if again > 0 {
            return Err(Error::new(ErrorKind::Unauthorized, "connect", "the credentials were refused"));
        }
        self.inner.connect().await
    }
}

pub(super) fn connector(network: &Loopback, name: &str) -> LoopbackConnector {
    network.connector(name).expect("a valid name")
}

pub(super) async fn session(connector: impl Connector, options: ResilientOptions) -> Resilient {
    let options = options.with_seed(1).with_skip_own(false).with_call_timeout(20 * SECOND);
    soon(Resilient::connect(connector, options)).await.expect("connected")
}

pub(super) async fn start(network: &Loopback, name: &str) -> Agent {
    support::start(network, &format!("{name}-inbox-to-hide")).await
}

pub(super) fn secret_conversation() -> ConversationId {
    ConversationId::new("conversation-to-hide").expect("id")
}
