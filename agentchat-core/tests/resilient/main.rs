//! A session survives its connections: what is sent arrives once and in order, what is read is handed out
//! once, waits are polite, ends are told.

mod closing;
mod sending;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    Advice, Agent, BackoffPolicy, Body, CallRequest, CloseMode, CloseReason, Connector, ConversationId,
    Delivery, Error, ErrorKind, Event, Loopback, LoopbackFaults, Outbound, Reached, Request, Resilient,
    ResilientConnector, ResilientOptions, Result, ServeOptions, SessionState, SubscribeOptions, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use support::{SECOND, Scripted, next, read, session, soon};
use tokio::time::Instant;

/// Connects as it is told: an error for each entry, then for real.
#[derive(Debug, Clone)]
struct Moody {
    inner: Scripted,
    moods: Arc<Mutex<VecDeque<Error>>>,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Moody {
    fn new(network: &Loopback, name: &str) -> Self {
        Self { inner: Scripted::new(network, name), moods: Arc::default(), attempts: Arc::default() }
    }

    fn fail(&self, errors: impl IntoIterator<Item = Error>) {
        self.moods.lock().expect("not poisoned").extend(errors);
    }

    /// The waits before each attempt but the first.
    fn waits(&self) -> Vec<Duration> {
        let attempts = self.attempts.lock().expect("not poisoned");
        attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().expect("not poisoned").len()
    }
}

#[async_trait]
impl Connector for Moody {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        self.attempts.lock().expect("not poisoned").push(Instant::now());
        if let Some(error) = self.moods.lock().expect("not poisoned").pop_front() {
            return Err(error);
        }
        self.inner.connect().await
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Disconnected, "connect", "nobody listens").with_reached(Reached::No)
}

/// Waits without spread, so that they can be compared.
fn plain() -> BackoffPolicy {
    BackoffPolicy::new().with_jitter(0.0)
}

/// Most tests need one session only, which writes to itself.
fn options() -> ResilientOptions {
    ResilientOptions::new().with_reconnect(plain()).with_retry(plain()).with_seed(1).with_skip_own(false)
}

fn note(to: &Resilient, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text))
        .with_conversation(ConversationId::new("c").expect("id"))
}

fn of(delivery: &Delivery) -> &str {
    delivery.body.as_str().expect("text")
}

async fn until(session: &Resilient, wanted: fn(&SessionState) -> bool) -> SessionState {
    let wait = async {
        let mut state = session.state();
        while !wanted(&state) {
            state = session.state_changed(&state).await;
        }
        state
    };
    soon(wait).await
}

#[tokio::test(start_paused = true)]
async fn two_hundred_messages_through_cuts_and_losses_come_once_and_in_order() {
    for seed in 0..12 {
        let faults = LoopbackFaults::seeded(seed)
            .with_loss(0.1, 0.1)
            .with_duplicates(0.1)
            .with_cuts(0.03)
            .with_latency(SECOND / 100);
        let network = Loopback::with_faults(faults);
        let quick = options().with_reconnect(plain().with_cap(SECOND)).with_send_timeout(3600 * SECOND);
        let alice = session(network.connector("alice").expect("name"), quick.clone().with_seed(seed)).await;
        let bob = session(network.connector("bob").expect("name"), quick.with_seed(seed + 1)).await;
        let mut events = read(&bob).await;
        let to = bob.address().clone();
        let sender = tokio::spawn(async move {
            let mut dice = fastrand::Rng::with_seed(seed);
            let sends = (0..200).map(|number| {
                let conversation = ConversationId::new(format!("c{}", number % 3)).expect("id");
                let message = Outbound::new(to.clone(), Body::text(format!("{number}")));
                alice.try_send(message.with_conversation(conversation)).expect("there is room")
            });
            for sending in sends.collect::<Vec<_>>() {
                tokio::time::sleep(SECOND / 1000 * dice.u32(0..50)).await;
                sending.await.expect("accepted in the end");
            }
            alice
        });
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut seen: Vec<Vec<u32>> = vec![Vec::new(); 3];
        let mut unsettled = Vec::new();
        for _ in 0..200 {
            let delivery = next(&mut events).await;
            let number: u32 = of(&delivery).parse().expect("a number");
            seen[number as usize % 3].push(number);
            unsettled.push(delivery.tag);
            if dice.u8(0..4) == 0 {
                bob.ack(&std::mem::take(&mut unsettled)).await.expect("settled");
            }
            if dice.u8(0..40) == 0 {
                network.cut();
            }
        }
        bob.ack(&unsettled).await.expect("settled");
        let alice = soon(sender).await.expect("no panic");
        for (line, numbers) in (0..).zip(seen) {
            assert!(numbers.into_iter().eq((line..200).step_by(3)), "seed {seed}, conversation {line}");
        }
        let quiet = tokio::time::timeout(60 * SECOND, events.next()).await;
        assert!(!matches!(quiet, Ok(Some(Ok(Event::Message(_))))), "nothing comes twice: {quiet:?}");
        let stats = bob.stats();
        assert_eq!(stats.delivered, 200);
        assert_eq!(stats.received, 200 + stats.duplicates);
        assert!(stats.connects > 1 || alice.stats().connects > 1, "seed {seed} cut nothing");
        assert_eq!((alice.stats().queued_messages, alice.stats().queued_bytes), (0, 0));
        drop(events);
        soon(bob.close(CloseMode::Detach)).await.expect("closed");
        let bob = session(network.connector("bob").expect("name"), options()).await;
        let first = read(&bob).await.next().await.expect("an event").expect("no error");
        assert_eq!(first, Event::CaughtUp, "everything is settled at the network");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_grow_while_connections_are_lost_at_once_and_shrink_after_a_stable_one() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "bob");
    let bob = session(moody.clone(), options()).await;
    let _events = read(&bob).await;
    for round in 2..7 {
        network.cut();
        until(&bob, |state| matches!(state, SessionState::BackingOff { .. })).await;
        until(&bob, |state| *state == SessionState::Live).await;
        assert_eq!(bob.stats().connects, round);
    }
    let waits = moody.waits();
    assert_eq!(waits, [1, 2, 4, 8, 16].map(|factor| SECOND / 2 * factor), "each connection was lost at once");
    tokio::time::sleep(31 * SECOND).await;
    network.cut();
    let began = Instant::now();
    let backing_off = until(&bob, |state| matches!(state, SessionState::BackingOff { .. })).await;
    let SessionState::BackingOff { attempt, until: at } = backing_off else { panic!("{backing_off:?}") };
    assert_eq!((attempt, at), (1, (began + SECOND / 2).into_std()));
    until(&bob, |state| *state == SessionState::Live).await;
    assert_eq!(began.elapsed(), SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_the_network_asked_for_is_a_floor() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "bob");
    let busy =
        || Error::new(ErrorKind::RateLimited, "connect", "later").with_advice(Advice::After(20 * SECOND));
    moody.fail([busy()]);
    let bob = session(moody.clone(), options()).await;
    assert_eq!(moody.waits(), [20 * SECOND], "on the first connection");
    let _events = read(&bob).await;
    moody.fail([busy()]);
    network.cut();
    until(&bob, |state| matches!(state, SessionState::BackingOff { .. })).await;
    until(&bob, |state| *state == SessionState::Live).await;
    assert_eq!(*moody.waits().last().expect("it waited"), 20 * SECOND, "and on a later one");
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_is_told_once_and_not_repeated() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "bob");
    let revoked = || Error::new(ErrorKind::Unauthorized, "connect", "the key was revoked");
    moody.fail([revoked()]);
    let error = soon(Resilient::connect(moody.clone(), options())).await.expect_err("refused");
    assert_eq!((error.kind(), moody.attempts()), (ErrorKind::Unauthorized, 1));

    let bob = session(moody.clone(), options()).await;
    let mut events = read(&bob).await;
    assert_eq!(soon(events.next()).await.expect("an event").expect("no error"), Event::CaughtUp);
    moody.fail([revoked()]);
    network.cut();
    until(&bob, |state| matches!(state, SessionState::BackingOff { .. })).await;
    let waiting = bob.try_send(note(&bob, "x")).expect("there is room");
    let error = soon(events.next()).await.expect("a last item").expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(soon(events.next()).await.is_none(), "it is the last");
    let error = soon(waiting).await.expect_err("it cannot be sent");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Unauthorized, Reached::No));
    let SessionState::Closed(CloseReason::Failed { kind, .. }) = bob.state() else { panic!("closed") };
    assert_eq!(kind, ErrorKind::Unauthorized);
    assert_eq!(soon(bob.send(&note(&bob, "y"))).await.expect_err("closed").kind(), ErrorKind::Closed);
    let attempts = moody.attempts();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(moody.attempts(), attempts, "it is not tried again");
    let close = async || soon(bob.close(CloseMode::Detach)).await;
    let (one, two) = tokio::join!(close(), close());
    one.and(two).expect("there is nothing left to do");
    assert_eq!(close().await.expect_err("it is over").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn connecting_is_repeated_within_its_time() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "bob");
    moody.fail((0..100).map(|_| refused()));
    let began = Instant::now();
    let error = soon(Resilient::connect(moody.clone(), options())).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(moody.attempts() > 3 && began.elapsed() <= 30 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_over_a_cut_is_not_handed_out_again_and_can_be_settled() {
    let network = Loopback::new();
    let bob = session(network.connector("bob").expect("name"), options()).await;
    let bounds = SubscribeOptions::own().with_max_unsettled(2);
    let mut events = soon(bob.subscribe(bounds)).await.expect("subscribed").events;
    for text in ["1", "2", "3"] {
        soon(bob.send(&note(&bob, text))).await.expect("accepted");
    }
    let (one, two) = (next(&mut events).await, next(&mut events).await);
    for _ in 0..3 {
        network.cut();
        until(&bob, |state| matches!(state, SessionState::BackingOff { .. })).await;
        // There is no room for the third message, so the backlog is not read to its end.
        until(&bob, |state| *state == SessionState::CatchingUp).await;
    }
    let more = tokio::time::timeout(60 * SECOND, events.next()).await;
    assert!(!matches!(more, Ok(Some(Ok(Event::Message(_))))), "the bound holds: {more:?}");
    bob.ack(&[two.tag, one.tag.clone()]).await.expect("settled");
    assert_eq!(of(&next(&mut events).await), "3");
    bob.ack(&[one.tag]).await.expect("twice is fine");
    let foreign = session(network.connector("other").expect("name"), options().with_seed(9)).await;
    let mut others = read(&foreign).await;
    soon(foreign.send(&note(&foreign, "x"))).await.expect("accepted");
    let theirs = next(&mut others).await;
    assert_eq!(bob.ack(&[theirs.tag]).await.expect_err("another session's").kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn an_agent_serves_and_calls_over_sessions_that_are_cut() {
    let network = Loopback::new();
    let quick = options().with_reconnect(plain().with_cap(SECOND));
    let connector = |name| ResilientConnector::new(network.connector(name).expect("name"), quick.clone());
    let worker = soon(Agent::builder(connector("worker")).start()).await.expect("started");
    let handler = |request: Request| async move {
        tokio::time::sleep(SECOND / 10).await;
        request.progress(Body::text("half")).await?;
        tokio::time::sleep(SECOND / 10).await;
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let asker = soon(Agent::builder(connector("asker")).start()).await.expect("started");
    let cuts = tokio::spawn({
        let network = network.clone();
        async move {
            loop {
                tokio::time::sleep(SECOND / 1000 * 1_370).await;
                network.cut();
            }
        }
    });
    for number in 0..40 {
        let request = CallRequest::new(Body::text(number.to_string())).with_timeout(120 * SECOND);
        let mut call = soon(asker.call(worker.address(), request)).await.expect("sent");
        let mut replies = Vec::new();
        while let Some(reply) = soon(call.next()).await {
            replies.push(reply.expect("a reply").body().as_str().expect("text").to_owned());
        }
        assert_eq!(replies, ["half".to_owned(), number.to_string()]);
    }
    cuts.abort();
    drop(serving);
}
