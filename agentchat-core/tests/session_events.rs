//! What a session tells its listeners, and how its rate limits show.

mod support;

use std::time::Duration;

use agentchat_core::{
    BackoffPolicy, Body, CloseMode, ConversationId, ErrorKind, Loopback, Outbound, Quota, RateLimits,
    RateScope, Reached, Resilient, ResilientOptions, SessionEvent, SessionEvents, StateEvent,
    SubscribeOptions, Transport,
};
use futures_util::{FutureExt, StreamExt};
use support::{Fate, SECOND, Scripted, soon};
use tokio::time::Instant;

async fn session(network: &Loopback, options: ResilientOptions) -> Resilient {
    let plain = BackoffPolicy::new().with_jitter(0.0);
    let options = options.with_skip_own(false).with_reconnect(plain).with_retry(plain);
    soon(Resilient::connect(network.connector("alice").expect("name"), options)).await.expect("connected")
}

fn note(to: &Resilient, conversation: Option<&str>) -> Outbound {
    let mut note = Outbound::new(to.address().clone(), Body::text("x"));
    note.conversation = conversation.map(|name| ConversationId::new(name).expect("id"));
    note
}

fn so_far(events: &mut SessionEvents) -> Vec<String> {
    let events = std::iter::from_fn(|| events.next().now_or_never().flatten());
    events.map(|event| serde_json::to_string(&event).expect("JSON")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_told_from_its_loss_to_the_next_one_and_the_end_is_last() {
    let network = Loopback::new();
    let session = session(&network, ResilientOptions::new()).await;
    let _inbox = session.subscribe(SubscribeOptions::own()).await.expect("subscribed");
    let mut events = session.events();
    network.cut();
    let note = note(&session, None);
    session.send(&note).await.expect("sent");
    tokio::time::sleep(SECOND).await;
    // The send meets the cut itself or comes after it was heard of.
    let mut told = so_far(&mut events);
    told.retain(|event| !event.contains("send_retried"));
    assert_eq!(
        told,
        [
            r#"{"event":"state","state":"live"}"#,
            r#"{"event":"lost","kind":"disconnected","reached":"unknown","attempted":false}"#,
            r#"{"event":"state","state":"backing_off","attempt":1,"wait_ms":500}"#,
            r#"{"event":"state","state":"connecting"}"#,
            r#"{"event":"connected","count":2}"#,
            r#"{"event":"state","state":"catching_up"}"#,
            r#"{"event":"state","state":"live"}"#,
        ]
    );
    session.close(CloseMode::Detach).await.expect("closed");
    let end = [
        r#"{"event":"state","state":"draining"}"#,
        r#"{"event":"state","state":"closed","reason":"requested"}"#,
    ];
    assert_eq!(so_far(&mut events), end);
    assert_eq!(soon(events.next()).await, None);
    assert_eq!(so_far(&mut session.events()), end[1..]);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_and_given_up_messages_are_told_with_their_ids() {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice");
    let lost = |kind, reached| Fate::Lost(kind, reached);
    scripted.change(|script| {
        script.sends = [
            lost(ErrorKind::Backpressure, Reached::No),
            lost(ErrorKind::Forbidden, Reached::Yes),
            lost(ErrorKind::NotFound, Reached::Yes),
        ]
        .into();
    });
    let plain = BackoffPolicy::new().with_jitter(0.0);
    let session =
        soon(Resilient::connect(scripted, ResilientOptions::new().with_skip_own(false).with_retry(plain)))
            .await;
    let session = session.expect("connected");
    let mut events = session.events();
    let (first, second) = (note(&session, None), note(&session, None));
    session.send(&first).await.expect_err("forbidden");
    session.try_send(second.clone()).expect("room").detach();
    tokio::time::sleep(SECOND).await;
    let (first, second) = (first.client_msg_id, second.client_msg_id);
    assert_eq!(
        so_far(&mut events)[1..],
        [
            format!(
                r#"{{"event":"send_retried","client_msg_id":"{first}","attempt":1,"kind":"backpressure","reached":"no","wait_ms":500}}"#
            ),
            format!(
                r#"{{"event":"send_given_up","client_msg_id":"{first}","attempts":2,"kind":"forbidden","reached":"yes"}}"#
            ),
            format!(
                r#"{{"event":"send_parked","client_msg_id":"{second}","attempts":1,"kind":"not_found","reached":"yes"}}"#
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_status_comes_each_interval_with_the_counts_of_then() {
    let network = Loopback::new();
    let options = ResilientOptions::new().with_status_interval(10 * SECOND).with_role("follower");
    let session = session(&network, options).await;
    let mut inbox = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let events = session.events();
    for _ in 0..3 {
        session.send(&note(&session, None)).await.expect("sent");
    }
    for _ in 0..2 {
        soon(inbox.next()).await.expect("goes on").expect("a message");
    }
    tokio::time::sleep(35 * SECOND).await;
    drop((session, inbox));
    let told: Vec<_> = events.collect::<Vec<_>>().await;
    let status: Vec<_> = told.iter().filter(|event| matches!(event, SessionEvent::Status { .. })).collect();
    assert_eq!(status.len(), 3);
    let SessionEvent::Status { connected: true, role, received: 3, queued: 0, pending: 3, .. } = status[2]
    else {
        panic!("{:?}", status[2])
    };
    assert_eq!(role, "follower");
}

#[tokio::test(start_paused = true)]
async fn no_status_comes_when_its_interval_is_zero() {
    let network = Loopback::new();
    let session = session(&network, ResilientOptions::new().with_status_interval(Duration::ZERO)).await;
    let mut events = session.events();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(so_far(&mut events).len(), 1, "how it stands, and nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_session_sends_as_fast_as_its_quota_allows_in_order_and_drops_nothing() {
    let network = Loopback::new();
    let limits = RateLimits::new().with_per_agent(Quota::per_second(10).with_burst(5));
    let session = session(&network, ResilientOptions::new().with_rate(limits)).await;
    let mut events = session.events();
    let begun = Instant::now();
    let sends: Vec<_> = (0..25).map(|_| session.try_send(note(&session, Some("c"))).expect("room")).collect();
    let mut at = Vec::new();
    for sending in sends {
        soon(sending).await.expect("sent");
        at.push(begun.elapsed());
    }
    // The clock of the runtime ticks in milliseconds, each permit comes within the next.
    for (number, at) in at.iter().enumerate() {
        let due = number.saturating_sub(4) as u32 * SECOND / 10;
        assert!(*at >= due && *at < due + SECOND / 50, "number {number} went at {at:?}");
    }
    let told = so_far(&mut events);
    let limited = told.iter().filter(|line| line.contains(r#""rate_limited","scope":"agent","wait_ms":"#));
    assert_eq!(limited.count(), 20);
}

#[tokio::test(start_paused = true)]
async fn conversations_that_have_no_permit_hold_up_no_others() {
    let network = Loopback::new();
    let limits = RateLimits::new().with_per_conversation(Quota::per_minute(1));
    let session = session(&network, ResilientOptions::new().with_rate(limits)).await;
    let events = session.events();
    let begun = Instant::now();
    let sends = ["a", "a", "b", "c"].map(|name| session.try_send(note(&session, Some(name))).expect("room"));
    let [first, second, third, fourth] = sends;
    for quick in [first, third, fourth] {
        soon(quick).await.expect("sent");
    }
    soon(session.send(&note(&session, None))).await.expect("under no quota");
    assert!(begun.elapsed() < SECOND);
    soon(second).await.expect("sent");
    assert!(begun.elapsed() >= 60 * SECOND && begun.elapsed() < 61 * SECOND);
    drop(session);
    let told: Vec<_> = events.collect().await;
    let limited = |event: &SessionEvent| matches!(event, SessionEvent::RateLimited { scope: RateScope::Conversation, wait_ms, .. } if *wait_ms > 59_000);
    assert_eq!(told.iter().filter(|event| limited(event)).count(), 1);
    assert!(matches!(told.last(), Some(SessionEvent::State(StateEvent::Closed { .. }))));
}

#[tokio::test(start_paused = true)]
async fn quotas_that_let_nothing_through_are_refused_at_once() {
    let network = Loopback::new();
    let limits = RateLimits::new().with_per_conversation(Quota::per_second(0));
    let options = ResilientOptions::new().with_rate(limits);
    let refused = Resilient::connect(network.connector("alice").expect("name"), options).await;
    let error = refused.expect_err("nothing could be sent");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`rate.per_conversation`: `messages`"), "{error}");
}
