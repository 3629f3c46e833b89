//! What every store must do, as plain functions over the traits. Each takes a store that is empty.
//!
//! A case panics when its promise is broken. Cases that need to know a bound take it as an argument. A
//! durable store also runs the pair `*_before_a_restart` / `*_after_a_restart`: the first on a store, the
//! second on the same one opened again. The names follow semantic versioning; adding a case is a minor
//! change.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

use super::{Cursor, CursorStore, DedupStore, OutboxStore, ParkedReason, StoredSend};
use crate::address::Address;
use crate::error::{Advice, ErrorKind, Reached};
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Outbound, Priority};

/// Every part of a message comes back as it was saved, bytes that are no text included.
pub async fn outbox_keeps_every_part_of_a_message(store: &dyn OutboxStore) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let to = Address::parse("mq9://broker.example:4222/inbox.1").expect("valid");
    let whole = Outbound::new(to, Body::binary(every_byte))
        .with_conversation(ConversationId::new("conversation-1").expect("valid"))
        .with_correlation_id(CorrelationId::new("call-1").expect("valid"))
        .with_reply_to(Address::parse("mq9s://broker.example/answers").expect("valid"))
        .with_header("Zulu", "größe \"1\"")
        .with_header("alpha", "")
        .with_priority(Priority::Critical)
        .with_ttl(Duration::new(60, 1))
        .with_delay(Duration::from_millis(1))
        .with_key("state/\u{1}")
        .with_tag("second")
        .with_tag("first")
        .with_deadline(UNIX_EPOCH + Duration::new(4_102_444_800, 123_456_789));
    let sends = [StoredSend::new(1, whole).with_attempts(7), message("bare", 2)];
    for send in &sends {
        store.save(send).await.expect("saved");
    }
    let loaded = store.load().await.expect("loaded");
    assert_eq!(loaded, sends);
    assert_eq!(loaded[0].message.fingerprint(), sends[0].message.fingerprint());
}

/// The outbox comes back by position, and equal positions in the order of their first saves.
pub async fn outbox_keeps_its_order(store: &dyn OutboxStore) {
    for (id, position) in [("c", 3), ("a", 1), ("x", 2), ("b", 2), ("d", u64::MAX)] {
        store.save(&message(id, position)).await.expect("saved");
    }
    store.save(&message("x", 2).with_attempts(1)).await.expect("saved again");
    assert_eq!(waiting(store).await, ["a", "x", "b", "c", "d"]);
}

/// Saving an id again replaces what is known of its attempts; another content is refused and changes
/// nothing.
pub async fn outbox_knows_one_content_per_id(store: &dyn OutboxStore) {
    let first = message("m", 1);
    store.save(&first).await.expect("saved");
    let again = first.clone().with_attempts(2);
    store.save(&again).await.expect("saved again");
    let mut other = first;
    other.message.body = Body::text("something else");
    let error = store.save(&other).await.expect_err("another content");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Conflict, Reached::No));
    assert_eq!(store.load().await.expect("loaded"), [again]);
}

/// A removed message is gone, parked or not, and removing it again does nothing.
pub async fn outbox_forgets_what_is_removed(store: &dyn OutboxStore) {
    for id in ["a", "b", "c"] {
        store.save(&message(id, 1)).await.expect("saved");
    }
    store.park(&id("b"), &reason()).await.expect("parked");
    for gone in ["a", "b", "a", "never-there"] {
        store.remove(&id(gone)).await.expect("removed");
    }
    assert_eq!(waiting(store).await, ["c"]);
    assert_eq!(parked(store).await, Vec::<String>::new());
    store.save(&message("a", 0)).await.expect("its id is free again");
    assert_eq!(waiting(store).await, ["a", "c"]);
}

/// A parked message leaves the outbox with its reason, and returns to its place.
pub async fn outbox_parks_and_returns(store: &dyn OutboxStore) {
    let sends = [message("a", 1), message("b", 2).with_attempts(4), message("c", 3)];
    for send in &sends {
        store.save(send).await.expect("saved");
    }
    store.park(&id("c"), &reason()).await.expect("parked");
    store
        .park(&id("b"), &ParkedReason::new(ErrorKind::Timeout, Reached::No, "", UNIX_EPOCH))
        .await
        .expect("parked");
    store.park(&id("b"), &reason()).await.expect("the reason is replaced");
    assert_eq!(waiting(store).await, ["a"]);
    let letters = store.parked().await.expect("read");
    assert_eq!(letters.iter().map(|letter| &letter.send).collect::<Vec<_>>(), [&sends[1], &sends[2]]);
    assert!(letters.iter().all(|letter| letter.reason == reason()), "{letters:?}");

    assert_eq!(store.unpark(&id("b")).await.expect("returned").as_ref(), Some(&sends[1]));
    assert_eq!(store.unpark(&id("b")).await.expect("as before").as_ref(), Some(&sends[1]));
    assert_eq!(store.unpark(&id("never-there")).await.expect("nothing"), None);
    assert_eq!(waiting(store).await, ["a", "b"]);
    store.save(&sends[2]).await.expect("saving a parked message returns it");
    assert_eq!(store.load().await.expect("loaded"), sends);
    assert_eq!(parked(store).await, Vec::<String>::new());

    let error = store.park(&id("never-there"), &reason()).await.expect_err("nothing to park");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::NotFound, Reached::No));
}

/// A store for `max_sends` messages refuses a further one, drops none, and can still save again, park
/// and return those it has.
pub async fn outbox_refuses_what_exceeds_its_count(store: &dyn OutboxStore, max_sends: usize) {
    let ids: Vec<_> = (0..max_sends).map(|n| format!("m-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        store.save(&message(id, n as u64)).await.expect("there is room");
    }
    store.park(&id(&ids[0]), &reason()).await.expect("parking needs no room");
    let error = store.save(&message("one-more", 0)).await.expect_err("full");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Backpressure, Advice::Backoff));
    store.save(&message(&ids[1], 1).with_attempts(9)).await.expect("it has its room");
    store.unpark(&id(&ids[0])).await.expect("returning needs no room");
    assert_eq!(waiting(store).await, ids);
    store.remove(&id(&ids[0])).await.expect("removed");
    store.save(&message("one-more", u64::MAX)).await.expect("there is room again");
}

/// A store for `max_bytes` of messages refuses what would exceed them, and counts what was removed as
/// free.
pub async fn outbox_refuses_what_exceeds_its_bytes(store: &dyn OutboxStore, max_bytes: u64) {
    let sized = |id: &str| {
        let mut send = message(id, 1);
        let bare = StoredSend::size(&send) - send.message.body.bytes.len() as u64;
        let half = usize::try_from(max_bytes / 2 - bare).expect("a small bound");
        send.message.body = Body::new("text/plain", vec![b'x'; half]);
        send
    };
    for round in 0..3 {
        store.save(&sized("a")).await.expect("half of it");
        store.save(&sized("b")).await.expect("the other half");
        store.save(&sized("b").with_attempts(round)).await.expect("no more than before");
        let error = store.save(&message("c", 1)).await.expect_err("full");
        assert_eq!(error.kind(), ErrorKind::Backpressure);
        store.park(&id("a"), &reason()).await.expect("parked");
        assert!(store.save(&message("c", 1)).await.is_err(), "a parked message takes its room");
        for gone in ["a", "b"] {
            store.remove(&id(gone)).await.expect("removed");
        }
    }
    assert_eq!(waiting(store).await, Vec::<String>::new());
}

/// Saves at the same time are all kept, and so is every answer.
pub async fn outbox_takes_many_at_once(store: &dyn OutboxStore) {
    let sends: Vec<_> = (0..200).map(|n| message(&format!("m-{n}"), n)).collect();
    let saved = join_all(sends.iter().map(|send| store.save(send))).await;
    assert!(saved.iter().all(Result::is_ok), "{saved:?}");
    assert_eq!(store.load().await.expect("loaded"), sends);
    let (even, odd): (Vec<_>, Vec<_>) = sends.iter().partition(|send| send.position % 2 == 0);
    let removed = join_all(odd.iter().map(|send| store.remove(send.id()))).await;
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    assert_eq!(store.load().await.expect("loaded").iter().collect::<Vec<_>>(), even);
}

/// Fills an outbox for [`outbox_after_a_restart`].
pub async fn outbox_before_a_restart(store: &dyn OutboxStore) {
    for (id, position) in [("b", 2), ("a", 1), ("parked", 3), ("gone", 4), ("same", 2)] {
        store.save(&message(id, position).with_attempts(5)).await.expect("saved");
    }
    store.park(&id("parked"), &reason()).await.expect("parked");
    store.remove(&id("gone")).await.expect("removed");
}

/// Everything that [`outbox_before_a_restart`] did is there, and the numbering goes on.
pub async fn outbox_after_a_restart(store: &dyn OutboxStore) {
    let loaded = store.load().await.expect("loaded");
    let expected = [("a", 1), ("b", 2), ("same", 2)].map(|(id, at)| message(id, at).with_attempts(5));
    assert_eq!(loaded, expected);
    let letters = store.parked().await.expect("read");
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].send, &letters[0].reason), (&message("parked", 3).with_attempts(5), &reason()));
    store.save(&message("later", 2)).await.expect("saved");
    assert_eq!(waiting(store).await, ["a", "b", "same", "later"]);
}

/// A cursor is the last one set, each key has its own, and a cleared one is gone.
pub async fn cursors_are_the_last_ones_set(store: &dyn CursorStore) {
    assert_eq!(store.get("inbox").await.expect("read"), None);
    store.set("inbox", &Cursor::new("1")).await.expect("set");
    store.set("inbox/", &Cursor::new(vec![0, 255])).await.expect("set");
    store.set("inbox", &Cursor::new("")).await.expect("set");
    assert_eq!(store.get("inbox").await.expect("read"), Some(Cursor::new("")));
    assert_eq!(store.get("inbox/").await.expect("read"), Some(Cursor::new(vec![0, 255])));
    store.clear("inbox").await.expect("cleared");
    store.clear("inbox").await.expect("nothing to clear");
    assert_eq!(store.get("inbox").await.expect("read"), None);
    assert_eq!(store.get("inbox/").await.expect("read"), Some(Cursor::new(vec![0, 255])));
}

/// Cursors are listed by the beginning of their keys, in the order of the keys.
pub async fn cursors_are_listed_by_prefix(store: &dyn CursorStore) {
    for key in ["b/2", "a", "b/10", "b", "c", "b/ü", "b0"] {
        store.set(key, &Cursor::new(key.to_owned())).await.expect("set");
    }
    store.clear("b/2").await.expect("cleared");
    for (prefix, expected) in
        [("b/", vec!["b/10", "b/ü"]), ("", vec!["a", "b", "b/10", "b/ü", "b0", "c"]), ("d", vec![])]
    {
        let listed = store.list(prefix).await.expect("read");
        assert!(listed.iter().all(|(key, cursor)| *cursor == Cursor::new(key.clone())), "{listed:?}");
        assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), expected);
    }
}

/// Keys and cursors outside the rule are refused, without repeating them.
pub async fn cursors_outside_the_rule_are_refused(store: &dyn CursorStore) {
    let long = "secret".repeat(200);
    for (key, cursor, kind) in [
        ("", Cursor::new("1"), ErrorKind::Invalid),
        (long.as_str(), Cursor::new("1"), ErrorKind::Invalid),
        ("key", Cursor::new(vec![1; 64 * 1024 + 1]), ErrorKind::TooLarge),
    ] {
        let error = store.set(key, &cursor).await.expect_err("refused");
        assert_eq!((error.kind(), error.advice()), (kind, Advice::Never));
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(store.get(key).await.expect("read"), None);
    }
    store.set("key", &Cursor::new(vec![1; 64 * 1024])).await.expect("the largest");
}

/// A store for `max_cursors` refuses a further key and keeps those it has up to date.
pub async fn cursors_are_bounded(store: &dyn CursorStore, max_cursors: usize) {
    for n in 0..max_cursors {
        store.set(&format!("key-{n}"), &Cursor::new("1")).await.expect("there is room");
    }
    let error = store.set("one-more", &Cursor::new("1")).await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Backpressure);
    store.set("key-0", &Cursor::new("2")).await.expect("it has its room");
    assert_eq!(store.get("key-0").await.expect("read"), Some(Cursor::new("2")));
    store.clear("key-0").await.expect("cleared");
    store.set("one-more", &Cursor::new("1")).await.expect("there is room again");
}

/// Settled ids are known, and come back in the order in which to fill a window.
pub async fn settled_ids_are_known_and_ordered(store: &dyn DedupStore) {
    for (id, at) in [("b", 20), ("a", 10), ("d", 30), ("c", 20)] {
        store.insert(id, moment(at)).await.expect("kept");
    }
    assert!(store.contains("a").await.expect("read"));
    assert!(!store.contains("A").await.expect("read"));
    assert_eq!(newest(store, 10).await, ["a", "b", "c", "d"]);
    assert_eq!(newest(store, 2).await, ["c", "d"]);
    assert_eq!(newest(store, 0).await, Vec::<String>::new());
    let read = store.newest(1).await.expect("read");
    assert_eq!((read[0].id.as_str(), read[0].settled_at), ("d", moment(30)));
    store.insert("e", moment(31) + Duration::from_nanos(999_999)).await.expect("kept");
    assert_eq!(store.newest(1).await.expect("read")[0].settled_at, moment(31));
}

/// Of two times for one id the later counts.
pub async fn settled_ids_keep_their_latest_time(store: &dyn DedupStore) {
    for (id, at) in [("a", 10), ("b", 20), ("a", 30), ("b", 5), ("b", 20)] {
        store.insert(id, moment(at)).await.expect("kept");
    }
    store.forget_older_than(moment(20)).await.expect("forgotten");
    assert_eq!(newest(store, 10).await, ["b", "a"]);
    store.forget_older_than(moment(30)).await.expect("forgotten");
    assert_eq!(newest(store, 10).await, ["a"]);
    assert!(!store.contains("b").await.expect("read"));
    store.forget_older_than(moment(31)).await.expect("forgotten");
    assert!(!store.contains("a").await.expect("read"));
}

/// A store for `max_settled` ids forgets the oldest by time, never a newer one.
pub async fn settled_ids_are_bounded_by_count(store: &dyn DedupStore, max_settled: usize) {
    let ids: Vec<_> = (0..max_settled * 2).map(|n| format!("id-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        store.insert(id, moment(n as u64)).await.expect("kept");
    }
    assert_eq!(newest(store, usize::MAX).await, ids[max_settled..]);
    assert!(!store.contains(&ids[max_settled - 1]).await.expect("read"));
    store.insert("late", moment(0)).await.expect("it is the oldest itself");
    assert_eq!(newest(store, usize::MAX).await, ids[max_settled..]);
}

/// A store that keeps ids for `max_age` forgets older ones with the next insert.
pub async fn settled_ids_are_bounded_by_age(store: &dyn DedupStore, max_age: Duration) {
    store.insert("old", moment(0)).await.expect("kept");
    store.insert("just-in", moment(1)).await.expect("kept");
    store.insert("now", moment(1) + max_age).await.expect("kept");
    assert_eq!(newest(store, 10).await, ["just-in", "now"]);
    assert!(!store.contains("old").await.expect("read"));
}

/// Ids outside the rule are refused.
pub async fn settled_ids_outside_the_rule_are_refused(store: &dyn DedupStore) {
    for id in [String::new(), "x".repeat(1025)] {
        let error = store.insert(&id, moment(1)).await.expect_err("refused");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
    }
    store.insert(&"ü".repeat(512), moment(1)).await.expect("the longest");
    assert!(store.contains(&"ü".repeat(512)).await.expect("read"));
}

/// Fills cursors and ids for [`positions_after_a_restart`].
pub async fn positions_before_a_restart(cursors: &dyn CursorStore, settled: &dyn DedupStore) {
    for (key, cursor) in [("a", "1"), ("b", "1"), ("a", "2")] {
        cursors.set(key, &Cursor::new(cursor)).await.expect("set");
    }
    cursors.clear("b").await.expect("cleared");
    for (id, at) in [("x", 1), ("y", 2), ("z", 3)] {
        settled.insert(id, moment(at)).await.expect("kept");
    }
    settled.forget_older_than(moment(2)).await.expect("forgotten");
}

/// Everything that [`positions_before_a_restart`] did is there, and the numbering goes on.
pub async fn positions_after_a_restart(cursors: &dyn CursorStore, settled: &dyn DedupStore) {
    assert_eq!(cursors.get("a").await.expect("read"), Some(Cursor::new("2")));
    assert_eq!(cursors.get("b").await.expect("read"), None);
    settled.insert("later", moment(3)).await.expect("kept");
    assert_eq!(newest(settled, 10).await, ["y", "z", "later"]);
}

async fn waiting(store: &dyn OutboxStore) -> Vec<String> {
    store.load().await.expect("loaded").iter().map(|send| send.id().to_string()).collect()
}

async fn parked(store: &dyn OutboxStore) -> Vec<String> {
    store.parked().await.expect("read").iter().map(|letter| letter.send.id().to_string()).collect()
}

async fn newest(store: &dyn DedupStore, count: usize) -> Vec<String> {
    store.newest(count).await.expect("read").into_iter().map(|settled| settled.id).collect()
}

fn message(name: &str, position: u64) -> StoredSend {
    let to = Address::parse("loopback://somebody").expect("valid");
    StoredSend::new(position, Outbound::new(to, Body::text(name)).with_id(id(name)))
}

fn id(text: &str) -> ClientMsgId {
    ClientMsgId::new(text).expect("valid")
}

fn reason() -> ParkedReason {
    ParkedReason::new(ErrorKind::Forbidden, Reached::Yes, "send: not a contact", moment(1_700_000_000_000))
}

fn moment(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
