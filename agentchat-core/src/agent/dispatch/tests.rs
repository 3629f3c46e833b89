use super::*;
use crate::{Address, Body, ClientMsgId, MessageId};
use proptest::prelude::*;
use std::time::SystemTime;

const SECOND: Duration = Duration::from_secs(1);

fn policy(concurrency: usize) -> Policy {
    Policy { concurrency, retry_base: SECOND, retry_cap: 60 * SECOND, max_attempts: None }
}

fn delivery(number: usize, conversation: Option<u8>) -> Delivery {
    let tag = AckTag::new(format!("t{number}")).expect("tag");
    let mut delivery = Delivery::new(MessageId::new(number.to_string()).expect("id"), tag, Body::text("x"));
    delivery.conversation = conversation.map(|c| ConversationId::new(format!("c{c}")).expect("id"));
    delivery
}

/// A copy of message `id` of `sender`, in a row of its own.
fn copy(row: usize, id: &str, sender: &str) -> Delivery {
    let mut delivery = delivery(row, None);
    delivery.client_msg_id = Some(ClientMsgId::new(id).expect("id"));
    delivery.sender = Some(Address::of("loopback", sender).expect("address"));
    delivery
}

fn texts(tags: &[AckTag]) -> Vec<&str> {
    tags.iter().map(AckTag::as_str).collect()
}

fn start(dispatcher: &mut Dispatcher, now: Instant) -> Option<Job> {
    dispatcher.start(now)
}

fn finish(dispatcher: &mut Dispatcher, job: &Job, finished: Finished, now: Instant) -> Vec<AckTag> {
    dispatcher.finish(&job.lane, job.task, finished, now)
}

#[test]
fn a_failed_message_holds_its_conversation_but_no_other() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(8));
    for (number, conversation) in [(0, 1), (1, 1), (2, 2)] {
        dispatcher.admit(delivery(number, Some(conversation)), now);
    }
    let first = start(&mut dispatcher, now).expect("first");
    assert!(finish(&mut dispatcher, &first, Finished::Failed, now).is_empty());
    assert_eq!(dispatcher.deadline(), Some(now + SECOND));
    let other = start(&mut dispatcher, now).expect("the other conversation");
    assert_eq!(other.delivery.id.as_str(), "2");
    assert!(start(&mut dispatcher, now).is_none(), "its own conversation waits");
    let again = start(&mut dispatcher, now + SECOND).expect("second try");
    assert_eq!((again.delivery.id.as_str(), again.task), ("0", Task::Handle { attempt: 2 }));
    assert!(again.delivery.redelivered);
}

#[test]
fn a_try_that_is_due_while_every_slot_is_taken_asks_for_no_further_waking() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(1));
    dispatcher.admit(delivery(0, None), now);
    dispatcher.admit(delivery(1, None), now);
    let failing = start(&mut dispatcher, now).expect("the first");
    finish(&mut dispatcher, &failing, Finished::Failed, now);
    let running = start(&mut dispatcher, now).expect("the other");
    let later = now + 2 * SECOND;
    assert!(start(&mut dispatcher, later).is_none(), "the slot is taken");
    assert_eq!(dispatcher.deadline(), None, "only the end of a job can change anything");
    finish(&mut dispatcher, &running, Finished::Settled, later);
    assert_eq!(start(&mut dispatcher, later).expect("its turn").delivery.id.as_str(), "0");
}

#[test]
fn messages_that_keep_failing_take_turns_with_the_others() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(Policy { retry_base: Duration::ZERO, ..policy(1) });
    for number in 0..10 {
        dispatcher.admit(delivery(number, None), now);
    }
    let mut turns = Vec::new();
    for _ in 0..20 {
        let job = start(&mut dispatcher, now).expect("something fails again");
        turns.push(job.delivery.id.as_str().parse::<usize>().expect("number"));
        finish(&mut dispatcher, &job, Finished::Failed, now);
    }
    assert_eq!(turns, (0..10).chain(0..10).collect::<Vec<_>>());
}

#[test]
fn a_repetition_is_acknowledged_with_its_message_and_not_handled() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(8));
    assert_eq!(dispatcher.admit(copy(0, "m", "a"), now), None);
    assert_eq!(dispatcher.admit(copy(7, "m", "a"), now), None);
    assert_eq!(dispatcher.admit(copy(7, "m", "a"), now), None, "the same tag counts once");
    assert_eq!((dispatcher.in_hand(), dispatcher.load()), (1, 2));
    let job = start(&mut dispatcher, now).expect("one job");
    assert!(start(&mut dispatcher, now).is_none());
    let tags = finish(&mut dispatcher, &job, Finished::Settled, now);
    assert_eq!(texts(&tags), ["t0", "t7"]);
    assert_eq!((dispatcher.in_hand(), dispatcher.load()), (0, 0));
    assert_eq!(dispatcher.admit(copy(9, "m", "a"), now).as_ref().map(AckTag::as_str), Some("t9"));
}

#[test]
fn an_id_is_its_senders_own_however_names_are_written() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(8));
    for (row, (id, sender)) in [("m", "a"), ("m", "b"), ("m|a", "b"), ("m", "a|b")].into_iter().enumerate() {
        assert_eq!(dispatcher.admit(copy(row, id, sender), now), None);
    }
    let mut unnamed = copy(4, "m", "a");
    unnamed.sender = None;
    dispatcher.admit(unnamed, now);
    dispatcher.admit(delivery(5, None), now);
    assert_eq!(dispatcher.in_hand(), 6);
}

#[test]
fn attempts_end_where_the_policy_says_and_burying_is_tried_until_it_succeeds() {
    let mut now = Instant::now();
    let mut dispatcher = Dispatcher::new(Policy { max_attempts: Some(2), ..policy(1) });
    dispatcher.admit(copy(0, "m", "a"), now);
    let mut tasks = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let job = start(&mut dispatcher, now).expect("something to do");
        tasks.push(job.task);
        assert!(finish(&mut dispatcher, &job, Finished::Failed, now).is_empty());
        let due = dispatcher.deadline().expect("held");
        waits.push((due - now).as_secs());
        now = due;
    }
    let bury = Task::Bury { failures: 2 };
    assert_eq!(tasks, [Task::Handle { attempt: 1 }, Task::Handle { attempt: 2 }, bury, bury]);
    assert_eq!(waits, [1, 0, 1, 2]);
    assert_eq!(dispatcher.admit(copy(3, "m", "a"), now), None, "it is not settled before it is buried");
    let job = start(&mut dispatcher, now).expect("a last time");
    assert_eq!(texts(&finish(&mut dispatcher, &job, Finished::Settled, now)), ["t0", "t3"]);
    assert_eq!(dispatcher.load(), 0);
}

#[test]
fn a_message_past_its_deadline_is_not_run() {
    let now = Instant::now();
    for (deadline, task) in [
        (SystemTime::UNIX_EPOCH, Task::Expire),
        (SystemTime::now() + 3600 * SECOND, Task::Handle { attempt: 1 }),
    ] {
        let mut dispatcher = Dispatcher::new(policy(1));
        let mut message = delivery(0, None);
        message.deadline = Some(deadline);
        dispatcher.admit(message, now);
        assert_eq!(start(&mut dispatcher, now).expect("job").task, task);
    }
}

#[test]
fn a_deadline_is_reached_by_what_passes_after_the_message_came() {
    let now = Instant::now();
    for (waited, task) in [(59, Task::Handle { attempt: 1 }), (60, Task::Expire)] {
        let mut dispatcher = Dispatcher::new(policy(1));
        let mut message = delivery(0, None);
        // The clock of sender and receiver is set back a day, and forward again before the message's turn.
        message.received -= 24 * 3600 * SECOND;
        message.deadline = Some(message.received + 60 * SECOND);
        dispatcher.admit(message, now);
        assert_eq!(start(&mut dispatcher, now + waited * SECOND).expect("job").task, task);
    }
}

#[test]
fn no_number_of_failures_and_no_backoff_is_too_large() {
    let mut endless = policy(1);
    (endless.retry_base, endless.retry_cap) = (Duration::MAX, Duration::MAX);
    for tries in [0, 1, 17, u32::MAX] {
        assert_eq!(endless.retry_delay(tries), Duration::MAX);
    }
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(endless);
    dispatcher.admit(delivery(0, None), now);
    let job = start(&mut dispatcher, now).expect("job");
    finish(&mut dispatcher, &job, Finished::Failed, now);
    assert!(dispatcher.deadline().is_some());
}

#[test]
fn ten_thousand_held_conversations_cost_nothing_per_step() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(1));
    for number in 0..10_000 {
        dispatcher.admit(delivery(number, None), now);
    }
    let begun = std::time::Instant::now();
    for _ in 0..10_000 {
        let job = start(&mut dispatcher, now).expect("job");
        finish(&mut dispatcher, &job, Finished::Failed, now);
        assert_eq!((dispatcher.in_hand(), dispatcher.deadline().is_some()), (10_000, true));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// One step of a run: a message arrives (perhaps as the copy of an earlier one), or a job ends.
#[derive(Debug, Clone)]
enum Step {
    Arrive { id: u8, conversation: Option<u8> },
    End { which: usize, finished: Finished },
    Wait { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrive = (0_u8..30, prop::option::of(0_u8..4));
    let failed = prop::bool::weighted(0.3);
    prop::collection::vec(
        prop_oneof![
            3 => arrive.prop_map(|(id, conversation)| Step::Arrive { id, conversation }),
            3 => (0_usize..8, failed).prop_map(|(which, failed)| Step::End {
                which,
                finished: if failed { Finished::Failed } else { Finished::Settled },
            }),
            1 => (0_u64..5_000).prop_map(|millis| Step::Wait { millis }),
        ],
        1..120,
    )
}

proptest! {
    #[test]
    fn every_delivery_is_acknowledged_once_after_its_message_and_in_its_conversations_order(
        steps in steps(), slots in 1_usize..6, attempts in prop::option::of(1_u32..3),
    ) {
        let mut now = Instant::now();
        let mut dispatcher = Dispatcher::new(Policy { max_attempts: attempts, ..policy(slots) });
        let mut running: Vec<Job> = Vec::new();
        let mut arrived: Vec<String> = Vec::new();
        let mut acknowledged: Vec<String> = Vec::new();
        let mut order: HashMap<Option<ConversationId>, Vec<usize>> = HashMap::new();
        let mut homes: HashMap<u8, Option<u8>> = HashMap::new();
        let mut settled: Vec<String> = Vec::new();
        let drain = std::iter::repeat_n(Step::End { which: 0, finished: Finished::Settled }, 400);
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Arrive { id, conversation } => {
                    let home = *homes.entry(id).or_insert(conversation);
                    let mut delivery = copy(arrived.len(), &format!("m{id}"), "a");
                    delivery.conversation = home.map(|c| ConversationId::new(format!("c{c}")).unwrap());
                    arrived.push(delivery.tag.as_str().to_owned());
                    let known = settled.contains(&format!("m{id}"));
                    let again = dispatcher.admit(delivery, now);
                    prop_assert_eq!(again.is_some(), known);
                    acknowledged.extend(again.map(|tag| tag.as_str().to_owned()));
                }
                Step::End { which, finished } => {
                    if running.is_empty() {
                        now = dispatcher.deadline().unwrap_or(now).max(now);
                    } else {
                        let job = running.remove(which % running.len());
                        let tags = dispatcher.finish(&job.lane, job.task, finished, now);
                        prop_assert_eq!(tags.is_empty(), finished == Finished::Failed);
                        if finished == Finished::Settled {
                            settled.push(job.delivery.client_msg_id.as_ref().unwrap().to_string());
                            let number = job.delivery.id.as_str().parse().unwrap();
                            order.entry(job.delivery.conversation.clone()).or_default().push(number);
                        }
                        acknowledged.extend(tags.iter().map(|tag| tag.as_str().to_owned()));
                    }
                }
                Step::Wait { millis } => now += Duration::from_millis(millis),
            }
            while let Some(job) = dispatcher.start(now) {
                let same = |other: &Job| other.lane == job.lane;
                prop_assert!(!running.iter().any(same), "two of one conversation at once");
                running.push(job);
            }
            prop_assert!(running.len() <= slots);
            prop_assert!(dispatcher.deadline().is_none_or(|at| at > now), "what is due has been woken");
            prop_assert_eq!(dispatcher.load(), arrived.len() - acknowledged.len());
        }
        prop_assert_eq!(dispatcher.in_hand(), 0);
        prop_assert!(dispatcher.lanes.is_empty() && dispatcher.repeats.is_empty());
        for (conversation, numbers) in order {
            prop_assert!(conversation.is_none() || numbers.is_sorted(), "{:?}", numbers);
        }
        let handled: BTreeSet<_> = settled.iter().collect();
        prop_assert_eq!(handled.len(), settled.len(), "each id is settled once");
        arrived.sort();
        acknowledged.sort();
        prop_assert_eq!(arrived, acknowledged);
    }
}
