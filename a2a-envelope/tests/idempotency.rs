//! A request that comes again is answered, not run.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::collections::HashMap;
use std::time::Duration;

use a2a_envelope::idempotency::{
    MemoryRequestStore, Met, RequestError, RequestKey, RequestLimits, RequestRecord, RequestState, Requests,
};
use a2a_envelope::{Envelope, JsonText, Limits};
use flow::ms;
use proptest::prelude::*;
use support::seeded;

const HOUR: Duration = Duration::from_secs(3_600);

fn key(id: &str) -> RequestKey {
    RequestKey::new(id).unwrap()
}

fn answer(text: &str) -> Option<JsonText> {
    Some(JsonText::string(text))
}

#[test]
fn the_same_request_is_run_once_joined_while_it_runs_and_answered_from_the_record() {
    let mut requests = Requests::new(RequestLimits::default());
    let meet = |requests: &mut Requests, task: &str| {
        requests.meet("ann", &key("m-1"), b"body", task, ms(0)).unwrap()
    };
    let Met::New(record) = meet(&mut requests, "t-1") else { panic!("it is new") };
    assert_eq!((record.task_id.as_str(), record.state), ("t-1", RequestState::Running));
    assert_eq!(meet(&mut requests, "t-2"), Met::Running(record), "it joins the first task");
    let stored = requests.answered("ann", &key("m-1"), answer("done"), ms(9)).unwrap();
    assert_eq!(meet(&mut requests, "t-3"), Met::Answered(stored.clone()));
    assert_eq!((stored.answer, stored.at_ms), (answer("done"), ms(9).as_millis() as u64));
    assert_eq!(
        requests.answered("ann", &key("m-1"), answer("other"), ms(10)),
        None,
        "the first answer stays"
    );
}

#[test]
fn a_key_with_another_body_is_a_conflict_and_changes_nothing() {
    let mut requests = Requests::new(RequestLimits::default());
    requests.meet("ann", &key("m-1"), b"body", "t-1", ms(0)).unwrap();
    assert_eq!(requests.meet("ann", &key("m-1"), b"bodY", "t-2", ms(0)), Err(RequestError::Conflict));
    assert!(matches!(requests.meet("ann", &key("m-1"), b"body", "t-2", ms(0)), Ok(Met::Running(_))));
    requests.answered("ann", &key("m-1"), None, ms(1));
    assert_eq!(requests.meet("ann", &key("m-1"), b"", "t-2", ms(2)), Err(RequestError::Conflict));
}

#[test]
fn keys_of_two_senders_never_meet() {
    let mut requests = Requests::new(RequestLimits::default());
    requests.meet("ann", &key("m-1"), b"a", "t-1", ms(0)).unwrap();
    assert!(matches!(requests.meet("bob", &key("m-1"), b"b", "t-2", ms(0)), Ok(Met::New(_))));
    // Neither does one whose name and key together read alike.
    requests.meet("ann", &key("b/c"), b"a", "t-3", ms(0)).unwrap();
    assert!(matches!(requests.meet("ann/b", &key("c"), b"x", "t-4", ms(0)), Ok(Met::New(_))));
}

#[test]
fn a_message_id_and_a_client_msg_id_are_one_key() {
    let limits = Limits::default();
    let body =
        r#"{"jsonrpc":"2.0","id":"c-1","method":"SendMessage","params":{"message":{"messageId":"m-1"}}}"#;
    let plain = Envelope::new(body);
    assert_eq!(RequestKey::of(&plain, Some("m-2"), &limits), Some(key("m-1")));
    assert_eq!(RequestKey::of(&Envelope::new("{}"), Some("m-1"), &limits), Some(key("m-1")));
    let marked = plain.clone().with_idempotency_key("m-3").unwrap();
    assert_eq!(RequestKey::of(&marked, None, &limits), Some(key("m-3")));
    for bare in [r#"{"message":{"messageId":"m-1"}}"#, r#"{"messageId":"m-1","role":"user"}"#] {
        assert_eq!(RequestKey::of(&Envelope::new(bare), None, &limits), Some(key("m-1")), "{bare}");
    }
    let get = Envelope::new(r#"{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"id":"t"}}"#);
    assert_eq!(RequestKey::of(&get, None, &limits), Some(key("7")));
    for none in ["", "x", "[]", "{}", r#"{"messageId":7}"#, r#"{"messageId":""}"#] {
        assert_eq!(RequestKey::of(&Envelope::new(none), None, &limits), None, "{none}");
    }
}

#[test]
fn a_key_that_no_network_carries_becomes_one_that_comes_back_as_itself() {
    for odd in ["x".repeat(129), "a b".into(), "schlüssel".into(), "a\u{7f}".into()] {
        let made = key(&odd);
        assert_eq!(made.as_str().len(), 52);
        assert_eq!(key(made.as_str()), made, "{odd}");
    }
    let longest = "x".repeat(RequestKey::MAX);
    assert_eq!(key(&longest).as_str(), longest);
    assert_eq!(RequestKey::new(""), None);
}

#[test]
fn what_runs_is_never_forgotten_and_more_than_may_is_refused() {
    let limits = RequestLimits::default().with_max_running(2).with_max_answered(1).with_max_age(HOUR);
    let mut requests = Requests::new(limits);
    for id in ["a", "b"] {
        requests.meet("ann", &key(id), b"", "t", ms(0)).unwrap();
    }
    let refused = requests.meet("ann", &key("c"), b"", "t", ms(0));
    assert!(matches!(refused, Err(RequestError::Full { running: 2, .. })));
    let later = ms(0) + HOUR * 48;
    assert!(matches!(requests.meet("ann", &key("a"), b"", "t", later), Ok(Met::Running(_))));
    requests.answered("ann", &key("a"), None, later);
    requests.meet("ann", &key("c"), b"", "t", later).unwrap();
    requests.answered("ann", &key("b"), None, later);
    assert_eq!((requests.len(), requests.running()), (2, 1), "one answered, the newer, and what runs");
    assert!(requests.get("ann", &key("a")).is_none() && requests.get("ann", &key("b")).is_some());
}

#[test]
fn a_running_request_is_told_as_overdue_by_its_deadline_or_its_age_and_again_only_later() {
    let mut requests = Requests::new(RequestLimits::default().with_max_age(HOUR));
    let minute = Duration::from_secs(60);
    requests.meet_until("ann", &key("short"), b"", "t-1", Some(ms(0) + minute), ms(0)).unwrap();
    requests.meet("ann", &key("long"), b"", "t-2", ms(0)).unwrap();
    requests.meet("ann", &key("done"), b"", "t-3", ms(0)).unwrap();
    requests.answered("ann", &key("done"), None, ms(0));
    let keys = |told: Vec<RequestRecord>| told.into_iter().map(|record| record.key).collect::<Vec<_>>();
    assert_eq!(requests.next_overdue(), Some(ms(0) + minute));
    assert!(requests.overdue(ms(0) + minute - Duration::from_millis(1)).is_empty());
    assert_eq!(keys(requests.overdue(ms(0) + minute)), ["short"]);
    assert!(requests.overdue(ms(0) + minute).is_empty(), "told once");
    assert_eq!(keys(requests.overdue(ms(0) + HOUR)), ["long"]);
    assert_eq!(keys(requests.overdue(ms(0) + HOUR + minute)), ["short"], "it still runs");
    assert_eq!(requests.running(), 2, "nothing is forgotten by being told");
    // What a store keeps of it says the same.
    let record = requests.get("ann", &key("short")).unwrap();
    let back = RequestRecord::from_stored(&record.to_stored()).unwrap();
    let restored = Requests::restored(RequestLimits::default(), [back], ms(0));
    assert_eq!(restored.next_overdue(), Some(ms(0) + minute));
}

#[test]
fn an_answered_request_is_forgotten_by_the_age_of_its_answer() {
    let mut requests = Requests::new(RequestLimits::default().with_max_age(HOUR));
    requests.meet("ann", &key("a"), b"", "t", ms(0)).unwrap();
    requests.answered("ann", &key("a"), None, ms(0) + HOUR);
    assert!(matches!(requests.meet("ann", &key("a"), b"", "t", ms(0) + HOUR * 2), Ok(Met::Answered(_))));
    assert!(matches!(requests.meet("ann", &key("a"), b"", "t", ms(1) + HOUR * 2), Ok(Met::New(_))));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_old_or_lost() {
    let mut requests = Requests::new(RequestLimits::default().with_max_age(HOUR));
    requests.meet("ann", &key("a"), b"", "t", ms(0) + HOUR * 9).unwrap();
    requests.answered("ann", &key("a"), None, ms(0));
    assert!(matches!(requests.meet("ann", &key("a"), b"", "t", Duration::ZERO), Ok(Met::Answered(_))));
}

#[test]
fn answers_beyond_their_bound_are_given_up_and_their_requests_stay() {
    let mut requests = Requests::new(RequestLimits::default().with_max_answer_bytes(100));
    for n in 0..20 {
        let id = key(&format!("m-{n}"));
        requests.meet("ann", &id, b"", "t", ms(n)).unwrap();
        requests.answered("ann", &id, answer(&"x".repeat(28)), ms(n));
        assert!(requests.answer_bytes() <= 100);
    }
    assert_eq!(requests.len(), 20);
    assert!(requests.get("ann", &key("m-0")).unwrap().answer.is_none());
    assert!(requests.get("ann", &key("m-19")).unwrap().answer.is_some());
    requests.meet("ann", &key("big"), b"", "t", ms(99)).unwrap();
    let stored = requests.answered("ann", &key("big"), answer(&"x".repeat(500)), ms(99)).unwrap();
    assert_eq!(stored.answer, None, "too much by itself");
}

#[test]
fn an_abandoned_request_is_new_again_and_an_answered_one_stays() {
    let mut requests = Requests::new(RequestLimits::default());
    requests.meet("ann", &key("a"), b"", "t", ms(0)).unwrap();
    requests.abandon("ann", &key("a"));
    assert!(matches!(requests.meet("ann", &key("a"), b"other", "t", ms(0)), Ok(Met::New(_))));
    requests.answered("ann", &key("a"), None, ms(1));
    requests.abandon("ann", &key("a"));
    assert!(matches!(requests.meet("ann", &key("a"), b"other", "t", ms(2)), Ok(Met::Answered(_))));
}

#[test]
fn records_come_back_from_a_store_as_they_were() {
    let store = MemoryRequestStore::new(3);
    let mut requests = Requests::new(RequestLimits::default());
    for id in ["a", "b", "c"] {
        let Met::New(record) = requests.meet("ann", &key(id), b"x", id, ms(0)).unwrap() else { panic!() };
        store.put_now(&record).unwrap();
    }
    let running = requests.get("ann", &key("b")).unwrap().clone();
    assert!(
        store
            .put_now(&RequestRecord::from_stored(&running.to_stored().replace("\"b\"", "\"d\"")).unwrap())
            .is_err()
    );
    store.put_now(&requests.answered("ann", &key("b"), answer("done"), ms(1)).unwrap()).unwrap();
    store.put_now(&running).unwrap();
    let stored: Vec<_> = store.load_now().iter().map(RequestRecord::to_stored).collect();
    let records = stored.iter().map(|text| RequestRecord::from_stored(text).unwrap());
    let mut restored = Requests::restored(RequestLimits::default().with_max_running(1), records, ms(2));
    assert_eq!((restored.running(), restored.len()), (2, 3), "those that ran come back whatever the limit");
    assert!(matches!(restored.meet("ann", &key("a"), b"x", "t", ms(3)), Ok(Met::Running(_))));
    let Ok(Met::Answered(record)) = restored.meet("ann", &key("b"), b"x", "t", ms(3)) else { panic!() };
    assert_eq!(
        record.answer,
        answer("done"),
        "a repeated save of the running record did not undo the answer"
    );
}

#[test]
fn damaged_records_are_refused() {
    let mut requests = Requests::new(RequestLimits::default());
    let Met::New(record) = requests.meet("ann", &key("a"), b"", "t", ms(0)).unwrap() else { panic!() };
    let good = record.to_stored();
    assert_eq!(RequestRecord::from_stored(&good), Some(record));
    for bad in
        ["", "{}", "[]", &good.replace("\"v\":1", "\"v\":2"), &good.replace("running", "odd"), &good[..20]]
    {
        assert_eq!(RequestRecord::from_stored(bad), None, "{bad}");
    }
    assert!(!format!("{requests:?} {:?}", requests.get("ann", &key("a"))).contains("ann"));
}

#[derive(Debug, Clone)]
enum Op {
    Meet { sender: u8, key: u8, body: u8 },
    Answer { sender: u8, key: u8 },
    Restart,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..2_u8, 0..6_u8, 0..2_u8).prop_map(|(sender, key, body)| Op::Meet { sender, key, body }),
        4 => (0..2_u8, 0..6_u8).prop_map(|(sender, key)| Op::Answer { sender, key }),
        1 => Just(Op::Restart),
        1 => (0..50_u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn nothing_runs_twice_while_it_runs_or_is_remembered(ops in prop::collection::vec(op(), 0..120)) {
        let limits = RequestLimits::default().with_max_answered(4).with_max_running(5).with_max_age(Duration::from_millis(100));
        let mut requests = Requests::new(limits);
        let store = MemoryRequestStore::new(1_000);
        // What runs, with its body; what is answered, oldest first.
        let mut running: HashMap<(u8, u8), u8> = HashMap::new();
        let mut answered: Vec<((u8, u8), u8, u64)> = Vec::new();
        let mut now = 0;
        for op in ops {
            let forget = |answered: &mut Vec<((u8, u8), u8, u64)>, now: u64| {
                answered.retain(|(.., at)| at + 100 >= now);
                let surplus = answered.len().saturating_sub(4);
                answered.drain(..surplus);
            };
            match op {
                Op::Wait(time) => now += time,
                Op::Restart => {
                    // A store may remember more; what it remembers is sifted by the same rules.
                    let live: Vec<_> = store.load_now();
                    requests = Requests::restored(limits, live, ms(now));
                    forget(&mut answered, now);
                }
                Op::Meet { sender, key: id, body } => {
                    forget(&mut answered, now);
                    let met = requests.meet(&sender.to_string(), &key(&id.to_string()), &[body], "t", ms(now));
                    let slot = (sender, id);
                    let known = running.get(&slot).copied();
                    let done = answered.iter().find(|(at, ..)| *at == slot).map(|(_, body, _)| *body);
                    match (known, done) {
                        (Some(first), _) | (None, Some(first)) if first != body => {
                            prop_assert_eq!(met, Err(RequestError::Conflict));
                        }
                        (Some(_), _) => prop_assert!(matches!(met, Ok(Met::Running(_)))),
                        (None, Some(_)) => prop_assert!(matches!(met, Ok(Met::Answered(_)))),
                        (None, None) if running.len() >= 5 => {
                            let full = matches!(met, Err(RequestError::Full { running: 5, .. }));
                            prop_assert!(full);
                        }
                        (None, None) => {
                            let Ok(Met::New(record)) = met else { panic!("{met:?}") };
                            // It was forgotten by all, so the store's old answer goes too.
                            let removed = a2a_envelope::idempotency::RequestStore::remove(&store, &record.sender, &record.key);
                            drop(removed);
                            store.put_now(&record).unwrap();
                            running.insert(slot, body);
                        }
                    }
                }
                Op::Answer { sender, key: id } => {
                    // Of answers in one millisecond a store does not know the order.
                    now += 1;
                    let record = requests.answered(&sender.to_string(), &key(&id.to_string()), None, ms(now));
                    let body = running.remove(&(sender, id));
                    prop_assert_eq!(record.is_some(), body.is_some());
                    if let (Some(record), Some(body)) = (record, body) {
                        store.put_now(&record).unwrap();
                        answered.push(((sender, id), body, now));
                    }
                    forget(&mut answered, now);
                }
            }
            prop_assert_eq!(requests.running(), running.len());
        }
    }
}
