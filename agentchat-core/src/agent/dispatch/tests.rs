//! The dispatcher by itself: order, repetitions, retries, and what each step asks for.

mod operations;
mod policies;

use super::*;
use crate::agent::turns::Turns;
use crate::{Address, Body, ClientMsgId, ConversationId, CorrelationId, MessageId};

const SECOND: Duration = Duration::from_secs(1);

fn policy(concurrency: usize) -> Policy {
    let serve = ServePolicy::Each;
    Policy { serve, concurrency, retry_base: SECOND, retry_cap: 60 * SECOND, max_attempts: None }
}

fn dispatcher(policy: Policy) -> Dispatcher {
    Dispatcher::new(policy, Gate::default())
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

fn settle(dispatcher: &mut Dispatcher, job: &Job, now: Instant) -> Vec<AckTag> {
    dispatcher.finish(&job.lane, Ok(()), now)
}

fn fail(dispatcher: &mut Dispatcher, job: &Job, now: Instant) -> Vec<AckTag> {
    dispatcher.finish(&job.lane, Err("it fails".into()), now)
}

/// The ids of a job's messages.
fn ids(job: &Job) -> Vec<&str> {
    std::iter::once(&job.delivery).chain(&job.rest).map(|delivery| delivery.id.as_str()).collect()
}

/// A message of conversation `c1` whose sender waits for a reply.
fn request(number: usize) -> Delivery {
    let mut request = delivery(number, Some(1));
    request.correlation_id = Some(CorrelationId::random());
    request.reply_to = Some(Address::of("loopback", "asker").expect("address"));
    request
}

#[test]
fn a_failed_message_holds_its_conversation_but_no_other() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(policy(8));
    for (number, conversation) in [(0, 1), (1, 1), (2, 2)] {
        dispatcher.admit(delivery(number, Some(conversation)), now);
    }
    let first = start(&mut dispatcher, now).expect("first");
    assert!(fail(&mut dispatcher, &first, now).is_empty());
    assert_eq!(dispatcher.deadline(), Some(now + SECOND));
    let other = start(&mut dispatcher, now).expect("the other conversation");
    assert_eq!(other.delivery.id.as_str(), "2");
    assert!(start(&mut dispatcher, now).is_none(), "its own conversation waits");
    let again = start(&mut dispatcher, now + SECOND).expect("second try");
    assert!(again.delivery.id.as_str() == "0" && matches!(again.task, Task::Handle { attempt: 2 }));
    assert!(again.delivery.redelivered);
}

#[test]
fn a_try_that_is_due_while_every_slot_is_taken_asks_for_no_further_waking() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(policy(1));
    dispatcher.admit(delivery(0, None), now);
    dispatcher.admit(delivery(1, None), now);
    let failing = start(&mut dispatcher, now).expect("the first");
    fail(&mut dispatcher, &failing, now);
    let running = start(&mut dispatcher, now).expect("the other");
    let later = now + 2 * SECOND;
    assert!(start(&mut dispatcher, later).is_none(), "the slot is taken");
    assert_eq!(dispatcher.deadline(), None, "only the end of a job can change anything");
    settle(&mut dispatcher, &running, later);
    assert_eq!(start(&mut dispatcher, later).expect("its turn").delivery.id.as_str(), "0");
}

#[test]
fn messages_that_keep_failing_take_turns_with_the_others() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(Policy { retry_base: Duration::ZERO, ..policy(1) });
    for number in 0..10 {
        dispatcher.admit(delivery(number, None), now);
    }
    let mut turns = Vec::new();
    for _ in 0..20 {
        let job = start(&mut dispatcher, now).expect("something fails again");
        turns.push(job.delivery.id.as_str().parse::<usize>().expect("number"));
        fail(&mut dispatcher, &job, now);
    }
    assert_eq!(turns, (0..10).chain(0..10).collect::<Vec<_>>());
}

#[test]
fn a_repetition_is_acknowledged_with_its_message_and_not_handled() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(policy(8));
    assert!(dispatcher.admit(copy(0, "m", "a"), now).is_empty());
    assert!(dispatcher.admit(copy(7, "m", "a"), now).is_empty());
    assert!(dispatcher.admit(copy(7, "m", "a"), now).is_empty(), "the same tag counts once");
    assert_eq!((dispatcher.in_hand(), dispatcher.load()), (1, 2));
    let job = start(&mut dispatcher, now).expect("one job");
    assert!(start(&mut dispatcher, now).is_none());
    let tags = settle(&mut dispatcher, &job, now);
    assert_eq!(texts(&tags), ["t0", "t7"]);
    assert_eq!((dispatcher.in_hand(), dispatcher.load()), (0, 0));
    assert_eq!(texts(&dispatcher.admit(copy(9, "m", "a"), now)), ["t9"]);
}

#[test]
fn an_id_is_its_senders_own_however_names_are_written() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(policy(8));
    for (row, (id, sender)) in [("m", "a"), ("m", "b"), ("m|a", "b"), ("m", "a|b")].into_iter().enumerate() {
        assert!(dispatcher.admit(copy(row, id, sender), now).is_empty());
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
    let mut dispatcher = dispatcher(Policy { max_attempts: Some(2), ..policy(1) });
    dispatcher.admit(copy(0, "m", "a"), now);
    let mut tasks = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let job = start(&mut dispatcher, now).expect("something to do");
        tasks.push(format!("{:?}", job.task));
        assert!(fail(&mut dispatcher, &job, now).is_empty());
        let due = dispatcher.deadline().unwrap_or(now);
        waits.push((due - now).as_secs());
        now = due;
    }
    let buried = |task: &str| task.contains("failures: 2") && task.contains("it fails");
    assert_eq!(tasks[..2], ["Handle { attempt: 1 }", "Handle { attempt: 2 }"]);
    assert!(tasks[2..].iter().all(|task| task.starts_with("Bury") && buried(task)), "{tasks:?}");
    assert_eq!(waits, [1, 0, 1, 2]);
    assert!(dispatcher.admit(copy(3, "m", "a"), now).is_empty(), "it is not settled before it is buried");
    let job = start(&mut dispatcher, now).expect("a last time");
    assert_eq!(texts(&settle(&mut dispatcher, &job, now)), ["t0", "t3"]);
    assert_eq!(dispatcher.load(), 0);
}

#[test]
fn a_message_past_its_deadline_is_not_run() {
    let now = Instant::now();
    for (left, expired) in [(Duration::ZERO, true), (3600 * SECOND, false)] {
        let mut dispatcher = dispatcher(policy(1));
        let mut message = delivery(0, None);
        message.deadline = Some(message.received + left);
        dispatcher.admit(message, now);
        let job = start(&mut dispatcher, now).expect("job");
        assert_eq!(matches!(job.task, Task::Expire), expired);
        settle(&mut dispatcher, &job, now);
        assert_eq!(dispatcher.stats().expired, u64::from(expired));
    }
}

#[test]
fn a_message_past_its_deadline_is_handed_over_where_the_handler_answers_it() {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy(1), Gate { hands_expired: true, ..Gate::default() });
    let mut message = delivery(0, None);
    message.deadline = Some(message.received);
    dispatcher.admit(message, now);
    let job = start(&mut dispatcher, now).expect("job");
    assert!(matches!(job.task, Task::Handle { attempt: 1 }));
}

#[test]
fn a_deadline_is_reached_by_what_passes_after_the_message_came() {
    let now = Instant::now();
    for (waited, expired) in [(59, false), (60, true)] {
        let mut dispatcher = dispatcher(policy(1));
        let mut message = delivery(0, None);
        // The clock of sender and receiver is set back a day, and forward again before the message's turn.
        message.received -= 24 * 3600 * SECOND;
        message.deadline = Some(message.received + 60 * SECOND);
        dispatcher.admit(message, now);
        let job = start(&mut dispatcher, now + waited * SECOND).expect("job");
        assert_eq!(matches!(job.task, Task::Expire), expired);
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
    let mut dispatcher = dispatcher(endless);
    dispatcher.admit(delivery(0, None), now);
    let job = start(&mut dispatcher, now).expect("job");
    fail(&mut dispatcher, &job, now);
    assert!(dispatcher.deadline().is_some());
}

#[test]
fn ten_thousand_held_conversations_cost_nothing_per_step() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(policy(1));
    for number in 0..10_000 {
        dispatcher.admit(delivery(number, None), now);
    }
    let begun = std::time::Instant::now();
    for _ in 0..10_000 {
        let job = start(&mut dispatcher, now).expect("job");
        fail(&mut dispatcher, &job, now);
        assert_eq!((dispatcher.in_hand(), dispatcher.deadline().is_some()), (10_000, true));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
