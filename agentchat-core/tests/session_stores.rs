//! A session beside stores that are slow, full, broken or damaged: what it said is kept is kept, what it said
//! is settled is settled, and what a store will not take is told.

#[path = "support/flaky.rs"]
mod flaky;
mod support;

use agentchat_core::Transport;
use agentchat_core::store::{CursorStore, MemoryStore, OutboxStore, StoreLimits, StoredSend};
use agentchat_core::{
    Address, Advice, BackoffPolicy, Body, CloseMode, Connector, ConversationId, Delivery, ErrorKind, Event,
    EventStream, Loopback, Outbound, Reached, Resilient, ResilientOptions, SessionState, Stores,
};
use flaky::{Flaky, Trouble};
use futures_util::{FutureExt, StreamExt};
use support::{Fate, SECOND, Scripted, next, read, session, soon};

fn options(store: &Flaky) -> ResilientOptions {
    let plain = BackoffPolicy::new().with_jitter(0.0);
    ResilientOptions::new().with_reconnect(plain).with_retry(plain).with_seed(1).with_store(store.clone())
}

/// As if the process had been killed: nothing more is done for the session.
async fn kill(all_of: impl Sized) {
    drop(all_of);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// What comes until nothing does for a minute.
async fn rest(events: &mut EventStream) -> Vec<Delivery> {
    let mut all = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(60 * SECOND, events.next()).await {
        if let Event::Message(delivery) = event.expect("no error") {
            all.push(delivery);
        }
    }
    all
}

async fn eventually<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    soon(wait).await;
}

fn texts(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str().expect("text")).collect()
}

/// A network with a scripted worker, and somebody who reads what the worker sends.
async fn network() -> (Loopback, Scripted, Address, EventStream) {
    let network = Loopback::new();
    let boss = session(network.connector("boss").expect("name"), ResilientOptions::new()).await;
    let events = read(&boss).await;
    let worker = Scripted::new(&network, "worker");
    (network, worker, boss.address().clone(), events)
}

fn note(to: &Address, text: &str) -> Outbound {
    Outbound::new(to.clone(), Body::text(text)).with_conversation(ConversationId::new("c").expect("id"))
}

/// The worker's session loses its connection, knows it, and finds no other.
async fn lose(network: &Loopback, worker: &Scripted, session: &Resilient) {
    let _events = read(session).await;
    worker.change(|script| script.unreachable = true);
    network.cut();
    eventually(async || matches!(session.state(), SessionState::BackingOff { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_without_a_connection_goes_out_after_a_restart_under_its_id_and_in_order() {
    let (network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let first = session(worker.clone(), options(&store)).await;
    lose(&network, &worker, &first).await;
    let notes: Vec<_> = (0..20).map(|number| note(&boss, &number.to_string())).collect();
    for note in &notes {
        let mut sending = first.try_send(note.clone()).expect("there is room");
        soon(sending.kept()).await.expect("kept");
        sending.detach();
    }
    kill(first).await;
    assert!(rest(&mut events).await.is_empty());
    worker.change(|script| script.unreachable = false);
    let second = session(worker, options(&store)).await;
    let came = rest(&mut events).await;
    assert_eq!(texts(&came), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    for (note, delivery) in notes.iter().zip(&came) {
        assert_eq!(delivery.client_msg_id.as_ref(), Some(&note.client_msg_id));
    }
    assert_eq!(second.stats().queued_messages, 0);
    soon(second.close(CloseMode::Detach)).await.expect("nothing is left");
    assert_eq!(store.held().await, (vec![], vec![]), "the network has everything now");
}

#[tokio::test(start_paused = true)]
async fn positions_go_on_above_everything_the_store_holds() {
    let (network, worker, boss, _events) = network().await;
    let store = Flaky::default();
    let (queued, parked) = (note(&boss, "queued"), note(&boss, "parked"));
    store.inner.save(&StoredSend::new(40, queued)).await.expect("saved");
    store.inner.save(&StoredSend::new(90, parked.clone())).await.expect("saved");
    let reason = agentchat_core::store::ParkedReason::new(
        ErrorKind::Forbidden,
        Reached::Yes,
        "send: not you",
        std::time::UNIX_EPOCH,
    );
    store.inner.park(&parked.client_msg_id, &reason).await.expect("parked");
    let session = session(worker.clone(), options(&store)).await;
    lose(&network, &worker, &session).await;
    let mut sending = session.try_send(note(&boss, "new")).expect("there is room");
    soon(sending.kept()).await.expect("kept");
    let newest = store.inner.load().await.expect("read").pop().expect("the new one");
    assert_eq!((newest.position, newest.message.body.as_str()), (91, Some("new")));
    let shown = session.parked();
    assert_eq!(shown.len(), 1);
    let error = shown[0].error.as_ref().expect("the reason");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Forbidden, "send: not you"));
    assert_eq!((shown[0].reached, &shown[0].message), (Reached::No, &parked), "this refusal stored nothing");
}

#[tokio::test(start_paused = true)]
async fn only_what_may_have_been_tried_is_uncertain_after_a_restart() {
    for dedup in [true, false] {
        let (_network, worker, boss, mut events) = network().await;
        let store = Flaky::default();
        let options = || options(&store).with_receivers_dedup(dedup);
        let first = session(worker.clone(), options()).await;
        worker.change(|script| script.sends.push_back(Fate::Hangs));
        let tried = first.try_send(note(&boss, "tried")).expect("there is room");
        eventually(async || worker.read(|script| script.sends.is_empty())).await;
        let mut behind = first.try_send(note(&boss, "behind")).expect("there is room");
        soon(behind.kept()).await.expect("kept");
        let saved = store.inner.load().await.expect("read");
        let early = u32::from(dedup);
        assert_eq!(saved.iter().map(|send| send.attempts).collect::<Vec<_>>(), [1, early]);
        kill((first, tried, behind)).await;
        let second = session(worker, options()).await;
        let came = rest(&mut events).await;
        let parked = second.parked();
        if dedup {
            assert_eq!((texts(&came), parked.len()), (vec!["tried", "behind"], 0));
            continue;
        }
        assert_eq!((texts(&came), parked.len()), (vec![], 1));
        assert_eq!((parked[0].reached, parked[0].attempts), (Reached::Unknown, 1));
        assert_eq!(store.held().await.1.len(), 1, "the store knows that it is parked");
        second.discard(&parked[0].message.client_msg_id).expect("it is parked");
        assert_eq!(texts(&rest(&mut events).await), ["behind"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_never_tried_is_sent_after_a_restart_also_where_repetitions_are_not_recognised() {
    let (network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let options = || options(&store).with_receivers_dedup(false);
    let first = session(worker.clone(), options()).await;
    lose(&network, &worker, &first).await;
    for text in ["1", "2", "3"] {
        let mut sending = first.try_send(note(&boss, text)).expect("there is room");
        soon(sending.kept()).await.expect("kept");
        sending.detach();
    }
    kill(first).await;
    worker.change(|script| script.unreachable = false);
    let _second = session(worker, options()).await;
    assert_eq!(texts(&rest(&mut events).await), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_before_it_is_kept_and_kept_tells() {
    let (_network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let session = session(worker, options(&store)).await;
    store.trouble("save", Trouble::Takes(5 * SECOND), 1);
    let mut sending = session.try_send(note(&boss, "slow")).expect("there is room");
    assert!(sending.kept().now_or_never().is_none(), "cancel-safe");
    tokio::time::sleep(4 * SECOND).await;
    assert!(events.next().now_or_never().is_none() || store.calls("save") == 1);
    assert!(sending.kept().now_or_never().is_none());
    soon(sending.kept()).await.expect("kept");
    assert_eq!(next(&mut events).await.body.as_str(), Some("slow"));
    soon(&mut sending).await.expect("sent");
    let bare = ResilientOptions::new().with_skip_own(false);
    let without = soon(Resilient::connect(Loopback::new().connector("x").expect("name"), bare)).await;
    let without = without.expect("connected");
    let mut sending = without.try_send(note(without.address(), "x")).expect("there is room");
    sending.kept().now_or_never().expect("at once").expect("there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_kept_is_told_to_its_sender_and_never_tried() {
    let (_network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let session = session(worker, options(&store)).await;
    for (trouble, times, saves) in [(Trouble::Broken, 1, 1), (Trouble::Fails, 8, 8)] {
        let before = store.calls("save");
        store.trouble("save", trouble, times);
        let mut sending = session.try_send(note(&boss, "lost")).expect("there is room");
        let error = soon(sending.kept()).await.expect_err("it is not kept");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Unexpected, Reached::No));
        let error = soon(sending).await.expect_err("the same");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unexpected, "save"));
        assert_eq!(store.calls("save") - before, saves);
    }
    store.trouble("save", Trouble::Fails, 3);
    soon(session.send(&note(&boss, "kept at last"))).await.expect("the fourth time");
    assert_eq!(texts(&rest(&mut events).await), ["kept at last"]);
    eventually(async || store.held().await.0.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_store_holds_senders_back_until_there_is_room_or_their_time_is_over() {
    let (network, worker, boss, mut events) = network().await;
    let store = Flaky::with_limits(StoreLimits::default().with_max_sends(1));
    let session = session(worker.clone(), options(&store).with_send_timeout(30 * SECOND)).await;
    lose(&network, &worker, &session).await;
    let mut first = session.try_send(note(&boss, "1")).expect("there is room");
    soon(first.kept()).await.expect("kept");
    let late = soon(session.send(&note(&boss, "late"))).await.expect_err("no room for it");
    assert_eq!((late.kind(), late.reached()), (ErrorKind::Timeout, Reached::No));
    let cause = std::error::Error::source(&late).unwrap_or_else(|| panic!("{late:?}")).to_string();
    assert!(cause.contains("full"), "{cause}");
    drop(first);
    let mut second = session.try_send(note(&boss, "2")).expect("there is room");
    soon(second.kept()).await.expect("the first was withdrawn, and left its room");
    worker.change(|script| script.unreachable = false);
    soon(second).await.expect("sent");
    assert_eq!(texts(&rest(&mut events).await), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn the_caller_is_answered_before_the_store_forgets_and_close_waits_for_it() {
    let (_network, worker, boss, _events) = network().await;
    let store = Flaky::default();
    let session = session(worker, options(&store)).await;
    store.trouble("remove", Trouble::Fails, 3);
    soon(session.send(&note(&boss, "x"))).await.expect("sent");
    assert_eq!(store.held().await.0.len(), 1, "the answer comes first");
    soon(session.close(CloseMode::Detach)).await.expect("closed");
    assert_eq!((store.calls("remove"), store.held().await.0.len()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_beside_a_store_that_does_not_follow_says_what_may_come_again() {
    let (_network, worker, boss, _events) = network().await;
    let store = Flaky::default();
    let session = session(worker, options(&store)).await;
    store.trouble("remove", Trouble::Hangs, 1);
    soon(session.send(&note(&boss, "x"))).await.expect("sent");
    let error = soon(session.close(CloseMode::Detach)).await.expect_err("it is still in the store");
    assert!(error.to_string().contains("may be sent again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_sent_stays_in_the_store_and_everybody_is_told() {
    for closes in [true, false] {
        let (network, worker, boss, mut events) = network().await;
        let store = Flaky::default();
        let first = session(worker.clone(), options(&store)).await;
        lose(&network, &worker, &first).await;
        let mut waiting = first.try_send(note(&boss, "1")).expect("there is room");
        soon(waiting.kept()).await.expect("kept");
        if closes {
            let error = soon(first.close(CloseMode::Detach)).await.expect_err("it was not sent");
            assert!(error.to_string().contains("the store keeps them"), "{error}");
            assert_eq!(error.context().collect::<Vec<_>>(), [("unsent", "1"), ("kept", "1")]);
            assert_eq!(first.parked().len(), 1, "and it can be looked at here");
        }
        kill(first).await;
        let error = soon(waiting).await.expect_err("the session has ended");
        assert!(error.to_string().contains("kept in the store"), "{error}");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Closed, Reached::Unknown), "it will be sent");
        worker.change(|script| script.unreachable = false);
        let _second = session(worker, options(&store)).await;
        assert_eq!(texts(&rest(&mut events).await), ["1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_message_is_not_sent_by_a_later_session() {
    let (network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let first = session(worker.clone(), options(&store)).await;
    lose(&network, &worker, &first).await;
    tokio::time::sleep(SECOND / 10).await;
    let mut kept = first.try_send(note(&boss, "1")).expect("there is room");
    soon(kept.kept()).await.expect("kept");
    store.trouble("save", Trouble::Takes(SECOND), 1);
    let being_kept = first.try_send(note(&boss, "2")).expect("there is room");
    tokio::time::sleep(SECOND / 2).await;
    drop((kept, being_kept));
    eventually(async || store.calls("remove") == 2 && store.held().await.0.is_empty()).await;
    kill(first).await;
    worker.change(|script| script.unreachable = false);
    let _second = session(worker, options(&store)).await;
    assert!(rest(&mut events).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn parked_messages_come_back_parked_and_hold_their_conversation() {
    let (_network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let first = session(worker.clone(), options(&store)).await;
    worker.change(|script| script.sends.push_back(Fate::Lost(ErrorKind::Forbidden, Reached::Yes)));
    store.trouble("save", Trouble::Takes(SECOND), 1);
    let (bad, good) = (note(&boss, "bad"), note(&boss, "good"));
    first.try_send(bad.clone()).expect("there is room").detach();
    let mut second = first.try_send(good.clone()).expect("there is room");
    soon(second.kept()).await.expect("kept");
    second.detach();
    let held = (vec![good.client_msg_id.to_string()], vec![bad.client_msg_id.to_string()]);
    eventually(async || store.held().await == held).await;
    kill(first).await;
    let second = session(worker, options(&store)).await;
    assert!(rest(&mut events).await.is_empty(), "the first of its conversation is parked");
    let parked = second.parked();
    assert_eq!((parked.len(), &parked[0].message), (1, &bad));
    assert!(second.resume(&bad.client_msg_id));
    assert_eq!(texts(&rest(&mut events).await), ["bad", "good"]);
    eventually(async || store.held().await == (vec![], vec![])).await;
}

#[tokio::test(start_paused = true)]
async fn a_discarded_message_leaves_the_store_and_one_for_another_network_is_parked() {
    let (_network, worker, _boss, _events) = network().await;
    let store = Flaky::default();
    let elsewhere = Outbound::new(Address::of("elsewhere", "x").expect("valid"), Body::text("?"));
    store.inner.save(&StoredSend::new(1, elsewhere.clone())).await.expect("saved");
    let session = session(worker, options(&store)).await;
    eventually(async || store.held().await.1.len() == 1).await;
    assert_eq!(session.parked()[0].error.as_ref().expect("why").kind(), ErrorKind::Invalid);
    assert_eq!(session.discard(&elsewhere.client_msg_id), Some(elsewhere));
    eventually(async || store.held().await == (vec![], vec![])).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_is_not_handed_out_after_a_restart_although_the_network_was_not_told() {
    let (network, worker, _boss, _events) = network().await;
    let store = Flaky::default();
    let first = session(worker.clone(), options(&store)).await;
    let mut inbox = read(&first).await;
    let boss = network.connector("boss-2").expect("name").connect().await.expect("connected");
    for text in ["1", "2", "3"] {
        boss.send(&note(first.address(), text)).await.expect("sent");
    }
    worker.change(|script| script.acks = [ErrorKind::Timeout; 50].into());
    let all = [next(&mut inbox).await, next(&mut inbox).await, next(&mut inbox).await];
    assert!(all.iter().all(|delivery| !delivery.redelivered));
    let tags = [all[0].tag.clone(), all[2].tag.clone()];
    soon(first.ack(&tags)).await.expect("settled");
    kill((first, inbox)).await;
    worker.change(|script| {
        assert!(script.acked.is_empty());
        (script.acks, script.forgetful) = (Default::default(), true);
    });
    let second = session(worker.clone(), options(&store)).await;
    let mut inbox = read(&second).await;
    let came = rest(&mut inbox).await;
    assert_eq!(texts(&came), ["2"]);
    assert!(came[0].redelivered, "it was in somebody's hands");
    soon(second.ack(&[came[0].tag.clone()])).await.expect("settled");
    eventually(async || worker.read(|script| script.acked.iter().flatten().count()) == 3).await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_cannot_be_kept_fails_and_is_not_made() {
    let (network, worker, _boss, _events) = network().await;
    let store = Flaky::default();
    let session = session(worker.clone(), options(&store)).await;
    let mut inbox = read(&session).await;
    let boss = network.connector("boss-2").expect("name").connect().await.expect("connected");
    boss.send(&note(session.address(), "1")).await.expect("sent");
    let tags = [next(&mut inbox).await.tag];
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        store.trouble("settle", trouble, 1);
        let error = soon(session.ack(&tags)).await.expect_err("the store did not take it");
        assert!(error.is_retryable(), "{error:?}");
        tokio::time::sleep(SECOND).await;
        assert!(worker.read(|script| script.acked.is_empty()), "the network must not know first");
    }
    soon(session.ack(&tags)).await.expect("settled");
    eventually(async || worker.read(|script| script.acked.len()) == 1).await;
    soon(session.ack(&tags)).await.expect("twice is fine");
    let foreign = agentchat_core::AckTag::new("foreign").expect("valid");
    assert_eq!(soon(session.ack(&[foreign])).await.expect_err("unknown").kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_before_that_is_noted_and_the_order_stays() {
    let (network, worker, _boss, _events) = network().await;
    let store = Flaky::default();
    worker.change(|script| script.forgetful = true);
    let first = session(worker.clone(), options(&store)).await;
    let boss = network.connector("boss-2").expect("name").connect().await.expect("connected");
    for number in 0..30 {
        boss.send(&note(first.address(), &number.to_string())).await.expect("sent");
    }
    store.trouble("hand", Trouble::Hangs, 1);
    let mut inbox = read(&first).await;
    let silent = tokio::time::timeout(20 * SECOND, inbox.next()).await;
    assert!(silent.is_err(), "handed out without a note: {silent:?}");
    kill((first, inbox)).await;
    store.mend("hand");
    store.trouble("hand", Trouble::Fails, 3);
    let second = session(worker, options(&store)).await;
    let mut inbox = read(&second).await;
    let came = rest(&mut inbox).await;
    assert_eq!(texts(&came), (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
    let fresh = came.iter().filter(|delivery| !delivery.redelivered).count();
    assert!(fresh > 0, "what nobody had in hand is new");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_note_what_is_handed_out_ends_the_subscription() {
    for (trouble, times) in [(Trouble::Broken, 1), (Trouble::Fails, 8)] {
        let (network, worker, _boss, _events) = network().await;
        let store = Flaky::default();
        let session = session(worker, options(&store)).await;
        let mut inbox = read(&session).await;
        store.trouble("hand", trouble, times);
        let boss = network.connector("boss-2").expect("name").connect().await.expect("connected");
        boss.send(&note(session.address(), "1")).await.expect("sent");
        let error = loop {
            match soon(inbox.next()).await {
                Some(Ok(Event::CaughtUp)) => {}
                Some(Err(error)) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert!(error.to_string().contains("the store could not note"), "{error}");
        assert!(soon(inbox.next()).await.is_none());
        drop(inbox);
        let mut again = read(&session).await;
        assert_eq!(next(&mut again).await.body.as_str(), Some("1"), "it comes again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_fails_the_connect_with_its_own_error() {
    for operation in ["load", "parked", "newest", "list"] {
        let store = Flaky::default();
        store.trouble(operation, Trouble::Broken, 1);
        let connector = Loopback::new().connector("worker").expect("name");
        let error = soon(Resilient::connect(connector.clone(), options(&store))).await.expect_err("damaged");
        assert_eq!((error.operation(), error.advice()), (operation, Advice::Never));
        store.trouble(operation, Trouble::Hangs, 1);
        let error = soon(Resilient::connect(connector, options(&store))).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn without_stores_no_store_is_asked_and_parts_may_be_left_out() {
    let (network, worker, boss, mut events) = network().await;
    let store = Flaky::default();
    let stores = Stores::none().with_dedup(store.clone()).with_cursors(store.clone());
    let session = session(worker, options(&store).with_stores(stores)).await;
    soon(session.send(&note(&boss, "x"))).await.expect("sent");
    assert_eq!(next(&mut events).await.body.as_str(), Some("x"));
    let mut inbox = read(&session).await;
    let sender = network.connector("boss-2").expect("name").connect().await.expect("connected");
    sender.send(&note(session.address(), "1")).await.expect("sent");
    let tag = next(&mut inbox).await.tag;
    soon(session.ack(&[tag])).await.expect("settled");
    assert_eq!((store.calls("save"), store.calls("load"), store.calls("settle")), (0, 0, 1));
    let shown = format!("{:?}", Stores::all_in(MemoryStore::new()));
    assert!(shown.contains("MemoryStore"), "{shown}");
    assert!(store.inner.list("").await.expect("read").is_empty(), "no history, so no positions");
}
