//! Agents that share a lock: one leads, the others send and wait.
#![cfg(feature = "leader-lock")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, ClientMsgId, CloseMode, ErrorKind, LeaderLock, LockState, Loopback,
    LoopbackFaults, Query, Reached, Request, Resilient, ResilientOptions, ServeOptions, SessionEvent,
};
use support::steps::{Fault, Steps};
use support::{SECOND, soon};

/// The folder of a lock, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("role-{}.lock", ClientMsgId::random())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Counts what it handled.
async fn counting(count: Arc<AtomicUsize>, request: Request) -> agentchat_core::HandlerResult {
    count.fetch_add(1, Ordering::SeqCst);
    if request.wants_reply() {
        request.reply(Body::text("done")).await?;
    }
    Ok(())
}

fn handler(count: &Arc<AtomicUsize>) -> impl agentchat_core::Handler + use<> {
    let count = Arc::clone(count);
    move |request: Request| counting(Arc::clone(&count), request)
}

async fn until(what: &str, reached: impl Fn() -> bool + Send + Sync) {
    soon(async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(reached(), "{what}");
}

fn card(name: &str) -> AgentCard {
    AgentCard::new(name, "does something").expect("valid")
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_a_follower_sends_and_calls_and_does_nothing_else() {
    let (network, place, handled) = (Loopback::new(), Place::new(), Arc::default());
    let bob = support::start(&network, "bob").await;
    let serving = bob.serve(handler(&handled), ServeOptions::default()).await.expect("served");
    let first = Steps::new(&network, "alice");
    let leader = Agent::builder(first.clone()).card(card("alice")).leader_lock(&place.0);
    let leader = leader.serve(handler(&Arc::default()), ServeOptions::default());
    let leader = leader.start().await.expect("started");
    let second = Steps::new(&network, "alice");
    let count = Arc::default();
    let follower = Agent::builder(second.clone()).card(card("alice")).leader_lock(&place.0);
    let follower = follower.serve(handler(&count), ServeOptions::default());
    let follower = follower.start().await.expect("started");
    assert_eq!((leader.role(), follower.role()), (Role::Leader, Role::Follower));
    follower.send(&support::text(&bob, "hello")).await.expect("sent");
    until("bob was not told", || handled.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(180 * SECOND).await;
    assert_eq!(second.log(), ["connect"], "a follower registered, reported, or read its inbox");
    assert!(first.log().iter().filter(|step| **step == "report").count() >= 3);
    let mut call = follower.call(bob.address(), CallRequest::new(Body::text("?"))).await.expect("called");
    let reply = soon(call.next()).await.expect("a reply").expect("fine");
    assert_eq!(reply.body().as_str(), Some("done"));
    drop((leader, serving));
}

/// The answers would come into the inbox that the leader reads.
#[tokio::test(start_paused = true)]
async fn on_a_network_of_one_inbox_a_follower_is_told_that_it_cannot_call_and_what_to_do() {
    let (network, place) = (Loopback::with_faults(LoopbackFaults::seeded(0).with_one_inbox()), Place::new());
    let (bob, count) = (support::start(&network, "bob").await, Arc::default());
    let _serving = bob.serve(handler(&count), ServeOptions::default()).await.expect("served");
    let start = async || {
        let agent = Agent::builder(network.connector("alice").expect("a name")).leader_lock(&place.0);
        agent.start().await.expect("started")
    };
    let (leader, follower) = (start().await, start().await);
    let ask = || CallRequest::new(Body::text("?")).with_timeout(30 * SECOND);
    let error = soon(follower.call(bob.address(), ask())).await.expect_err("it follows");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Conflict, Reached::No), "{error}");
    for words in ["another process leads", "wait with `Agent::lead`", "without waiting for an answer"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "the request went out");
    follower.send(&support::text(&bob, "hello")).await.expect("a follower sends");
    let answered = async |agent: &Agent| {
        let call = agent.call(bob.address(), ask()).await.expect("it leads");
        let reply = soon(call.response()).await.expect("answered");
        assert_eq!(reply.body().as_str(), Some("done"));
    };
    answered(&leader).await;
    drop(leader);
    soon(follower.lead()).await.expect("it leads");
    answered(&follower).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_closes_a_follower_does_what_a_start_does_and_loses_nothing() {
    let (network, place) = (Loopback::new(), Place::new());
    let bob = support::start(&network, "bob").await;
    let (by_leader, by_follower) = (Arc::default(), Arc::default());
    let leader = Agent::builder(network.connector("alice").expect("a name")).leader_lock(&place.0);
    let leader = leader.card(card("alice")).serve(handler(&by_leader), ServeOptions::default());
    let leader = leader.start().await.expect("started");
    let steps = Steps::new(&network, "alice");
    let follower = Agent::builder(steps.clone()).card(card("alice")).leader_lock(&place.0);
    let follower = follower.serve(handler(&by_follower), ServeOptions::default());
    let follower = follower.start().await.expect("started");
    bob.send(&support::text(&leader, "one")).await.expect("sent");
    until("the leader handles", || by_leader.load(Ordering::SeqCst) == 1).await;
    leader.close(CloseMode::Detach, SECOND).await.expect("closed");
    bob.send(&support::text(&follower, "two")).await.expect("sent");
    let began = tokio::time::Instant::now();
    soon(follower.lead()).await.expect("it leads");
    assert!(began.elapsed() <= 2 * SECOND, "it took {:?}", began.elapsed());
    assert_eq!(follower.role(), Role::Leader);
    until("the follower handles", || by_follower.load(Ordering::SeqCst) == 1).await;
    until("it reports", || steps.log().contains(&"report")).await;
    assert_eq!(steps.log()[..2], ["connect", "register"]);
    assert_eq!(LeaderLock::probe(&place.0), LockState::Held);
    assert_eq!(bob.discover(&Query::name("alice")).await.expect("asked").agents.len(), 1);
    follower.close(CloseMode::Retire, SECOND).await.expect("closed");
    assert_eq!(LeaderLock::probe(&place.0), LockState::Free, "the lock was not given back");
    assert_eq!(bob.discover(&Query::name("alice")).await.expect("asked").agents.len(), 0);
    assert_eq!(by_leader.load(Ordering::SeqCst) + by_follower.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_for_who_is_away_a_new_leader_reads_before_it_registers() {
    let (network, place) = (Loopback::new(), Place::new());
    let lock = LeaderLock::try_acquire(&place.0).expect("usable").expect("free");
    let steps = Steps::new(&network, "alice").forgetful();
    let agent = Agent::builder(steps.clone()).card(card("alice")).leader_lock(&place.0);
    let agent = agent.serve(handler(&Arc::default()), ServeOptions::default());
    let agent = agent.start().await.expect("started");
    drop(lock);
    soon(agent.lead()).await.expect("it leads");
    until("it registers", || steps.log().contains(&"report")).await;
    assert_eq!(steps.log(), ["connect", "subscribe", "register", "report"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_served_later_waits_too_and_dropping_the_leader_is_enough() {
    let (network, place, count) = (Loopback::new(), Place::new(), Arc::default());
    let start = async || {
        let agent = Agent::builder(network.connector("alice").expect("a name")).leader_lock(&place.0);
        agent.start().await.expect("started")
    };
    let (leader, follower) = (start().await, start().await);
    let bob = support::start(&network, "bob").await;
    bob.send(&support::text(&leader, "one")).await.expect("sent");
    let serving = follower.serve(handler(&count), ServeOptions::default()).await.expect("it waits");
    let again = follower.serve(handler(&count), ServeOptions::default()).await;
    assert_eq!(again.expect_err("served already").kind(), ErrorKind::Conflict);
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(count.load(Ordering::SeqCst), 0, "a follower handled a message");
    drop(leader);
    until("it handles", || count.load(Ordering::SeqCst) == 1).await;
    assert!(serving.stop(SECOND).await.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_waits_can_be_stopped_and_closed_and_leaves_the_registration_alone() {
    let (network, place) = (Loopback::new(), Place::new());
    let leader = Agent::builder(network.connector("alice").expect("a name")).leader_lock(&place.0);
    let leader = leader.card(card("alice")).start().await.expect("started");
    let steps = Steps::new(&network, "alice");
    let follower = Agent::builder(steps.clone()).card(card("alice")).leader_lock(&place.0);
    let follower = follower.start().await.expect("started");
    let serving = follower.serve(handler(&Arc::default()), ServeOptions::default()).await.expect("it waits");
    assert!(serving.stop(SECOND).await.error.is_none());
    let waiting = tokio::spawn({
        let follower = follower.clone();
        async move { follower.lead().await }
    });
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    let report = follower.close(CloseMode::Retire, 10 * SECOND).await.expect("closed");
    assert!(began.elapsed() < SECOND && report.drained && !report.unregistered);
    assert_eq!(soon(waiting).await.expect("no panic").expect_err("closed").kind(), ErrorKind::Closed);
    assert!(!steps.log().contains(&"unregister"));
    assert_eq!(leader.discover(&Query::name("alice")).await.expect("asked").agents.len(), 1);
    drop(leader);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(LeaderLock::probe(&place.0), LockState::Free, "a closed follower took over");
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_refused_ends_the_wait_with_that_error_and_another_may_lead() {
    let (network, place) = (Loopback::new(), Place::new());
    let lock = LeaderLock::try_acquire(&place.0).expect("usable").expect("free");
    let steps = Steps::new(&network, "alice").fault("register", Fault::Refused);
    let agent = Agent::builder(steps).card(card("alice")).leader_lock(&place.0);
    let agent = agent.serve(handler(&Arc::default()), ServeOptions::default());
    let agent = agent.start().await.expect("started");
    drop(lock);
    assert_eq!(soon(agent.lead()).await.expect_err("refused").kind(), ErrorKind::Forbidden);
    let served = soon(agent.served()).await.expect("it had a handler");
    assert_eq!(served.error.as_ref().map(|error| error.kind()), Some(ErrorKind::Forbidden));
    assert_eq!((agent.role(), LeaderLock::probe(&place.0)), (Role::Follower, LockState::Free));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_registers_until_it_is_answered() {
    let (network, place) = (Loopback::new(), Place::new());
    let lock = LeaderLock::try_acquire(&place.0).expect("usable").expect("free");
    let steps = Steps::new(&network, "alice").fault("register", Fault::Unanswered);
    let agent = Agent::builder(steps.clone()).card(card("alice")).leader_lock(&place.0);
    let agent = agent.start().await.expect("started");
    drop(lock);
    until("it tries", || steps.log().iter().filter(|step| **step == "register").count() > 2).await;
    assert_eq!((agent.role(), LeaderLock::probe(&place.0)), (Role::Follower, LockState::Held));
    steps.heal();
    soon(agent.lead()).await.expect("it leads");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_gives_the_lock_back_and_a_lock_that_cannot_be_used_starts_nothing() {
    let (network, place) = (Loopback::new(), Place::new());
    let steps = Steps::new(&network, "alice").fault("register", Fault::Refused);
    let failed = Agent::builder(steps).card(card("alice")).leader_lock(&place.0).start().await;
    assert_eq!(failed.expect_err("refused").kind(), ErrorKind::Forbidden);
    assert_eq!(LeaderLock::probe(&place.0), LockState::Free);
    let steps = Steps::new(&network, "alice");
    let failed = Agent::builder(steps.clone()).leader_lock(std::env::temp_dir()).start().await;
    assert_eq!(failed.expect_err("a folder").kind(), ErrorKind::Config);
    assert!(steps.log().is_empty(), "it connected");
}

#[tokio::test]
async fn without_a_network_there_is_nothing_to_lead() {
    let place = Place::new();
    let none: Option<agentchat_core::LoopbackConnector> = None;
    let agent = Agent::builder(none).leader_lock(&place.0).start().await.expect("started");
    assert_eq!((agent.role(), agent.is_enabled()), (Role::Leader, false));
    agent.lead().await.expect("at once");
    assert_ne!(LeaderLock::probe(&place.0), LockState::Held);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_session_says_which_role_its_agent_has() {
    let (network, place) = (Loopback::new(), Place::new());
    let lock = LeaderLock::try_acquire(&place.0).expect("usable").expect("free");
    let options = ResilientOptions::new().with_status_interval(10 * SECOND);
    let session = Resilient::connect(network.connector("alice").expect("a name"), options).await;
    let session = session.expect("connected");
    let mut events = session.events();
    let agent = Agent::builder(session).leader_lock(&place.0).start().await.expect("started");
    let mut next = async || loop {
        if let Some(SessionEvent::Status { role, .. }) = soon(events.next()).await {
            return role;
        }
    };
    assert_eq!(next().await, "follower");
    drop(lock);
    soon(agent.lead()).await.expect("it leads");
    assert_eq!(next().await, "leader");
}
