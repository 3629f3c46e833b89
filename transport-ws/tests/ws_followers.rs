//! Agents that follow: they send and search by REST, and open no socket before they lead.
#![cfg(feature = "test-server")]

mod ws_support;

use std::path::PathBuf;
use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::{
    AckGuarantee, Address, Agent, Body, CallRequest, ClientMsgId, CloseMode, Connector, ErrorKind, Outbound,
    Query, Reached, Request, ResilientConnector, ResilientOptions, ServeOptions, SubscribeOptions,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use transport_ws::testing::{JournalEntry, Profile, Standing};
use ws_support::{World, backlog, message, next, read, say, within, word, words};

const BOTH: [Profile; 2] = [Profile::Current, Profile::Legacy];
const SOON: Duration = Duration::from_secs(5);

/// The file of a lock, which goes with it.
struct Lock(PathBuf);

impl Lock {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("transport-ws-{}.lock", ClientMsgId::random())))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How many upgrades to a socket there were, whoever asked for them.
fn upgrades(world: &World) -> usize {
    world.server.journal().iter().filter(|entry| matches!(entry, JournalEntry::Opened { .. })).count()
}

fn to_bob(words: &str) -> Outbound {
    Outbound::new(Address::parse("agentchat://bob").expect("valid"), Body::text(words))
}

/// An agent `bob` under `lock` that tells what it handles.
async fn bob(connector: impl Connector, lock: &Lock, told: &UnboundedSender<String>) -> Agent {
    let told = told.clone();
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let _ = told.send(request.body().as_str().unwrap_or_default().to_owned());
            Ok(())
        }
    };
    let agent = Agent::builder(connector).leader_lock(&lock.0).serve(handler, ServeOptions::default());
    within(agent.start()).await.expect("started")
}

async fn handled(told: &mut UnboundedReceiver<String>) -> String {
    within(told.recv()).await.expect("handled")
}

/// The way through a takeover, over connectors that `made` makes.
async fn takes_over<C: Connector>(profile: Profile, made: impl Fn(&World) -> C) {
    let world = World::of(profile).await;
    let (alice, lock) = (world.attach("alice").await, Lock::new());
    let mut inbox = read(&alice).await;
    assert_eq!(backlog(&mut inbox).await.len(), 0);
    let ((by_leader, mut leads), (by_follower, mut follows)) = (unbounded_channel(), unbounded_channel());
    let leader = bob(made(&world), &lock, &by_leader).await;
    let before = upgrades(&world);
    let follower = bob(made(&world), &lock, &by_follower).await;
    assert_eq!((leader.role(), follower.role()), (Role::Leader, Role::Follower));
    // It sends and searches.
    within(follower.send(&Outbound::new(alice.address().clone(), Body::text("hello")))).await.expect("sent");
    assert_eq!(word(&message(&mut inbox).await), "hello");
    let found = within(follower.discover(&Query::name("alice"))).await.expect("found");
    assert_eq!(found.agents.len(), 1);
    let request = CallRequest::new(Body::text("?"));
    let error = within(follower.call(alice.address(), request)).await.expect_err("it follows");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Conflict, Reached::No), "{error}");
    // What comes meanwhile is the leader's.
    for words in ["one", "two"] {
        within(alice.send(&to_bob(words))).await.expect("accepted");
        assert_eq!(handled(&mut leads).await, words);
    }
    within(world.server.until_stored("bob", 0)).await;
    assert_eq!(upgrades(&world), before, "a follower opened a socket: {profile:?}");
    within(leader.close(CloseMode::Detach, SOON)).await.expect("closed");
    // The inbox waits for nobody to be attached, and the lock is free behind that.
    within(alice.send(&to_bob("waited"))).await.expect("accepted");
    within(follower.lead()).await.expect("it leads");
    assert_eq!(handled(&mut follows).await, "waited", "{profile:?}");
    within(alice.send(&to_bob("live"))).await.expect("accepted");
    assert_eq!(handled(&mut follows).await, "live", "{profile:?}");
    assert_eq!(upgrades(&world), before + 1, "{profile:?}");
    let comes_again = follower.capabilities().ack == AckGuarantee::Redelivers;
    assert_eq!(comes_again, profile == Profile::Current, "what the server does is known by now");
    within(follower.close(CloseMode::Detach, SOON)).await.expect("closed");
    assert!(leads.try_recv().is_err() && follows.try_recv().is_err(), "each once: {profile:?}");
}

#[tokio::test]
async fn an_agent_that_follows_opens_no_socket_until_it_leads_and_then_reads_what_waited() {
    for profile in BOTH {
        takes_over(profile, |world| world.connector("bob")).await;
    }
}

#[tokio::test]
async fn neither_does_one_in_a_session_or_behind_an_option() {
    for profile in BOTH {
        let session =
            |world: &World| Some(ResilientConnector::new(world.connector("bob"), ResilientOptions::new()));
        takes_over(profile, session).await;
    }
}

#[tokio::test]
async fn a_session_that_leads_by_now_connects_again_with_a_socket() {
    let (world, lock) = (World::new().await, Lock::new());
    let alice = world.attach("alice").await;
    let (told, mut handling) = unbounded_channel();
    let session = || ResilientConnector::new(world.connector("bob"), ResilientOptions::new());
    let leader = bob(session(), &lock, &unbounded_channel().0).await;
    let follower = bob(session(), &lock, &told).await;
    drop(leader);
    within(follower.lead()).await.expect("it leads");
    within(alice.send(&to_bob("one"))).await.expect("accepted");
    assert_eq!(handled(&mut handling).await, "one");
    world.server.kick("bob", 1001, "Server shutting down");
    within(alice.send(&to_bob("two"))).await.expect("accepted");
    assert_eq!(handled(&mut handling).await, "two");
    within(follower.close(CloseMode::Detach, SOON)).await.expect("closed");
}

#[tokio::test]
async fn a_followers_attachment_has_each_verb_and_ends_when_it_is_closed() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let alice = world.attach("alice").await;
        let before = upgrades(&world);
        let connector = world.connector("bob");
        let bob = within(connector.connect_for(Role::Follower)).await.expect("attached");
        let promised = bob.capabilities().ack;
        assert_eq!(promised, AckGuarantee::None, "the lesser promise, before anybody knows");
        let receipt = within(bob.send(&Outbound::new(alice.address().clone(), Body::text("a")))).await;
        receipt.expect("accepted");
        bob.ack(&[]).await.expect("nothing");
        assert_eq!(upgrades(&world), before);
        say(&alice, &bob, "waits").await;
        let mut events = read(&bob).await;
        let found = backlog(&mut events).await;
        assert_eq!(words(&found), ["waits"]);
        bob.ack(&[found[0].tag.clone()]).await.expect("settled");
        within(world.server.until_stored("bob", 0)).await;
        assert_eq!(upgrades(&world), before + 1);
        let conversation = found[0].conversation.clone().expect("a conversation");
        let rows = within(bob.replay(&conversation, agentchat_core::ReplayRange::new(1, 10))).await;
        assert_eq!(words(&rows.expect("history")), ["a", "waits"]);
        say(&alice, &bob, "live").await;
        let agentchat_core::Event::Message(live) = next(&mut events).await else { panic!("a message") };
        bob.ack(&[live.tag]).await.expect("settled");
        let redelivers = profile == Profile::Current;
        assert_eq!(bob.capabilities().ack == AckGuarantee::Redelivers, redelivers);
        // What a connector has learned it says from then on.
        let again = within(connector.connect_for(Role::Follower)).await.expect("attached");
        assert_eq!(again.capabilities().ack, bob.capabilities().ack);
        for closed in [&bob, &again] {
            let close = async || within(closed.close(CloseMode::Detach)).await;
            let (one, two) = tokio::join!(close(), close());
            one.and(two).expect("closed");
            assert_eq!(close().await.expect_err("it is over").kind(), ErrorKind::Closed);
            assert_eq!(closed.send(&to_bob("x")).await.expect_err("closed").kind(), ErrorKind::Closed);
            let reading = closed.subscribe(SubscribeOptions::own()).await;
            assert_eq!(reading.expect_err("closed").kind(), ErrorKind::Closed);
        }
        assert_eq!(upgrades(&world), before + 1);
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_refused_to_a_follower_too() {
    let world = World::new().await;
    let connector = world.connector("bob");
    within(connector.connect_for(Role::Follower)).await.expect("attached");
    world.server.set_status("bob", Standing::Deleted);
    let error = within(connector.connect_for(Role::Follower)).await.expect_err("the key is no good");
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::Unauthorized, true), "{error:?}");
}
