//! What a session owes to a message that it took in: a repetition takes nothing away from it, and no later one
//! of its conversation goes out before its caller has heard that it failed.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "support/flaky.rs"]
mod flaky;
mod support;

use agentchat_core::store::{OutboxStore, StoredSend};
use agentchat_core::{
    Advice, BackoffPolicy, Body, ConversationId, ErrorKind, Event, EventStream, Loopback, Outbound,
    OutboxLimits, Reached, Resilient, ResilientOptions, SessionState, SubscribeOptions, Transport,
};
use flaky::{Flaky, Trouble};
use futures_util::{FutureExt, StreamExt};
use support::{Fate, SECOND, Scripted, soon};

/// A session over a scripted connection, with a store, and what comes to itself.
struct Stage {
    network: Loopback,
    script: Scripted,
    store: Flaky,
    session: Resilient,
    events: EventStream,
}

fn options() -> ResilientOptions {
    let plain = BackoffPolicy::new().with_jitter(0.0);
    ResilientOptions::new().with_reconnect(plain).with_retry(plain).with_seed(1).with_skip_own(false)
}

impl Stage {
    /// The store holds `rows`, and the first sends end as `fates`.
    async fn with(rows: &[Outbound], fates: &[Fate], options: ResilientOptions) -> Self {
        let network = Loopback::new();
        let (script, store) = (Scripted::new(&network, "me"), Flaky::default());
        for (position, row) in (0..).zip(rows) {
            store.inner.save(&StoredSend::new(position, row.clone())).await.expect("saved");
        }
        script.change(|script| script.sends.extend(fates));
        let options = options.with_store(store.clone());
        let session = soon(Resilient::connect(script.clone(), options)).await.expect("connected");
        let events = soon(session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events;
        Self { network, script, store, session, events }
    }

    /// The same without a store.
    async fn bare(fates: &[Fate], options: ResilientOptions) -> Self {
        let network = Loopback::new();
        let script = Scripted::new(&network, "me");
        script.change(|script| script.sends.extend(fates));
        let session = soon(Resilient::connect(script.clone(), options)).await.expect("connected");
        let events = soon(session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events;
        Self { network, script, store: Flaky::default(), session, events }
    }

    async fn lose(&mut self) {
        self.script.change(|script| script.unreachable = true);
        self.network.cut();
        let away = async {
            let mut state = self.session.state();
            while !matches!(state, SessionState::BackingOff { .. }) {
                state = self.session.state_changed(&state).await;
            }
        };
        soon(away).await;
    }

    fn heal(&self) {
        self.script.change(|script| script.unreachable = false);
    }

    /// The texts that come until nothing does for a minute.
    async fn rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(60 * SECOND, self.events.next()).await {
            if let Event::Message(delivery) = event.expect("no error") {
                all.push(delivery.body.as_str().expect("text").to_owned());
            }
        }
        all
    }

    /// The texts that were tried at the network.
    fn tried(&self) -> Vec<String> {
        let text = |message: &Outbound| message.body.as_str().expect("text").to_owned();
        self.script.read(|script| script.sent.iter().map(text).collect())
    }
}

/// A message to oneself, in the one conversation.
fn note(text: &str) -> Outbound {
    let to = agentchat_core::Address::parse("loopback://me").expect("valid");
    Outbound::new(to, Body::text(text)).with_conversation(ConversationId::new("c").expect("id"))
}

fn forbidden() -> Fate {
    Fate::Lost(ErrorKind::Forbidden, Reached::Yes)
}

#[tokio::test(start_paused = true)]
async fn dropping_a_repeated_send_takes_nothing_from_what_a_restart_brought_back() {
    let rows = [note("1"), note("2"), note("3")];
    let mut stage = Stage::with(&rows, &[Fate::Hangs], options()).await;
    for row in &rows[1..] {
        assert!(stage.session.send(row).now_or_never().is_none(), "it waits behind the first");
    }
    stage.lose().await;
    for row in &rows {
        let given_up = tokio::time::timeout(SECOND / 10, stage.session.send(row)).await;
        assert!(given_up.is_err(), "there is no connection");
    }
    stage.heal();
    assert_eq!(stage.rest().await, ["1", "2", "3"]);
    assert_eq!(stage.store.held().await, (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_repeated_send_takes_nothing_from_what_was_detached_or_parked() {
    let mut stage = Stage::with(&[], &[], options()).await;
    stage.store.trouble("save", Trouble::Broken, 1);
    let refused = note("never kept");
    stage.session.try_send(refused.clone()).expect("there is room").detach();
    tokio::time::sleep(SECOND).await;
    assert_eq!((stage.session.parked().len(), stage.session.parked()[0].attempts), (1, 0));
    stage.lose().await;
    let detached = note("detached");
    stage.session.try_send(detached.clone()).expect("there is room").detach();
    for repeated in [&refused, &detached] {
        assert!(stage.session.send(repeated).now_or_never().is_none());
        drop(stage.session.try_send(repeated.clone()).expect("it is in the outbox"));
    }
    stage.heal();
    assert_eq!(stage.rest().await, ["never kept", "detached"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_that_gives_up_leaves_a_detached_message_on_its_way() {
    for kept in [true, false] {
        let options = options().with_send_timeout(5 * SECOND);
        let mut stage =
            if kept { Stage::with(&[], &[], options).await } else { Stage::bare(&[], options).await };
        stage.lose().await;
        let message = note("detached");
        let mut sending = stage.session.try_send(message.clone()).expect("there is room");
        soon(sending.kept()).await.expect("kept");
        sending.detach();
        let late = soon(stage.session.send(&message)).await.expect_err("its time is over");
        assert_eq!(late.kind(), ErrorKind::Timeout);
        assert_eq!(late.reached(), Reached::Unknown, "it still goes out, so under another id it came twice");
        assert_eq!(stage.session.stats().queued_messages, 1);
        stage.heal();
        assert_eq!(stage.rest().await, ["detached"], "kept: {kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_senders_of_one_message_the_last_whose_time_is_over_takes_it_out() {
    let mut stage = Stage::bare(&[], options().with_send_timeout(5 * SECOND)).await;
    stage.lose().await;
    let message = note("late");
    let first = stage.session.try_send(message.clone()).expect("there is room");
    tokio::time::sleep(SECOND).await;
    let second = stage.session.try_send(message).expect("joined");
    let error = soon(first).await.expect_err("its time is over");
    assert_eq!((error.reached(), stage.session.stats().queued_messages), (Reached::Unknown, 1));
    let error = soon(second).await.expect_err("its time is over");
    assert_eq!((error.reached(), stage.session.stats().queued_messages), (Reached::No, 0));
    stage.heal();
    assert!(stage.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_in_behind_a_message_that_fails_is_handed_back_and_not_sent() {
    for stored in [true, false] {
        let limits = OutboxLimits::new().with_max_messages(3);
        let (options, fates) = (options().with_outbox(limits), [forbidden()]);
        let mut stage = match stored {
            true => Stage::with(&[], &fates, options).await,
            false => Stage::bare(&fates, options).await,
        };
        let [first, second, third, fourth] = ["1", "2", "3", "waits for room"].map(note);
        let a = stage.session.try_send(first.clone()).expect("there is room");
        let b = stage.session.try_send(second.clone()).expect("there is room");
        let c = stage.session.send(&third);
        let d = stage.session.send(&fourth);
        let (a, b, c, d) = soon(async { tokio::join!(a, b, c, d) }).await;
        assert_eq!(a.expect_err("forbidden").kind(), ErrorKind::Forbidden);
        for error in [b, c, d].map(|answer| answer.expect_err("it goes back")) {
            assert!(error.to_string().contains("an earlier message of its conversation"), "{error}");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Unexpected, Reached::No));
            assert_eq!(error.advice(), Advice::Backoff, "the caller may repeat it");
            assert!(
                std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("script"))
            );
        }
        assert!(stage.rest().await.is_empty());
        assert_eq!(stage.tried(), ["1"]);
        assert_eq!((stage.session.stats().queued_messages, stage.store.held().await), (0, (vec![], vec![])));
        soon(stage.session.send(&second)).await.expect("the caller knows, and says so");
        assert_eq!(stage.rest().await, ["2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn other_conversations_and_messages_without_one_go_on_when_a_message_fails() {
    let mut stage = Stage::bare(&[Fate::Hangs], options().with_call_timeout(SECOND)).await;
    let limits = [forbidden()];
    let first = stage.session.try_send(note("1")).expect("there is room");
    stage.script.change(|script| script.sends.extend([Fate::Works, Fate::Works].iter().chain(&limits)));
    let mut alone = note("alone");
    alone.conversation = None;
    let other = note("other").with_conversation(ConversationId::new("d").expect("id"));
    let (first, alone, other) =
        soon(async { tokio::join!(first, stage.session.send(&alone), stage.session.send(&other)) }).await;
    assert_eq!(first.expect_err("forbidden").kind(), ErrorKind::Forbidden);
    alone.expect("accepted");
    other.expect("accepted");
    assert_eq!(stage.rest().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_message_whose_time_is_over_is_handed_back_too() {
    let mut stage = Stage::bare(&[], options()).await;
    stage.lose().await;
    let soon_over = std::time::SystemTime::now() + 5 * SECOND;
    let first = stage.session.try_send(note("1").with_deadline(soon_over)).expect("there is room");
    let second = stage.session.try_send(note("2")).expect("there is room");
    let (first, second) = soon(async { tokio::join!(first, second) }).await;
    assert_eq!(first.expect_err("past its deadline").kind(), ErrorKind::Timeout);
    let error = second.expect_err("it goes back");
    assert!(error.to_string().contains("an earlier message of its conversation"), "{error}");
    stage.heal();
    assert!(stage.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_behind_a_message_that_got_none_in_time_is_handed_back_too() {
    let limits = OutboxLimits::new().with_max_messages(1);
    let mut stage = Stage::bare(&[Fate::Hangs], options().with_outbox(limits)).await;
    let full = note("full").with_conversation(ConversationId::new("d").expect("id"));
    let full = stage.session.try_send(full).expect("there is room");
    let soon_over = std::time::SystemTime::now() + 5 * SECOND;
    let (first, second) = (note("1").with_deadline(soon_over), note("2"));
    let sends = async { tokio::join!(full, stage.session.send(&first), stage.session.send(&second)) };
    let (full, first, second) = soon(sends).await;
    full.expect("the attempt that hung is repeated");
    assert_eq!(first.expect_err("past its deadline").kind(), ErrorKind::Timeout);
    let error = second.expect_err("it goes back");
    assert!(error.to_string().contains("an earlier message of its conversation"), "{error}");
    assert_eq!(stage.rest().await, ["full"]);
}

#[tokio::test(start_paused = true)]
async fn a_detached_message_behind_one_that_fails_waits_for_the_callers_say() {
    let mut stage = Stage::with(&[], &[forbidden()], options()).await;
    let first = stage.session.try_send(note("1")).expect("there is room");
    let second = note("2");
    stage.session.try_send(second.clone()).expect("there is room").detach();
    let third = stage.session.try_send(note("3")).expect("there is room");
    stage.session.try_send(note("4")).expect("there is room").detach();
    let repeated = stage.session.try_send(second.clone()).expect("joined");
    assert_eq!(soon(first).await.expect_err("forbidden").kind(), ErrorKind::Forbidden);
    assert_eq!(soon(third).await.expect_err("it goes back").reached(), Reached::No);
    let error = soon(repeated).await.expect_err("it is told");
    assert_eq!(error.reached(), Reached::Unknown, "it may still go out");
    assert!(stage.rest().await.is_empty());
    let parked = stage.session.parked();
    assert_eq!((parked.len(), &parked[0].message, parked[0].reached), (1, &second, Reached::No));
    let why = parked[0].error.as_ref().expect("why").to_string();
    assert!(why.contains("an earlier message of its conversation"), "{why}");
    assert_eq!(stage.store.held().await.1.len(), 1, "the store knows");
    assert!(stage.session.resume(&second.client_msg_id));
    assert_eq!(stage.rest().await, ["2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_there_is_never_room_for_is_refused_at_once_also_when_others_wait_for_room() {
    let limits = OutboxLimits::new().with_max_messages(1).with_max_bytes(4_000);
    let mut stage = Stage::bare(&[Fate::Hangs], options().with_outbox(limits)).await;
    let full = stage.session.try_send(note("full")).expect("there is room");
    let other = note("other").with_conversation(ConversationId::new("d").expect("id"));
    let large = note(&"x".repeat(5_000)).with_conversation(ConversationId::new("e").expect("id"));
    let sends = async { tokio::join!(full, stage.session.send(&other), stage.session.send(&large)) };
    let (full, other, large) = soon(sends).await;
    full.expect("the attempt that hung is repeated");
    other.expect("it got room, with nothing in its way");
    assert_eq!(large.expect_err("never").kind(), ErrorKind::TooLarge);
    assert_eq!(stage.rest().await, ["full", "other"]);
}
