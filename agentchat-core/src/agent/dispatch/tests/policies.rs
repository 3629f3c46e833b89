//! What of a conversation is handed over, and what becomes of it.

use super::*;

fn serving(serve: ServePolicy) -> Policy {
    Policy { serve, ..policy(8) }
}

fn admit(dispatcher: &mut Dispatcher, numbers: std::ops::Range<usize>, now: Instant) {
    for number in numbers {
        assert!(dispatcher.admit(delivery(number, Some(1)), now).is_empty());
    }
}

fn is_superseded(job: &Job) -> bool {
    matches!(job.task, Task::Supersede { .. })
}

#[test]
fn a_batch_is_what_waits_in_order_and_up_to_its_size_and_is_settled_together() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Batch(3)));
    admit(&mut dispatcher, 0..1, now);
    let alone = start(&mut dispatcher, now).expect("nothing waits for a batch to fill");
    admit(&mut dispatcher, 1..6, now);
    assert!(start(&mut dispatcher, now).is_none(), "one job of a conversation at a time");
    settle(&mut dispatcher, &alone, now);
    let batch = start(&mut dispatcher, now).expect("a batch");
    assert_eq!(ids(&batch), ["1", "2", "3"]);
    assert_eq!(texts(&settle(&mut dispatcher, &batch, now)), ["t1", "t2", "t3"]);
    assert_eq!(ids(&start(&mut dispatcher, now).expect("the rest")), ["4", "5"]);
}

#[test]
fn messages_without_a_conversation_make_no_batch() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Batch(9)));
    for number in 0..3 {
        dispatcher.admit(delivery(number, None), now);
    }
    for number in 0..3 {
        assert_eq!(ids(&start(&mut dispatcher, now).expect("a job")), [number.to_string()]);
    }
}

#[test]
fn a_batch_that_fails_comes_again_as_it_was_and_at_last_one_by_one() {
    let mut now = Instant::now();
    let mut dispatcher = dispatcher(Policy { max_attempts: Some(3), ..serving(ServePolicy::Batch(9)) });
    admit(&mut dispatcher, 0..2, now);
    for attempt in 1..=2 {
        let batch = start(&mut dispatcher, now).expect("a batch");
        assert_eq!(ids(&batch), ["0", "1"], "attempt {attempt}");
        admit(&mut dispatcher, attempt + 1..attempt + 2, now);
        assert!(fail(&mut dispatcher, &batch, now).is_empty());
        now = dispatcher.deadline().expect("held");
    }
    let last = start(&mut dispatcher, now).expect("the last try of the first");
    assert!(ids(&last) == ["0"] && matches!(last.task, Task::Handle { attempt: 3 }));
    fail(&mut dispatcher, &last, now);
    let buried = start(&mut dispatcher, now).expect("it is given up");
    assert!(ids(&buried) == ["0"] && matches!(buried.task, Task::Bury { failures: 3, .. }));
    assert_eq!(texts(&settle(&mut dispatcher, &buried, now)), ["t0"]);
    let second = start(&mut dispatcher, now).expect("the last try of the second");
    assert_eq!(ids(&second), ["1"]);
    assert_eq!(texts(&settle(&mut dispatcher, &second, now)), ["t1"]);
    assert_eq!(ids(&start(&mut dispatcher, now).expect("what came meanwhile")), ["2", "3"]);
    let stats = dispatcher.stats();
    assert_eq!((stats.failed, stats.given_up, stats.handled), (5, 1, 1));
}

#[test]
fn an_error_about_one_of_a_batch_settles_those_before_it_and_spares_those_after_it() {
    let now = Instant::now();
    let error: fn() -> HandlerError = || HandlerError::retry("not this one").at(1);
    let reject = || HandlerError::reject("never this one").at(1);
    for (error, wait) in [(error, SECOND), (reject, Duration::ZERO)] {
        let mut dispatcher = dispatcher(serving(ServePolicy::Batch(9)));
        admit(&mut dispatcher, 0..4, now);
        let batch = start(&mut dispatcher, now).expect("a batch");
        assert_eq!(texts(&dispatcher.finish(&batch.lane, Err(error()), now)), ["t0"]);
        assert_eq!(dispatcher.in_hand(), 3);
        let second = start(&mut dispatcher, now + wait).expect("the one it is about");
        assert_eq!(ids(&second), ["1"]);
        match (&second.task, wait) {
            (Task::Handle { attempt: 2 }, SECOND) | (Task::Bury { .. }, Duration::ZERO) => {}
            (task, _) => panic!("{task:?}"),
        }
        settle(&mut dispatcher, &second, now);
        let spared = start(&mut dispatcher, now).expect("those after it");
        assert!(ids(&spared) == ["2", "3"] && matches!(spared.task, Task::Handle { attempt: 1 }));
        assert_eq!(dispatcher.stats().failed, 1);
    }
}

#[test]
fn a_rejection_is_buried_at_once_and_never_tried_again() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Batch(2)));
    admit(&mut dispatcher, 0..3, now);
    let batch = start(&mut dispatcher, now).expect("a batch");
    assert!(dispatcher.finish(&batch.lane, Err(HandlerError::reject("no")), now).is_empty());
    for number in ["0", "1"] {
        let buried = start(&mut dispatcher, now).expect("each is buried");
        let Task::Bury { failures: 1, error, quiet: false, tries: 0 } = &buried.task else {
            panic!("{buried:?}")
        };
        assert!(error.is_reject() && ids(&buried) == [number]);
        assert_eq!(settle(&mut dispatcher, &buried, now).len(), 1);
    }
    assert_eq!(ids(&start(&mut dispatcher, now).expect("the next")), ["2"]);
    assert_eq!((dispatcher.stats().rejected, dispatcher.stats().given_up), (2, 0));
}

#[test]
fn a_handler_says_how_long_to_wait_and_a_server_at_least_how_long() {
    let now = Instant::now();
    let asked = |wait| {
        crate::Error::new(crate::ErrorKind::RateLimited, "send", "busy")
            .with_advice(crate::Advice::After(wait))
    };
    for (error, wait) in [
        (HandlerError::retry_after(SECOND / 5, "soon"), SECOND / 5),
        (HandlerError::retry_after(300 * SECOND, "later"), 300 * SECOND),
        (HandlerError::retry("x"), SECOND),
        (HandlerError::from(asked(SECOND / 5)), SECOND),
        (HandlerError::from(asked(90 * SECOND)), 90 * SECOND),
    ] {
        let mut dispatcher = dispatcher(policy(1));
        dispatcher.admit(delivery(0, None), now);
        let job = start(&mut dispatcher, now).expect("job");
        dispatcher.finish(&job.lane, Err(error), now);
        assert_eq!(dispatcher.deadline(), Some(now + wait));
    }
}

#[test]
fn of_what_waits_only_the_newest_is_handled_and_the_others_are_settled_when_they_are_superseded() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Latest));
    admit(&mut dispatcher, 0..1, now);
    let running = start(&mut dispatcher, now).expect("the first");
    admit(&mut dispatcher, 1..2, now);
    for number in 2..5 {
        let acks = dispatcher.admit(delivery(number, Some(1)), now);
        assert_eq!(texts(&acks), [format!("t{}", number - 1)]);
    }
    dispatcher.admit(delivery(9, Some(2)), now);
    assert_eq!(ids(&start(&mut dispatcher, now).expect("another conversation")), ["9"]);
    assert_eq!((dispatcher.in_hand(), dispatcher.stats().superseded), (3, 3));
    assert_eq!(texts(&settle(&mut dispatcher, &running, now)), ["t0"], "what runs is not interrupted");
    assert_eq!(ids(&start(&mut dispatcher, now).expect("the newest")), ["4"]);
}

#[test]
fn a_superseded_request_is_told_in_a_lane_of_its_own_and_settled_only_then() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Latest));
    assert!(dispatcher.admit(request(0), now).is_empty());
    assert!(dispatcher.admit(request(1), now).is_empty());
    let jobs: Vec<_> = std::iter::from_fn(|| start(&mut dispatcher, now)).collect();
    let [newest, told] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!((ids(newest), ids(told)), (vec!["1"], vec!["0"]));
    assert!(matches!(newest.task, Task::Handle { attempt: 1 }) && is_superseded(told));
    assert!(fail(&mut dispatcher, told, now).is_empty(), "it could not be told");
    assert_eq!(texts(&settle(&mut dispatcher, newest, now)), ["t1"]);
    let again = start(&mut dispatcher, now + SECOND).expect("it is told again");
    assert!(matches!(again.task, Task::Supersede { tries: 1 }));
    assert_eq!(texts(&settle(&mut dispatcher, &again, now)), ["t0"]);
    assert_eq!((dispatcher.load(), dispatcher.stats().handled), (0, 1));
}

#[test]
fn a_message_that_failed_is_superseded_by_what_came_meanwhile_and_by_what_comes_then() {
    let now = Instant::now();
    for meanwhile in [true, false] {
        let mut dispatcher = dispatcher(serving(ServePolicy::Latest));
        admit(&mut dispatcher, 0..1, now);
        let failing = start(&mut dispatcher, now).expect("the first");
        let mut acks = Vec::new();
        if meanwhile {
            acks.extend(dispatcher.admit(delivery(1, Some(1)), now));
        }
        acks.extend(fail(&mut dispatcher, &failing, now));
        if !meanwhile {
            acks.extend(dispatcher.admit(delivery(1, Some(1)), now));
        }
        assert_eq!(texts(&acks), ["t0"]);
        assert_eq!(dispatcher.deadline(), None, "the newer one does not wait for the older one's backoff");
        assert_eq!(ids(&start(&mut dispatcher, now).expect("at once")), ["1"]);
        assert!(start(&mut dispatcher, now + 60 * SECOND).is_none());
    }
}

#[test]
fn what_is_given_up_is_not_superseded() {
    let now = Instant::now();
    let mut dispatcher = dispatcher(serving(ServePolicy::Latest));
    admit(&mut dispatcher, 0..1, now);
    let rejected = start(&mut dispatcher, now).expect("the first");
    dispatcher.finish(&rejected.lane, Err(HandlerError::reject("no")), now);
    let buried = start(&mut dispatcher, now).expect("its burial");
    fail(&mut dispatcher, &buried, now);
    admit(&mut dispatcher, 1..2, now);
    assert!(start(&mut dispatcher, now).is_none(), "its burial is due later");
    assert_eq!(texts(&dispatcher.admit(delivery(2, Some(1)), now)), ["t1"]);
    let buried = start(&mut dispatcher, now + SECOND).expect("its burial");
    assert!(ids(&buried) == ["0"] && matches!(buried.task, Task::Bury { tries: 1, .. }));
    settle(&mut dispatcher, &buried, now);
    assert_eq!(ids(&start(&mut dispatcher, now).expect("the newest")), ["2"]);
}

#[test]
fn a_conversation_over_its_turns_is_rejected_counted_once_per_message_and_holds_no_other() {
    let now = Instant::now();
    let gate = Gate { turns: Some(Turns::new(2, 60 * SECOND)), ..Gate::default() };
    let mut dispatcher = Dispatcher::new(serving(ServePolicy::Batch(9)), gate);
    admit(&mut dispatcher, 0..4, now);
    dispatcher.admit(delivery(9, Some(2)), now);
    let batch = start(&mut dispatcher, now).expect("as many as it may");
    assert_eq!(ids(&batch), ["0", "1"]);
    assert_eq!(ids(&start(&mut dispatcher, now).expect("the other conversation")), ["9"]);
    fail(&mut dispatcher, &batch, now);
    let again = start(&mut dispatcher, now + SECOND).expect("another try is not another message");
    assert!(ids(&again) == ["0", "1"] && matches!(again.task, Task::Handle { attempt: 2 }));
    settle(&mut dispatcher, &again, now);
    for (number, again) in [("2", false), ("3", true)] {
        let refused = start(&mut dispatcher, now + SECOND).expect("a refusal");
        let Task::Bury { failures: 0, error, quiet, .. } = &refused.task else { panic!("{refused:?}") };
        assert!(
            ids(&refused) == [number] && *quiet == again && error.to_string().contains("2 messages"),
            "{error}"
        );
        settle(&mut dispatcher, &refused, now);
    }
    admit(&mut dispatcher, 4..5, now);
    let later = start(&mut dispatcher, now + 60 * SECOND).expect("a new window");
    assert!(matches!(later.task, Task::Handle { attempt: 1 }));
}

#[test]
fn ten_thousand_conversations_interleaved_keep_their_order_and_lose_nothing() {
    const CONVERSATIONS: usize = 10_000;
    let now = Instant::now();
    for serve in [ServePolicy::Each, ServePolicy::Batch(2), ServePolicy::Latest] {
        let mut dispatcher = dispatcher(Policy { serve, ..policy(64) });
        let mut dice = fastrand::Rng::with_seed(7);
        let mut arrivals: Vec<usize> = (0..CONVERSATIONS).flat_map(|number| [number; 3]).collect();
        dice.shuffle(&mut arrivals);
        let (mut running, mut acks) = (Vec::new(), 0);
        let mut last = vec![None; CONVERSATIONS];
        let mut arrivals = arrivals.into_iter().enumerate();
        loop {
            let arrived = arrivals.next();
            if let Some((number, conversation)) = arrived {
                let mut message = delivery(number, None);
                let name = ConversationId::new(conversation.to_string()).expect("id");
                message.conversation = Some(name);
                acks += dispatcher.admit(message, now).len();
            }
            running.extend(std::iter::from_fn(|| start(&mut dispatcher, now)));
            assert!(running.len() <= 64);
            if arrived.is_none() && running.is_empty() {
                break;
            }
            if running.len() < 64 && arrived.is_some() {
                continue;
            }
            let job = running.swap_remove(dice.usize(..running.len()));
            for number in ids(&job).into_iter().map(|id| id.parse::<usize>().expect("number")) {
                let name = job.delivery.conversation.as_ref().expect("one");
                let last = &mut last[name.as_str().parse::<usize>().expect("number")];
                assert!(last.replace(number).is_none_or(|before| before < number), "out of order");
            }
            acks += settle(&mut dispatcher, &job, now).len();
        }
        let stats = dispatcher.stats();
        assert_eq!((acks, dispatcher.load()), (3 * CONVERSATIONS, 0));
        assert_eq!(stats.handled + stats.superseded, 3 * CONVERSATIONS as u64);
        assert_eq!(stats.superseded > 0, serve == ServePolicy::Latest);
        assert!(last.iter().all(Option::is_some), "each conversation was heard");
    }
}
