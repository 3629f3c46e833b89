//! Questions have deadlines: nothing is answered after them, nothing ends before them, and the end is told under
//! one number by however many workers it takes.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::time::Duration;

use a2a_envelope::stream::{StreamWriter, WriterAction, WriterOptions, end_unanswered, repeat_answer};
use a2a_envelope::task::{
    MemoryTaskStore, QuestionPolicy, Task, TaskError, TaskState, TaskStore, Unanswered,
};
use a2a_envelope::{Envelope, ReplyType};
use flow::{Desk, body, ms, new_task, request};
use proptest::prelude::*;
use support::seeded;

fn within(millis: u64) -> QuestionPolicy {
    QuestionPolicy::default().with_within(Some(Duration::from_millis(millis)))
}

/// A task that asked at 1 ms, as its store has it, and the reply that asked.
fn asked(task: Task, policy: QuestionPolicy) -> (Desk, Task, Envelope) {
    let mut desk = Desk::with(&task);
    let (mut writer, actions) = StreamWriter::open(task, WriterOptions::default(), ms(0)).unwrap();
    desk.carry(actions).unwrap();
    let sent = desk.carry(writer.ask_with(TaskState::InputRequired, "?", policy, ms(1)).unwrap()).unwrap();
    let task = Task::from_stored(&desk.tasks.get_now("t-1").unwrap().to_stored()).unwrap();
    (desk, task, sent.last().unwrap().clone())
}

fn due(store: &MemoryTaskStore) -> Vec<(String, Duration)> {
    let mut due = store.due_tasks(10);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match due.as_mut().poll(&mut context) {
        std::task::Poll::Ready(due) => due.unwrap(),
        std::task::Poll::Pending => panic!("a store in memory waits for nothing"),
    }
}

#[test]
fn a_question_says_its_deadline_and_its_task_ends_at_it_behind_the_question() {
    for (unanswered, state) in
        [(Unanswered::Fail, TaskState::Failed), (Unanswered::Cancel, TaskState::Canceled)]
    {
        let (mut desk, mut task, question) = asked(new_task(), within(500).with_unanswered(unanswered));
        assert_eq!(question.deadline().unwrap(), Some(ms(501).as_millis() as u64));
        assert_eq!(due(&desk.tasks), [("t-1".to_owned(), ms(501))]);
        let before = task.clone();
        assert_eq!(end_unanswered(&mut task, None, ms(500)).unwrap(), []);
        assert_eq!(task, before, "nothing is done early");

        let told = desk.carry(end_unanswered(&mut task, Some("in.box"), ms(501)).unwrap()).unwrap();
        assert_eq!(told.len(), 1);
        let end = &told[0];
        assert_eq!(end.correlation_id().unwrap(), question.correlation_id().unwrap());
        assert_eq!(end.seq().unwrap().unwrap(), question.seq().unwrap().unwrap() + 1);
        assert_eq!(end.generation().unwrap().unwrap(), question.generation().unwrap().unwrap() + 1);
        assert!(end.is_last() && end.deadline().unwrap().is_none());
        assert_eq!((end.reply_type(), end.task_inbox()), (Some(ReplyType::StreamResponse), Some("in.box")));
        assert!(body(end).contains("statusUpdate") && body(end).contains(state.as_str()), "{}", body(end));
        assert!(body(end).contains("not answered in time"), "{}", body(end));

        let kept = desk.tasks.get_now("t-1").unwrap();
        assert_eq!((kept.state(), kept.due()), (&state, None));
        assert!(due(&desk.tasks).is_empty());
        assert_eq!(end_unanswered(&mut task, None, ms(9_999)).unwrap(), [], "it is told once");
        let again = repeat_answer(&kept, &kept.turns()[0], None).unwrap();
        assert_eq!(again.seq().unwrap(), question.seq().unwrap(), "the question keeps its number");
    }
}

#[test]
fn a_request_that_does_not_stream_is_told_the_whole_task() {
    let mut single = request("r-1");
    single.streams = false;
    let (mut desk, mut task, question) = asked(Task::new("t-1", "c-1", single, ms(0)).unwrap(), within(1));
    let told = desk.carry(end_unanswered(&mut task, None, ms(9)).unwrap()).unwrap();
    assert_eq!((question.seq().unwrap(), told[0].seq().unwrap()), (Some(1), Some(2)));
    assert_eq!(told[0].reply_type(), Some(ReplyType::Response));
    assert!(body(&told[0]).contains("\"task\":{\"id\":\"t-1\""), "{}", body(&told[0]));
}

#[test]
fn a_late_answer_is_told_that_the_task_is_over_also_before_anybody_ended_it() {
    let (_desk, task, _) = asked(new_task(), within(500).with_unanswered(Unanswered::Cancel));
    let mut early = task.clone();
    early.follow_up(request("r-2"), None, None, ms(500)).unwrap();
    assert_eq!((early.answer_by(), early.due()), (None, None), "what is answered has no deadline");
    let mut late = task.clone();
    let refused = late.follow_up(request("r-2"), None, None, ms(501)).unwrap_err();
    assert_eq!(refused, {
        let mut ended = task.clone();
        end_unanswered(&mut ended, None, ms(501)).unwrap();
        ended.follow_up(request("r-2"), None, None, ms(502)).unwrap_err()
    });
    assert_eq!((refused.code(), refused.reason()), (-32004, "UNSUPPORTED_OPERATION"));
    assert!(matches!(refused, TaskError::Over { state: TaskState::Canceled, .. }));
    assert_eq!(late, task, "what is refused changes nothing");
}

#[test]
fn a_question_waits_as_the_options_say_unless_it_says_otherwise() {
    let ask = |options: WriterOptions, own: Option<QuestionPolicy>| {
        let mut desk = Desk::with(&new_task());
        let (mut writer, actions) = StreamWriter::open(new_task(), options, ms(0)).unwrap();
        desk.carry(actions).unwrap();
        let asked = match own {
            Some(own) => writer.ask_with(TaskState::AuthRequired, "?", own, ms(1)),
            None => writer.ask("?", ms(1)),
        };
        desk.carry(asked.unwrap()).unwrap();
        desk.tasks.get_now("t-1").unwrap().answer_by()
    };
    let usual = WriterOptions::default();
    assert_eq!(ask(usual.clone(), None).unwrap().at(), ms(1) + Duration::from_secs(7 * 86_400));
    let quick = usual.clone().with_question(within(10).with_unanswered(Unanswered::Cancel));
    let by = ask(quick.clone(), None).unwrap();
    assert_eq!((by.at(), by.unanswered), (ms(11), Unanswered::Cancel));
    assert_eq!(ask(quick.clone(), Some(within(20))).unwrap().at(), ms(21));
    assert_eq!(ask(quick, Some(QuestionPolicy::default().with_within(None))), None);
}

#[test]
fn a_task_called_off_or_stored_by_an_earlier_version_has_no_deadline() {
    let (_desk, mut task, _) = asked(new_task(), within(500));
    let stored = task.to_stored();
    task.cancel(ms(2)).unwrap();
    assert_eq!((task.due(), task.has_untold_end()), (None, false));
    assert_eq!(end_unanswered(&mut task, None, ms(9_999)).unwrap(), []);
    let (from, to) = (stored.find(",\"answer_by\"").unwrap(), stored.rfind('}').unwrap());
    let earlier = Task::from_stored(&format!("{}{}", &stored[..from], &stored[to..])).unwrap();
    assert_eq!((earlier.state(), earlier.due()), (&TaskState::InputRequired, None));
}

#[derive(Debug, Clone)]
enum Op {
    /// Time goes on.
    Wait(u64),
    /// A worker looks after the task and dies after so many actions.
    Look(usize),
    /// Two workers read the task as it is, and look after it one after the other.
    Both,
    Answer,
    Ask(u64),
    Cancel,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..40_u64).prop_map(Op::Wait),
        4 => (0..5_usize).prop_map(Op::Look),
        1 => Just(Op::Both),
        2 => Just(Op::Answer),
        3 => (1..60_u64).prop_map(Op::Ask),
        1 => Just(Op::Cancel),
    ]
}

/// Carries out so many of the actions; what is sent counts as one.
fn carry(store: &MemoryTaskStore, actions: Vec<WriterAction>, most: usize, told: &mut Vec<Envelope>) -> bool {
    for action in actions.into_iter().take(most) {
        match action {
            WriterAction::Save { task, expected, .. } => {
                let task = Task::from_stored(&task.to_stored()).unwrap();
                if store.put_now(&task, expected).is_err() {
                    return false;
                }
            }
            WriterAction::Send(reply) => told.push(reply),
            other => panic!("{other:?}"),
        }
    }
    true
}

proptest! {
    #![proptest_config(seeded(600))]

    #[test]
    fn whoever_dies_a_task_ends_exactly_when_nobody_answered_and_that_is_told_under_one_number(
        ops in prop::collection::vec(op(), 0..60)
    ) {
        let store = MemoryTaskStore::new();
        let (mut now, mut turns) = (0_u64, 1);
        let mut told = Vec::new();
        store.put_now(&new_task(), 0).unwrap();
        // Until when the question may be answered that is asked now.
        let mut by: Option<u64> = None;
        let mut over: Option<TaskState> = None;
        for op in ops.into_iter().chain([Op::Wait(100), Op::Look(9)]) {
            let task = store.get_now("t-1").unwrap();
            let late = by.is_some_and(|by| now >= by);
            match op {
                Op::Wait(millis) => now += millis,
                Op::Look(most) => {
                    let mut seen = task.clone();
                    let actions = end_unanswered(&mut seen, None, ms(now)).unwrap();
                    prop_assert!(late || over.is_some() || actions.is_empty(), "it ends nothing early");
                    if late && over.is_none() && most > 0 {
                        over = Some(TaskState::Failed);
                    }
                    carry(&store, actions, most, &mut told);
                }
                Op::Both => {
                    let (mut one, mut two) = (task.clone(), task.clone());
                    let first = end_unanswered(&mut one, None, ms(now)).unwrap();
                    let second = end_unanswered(&mut two, None, ms(now)).unwrap();
                    let fresh = late && over.is_none();
                    if fresh {
                        over = Some(TaskState::Failed);
                    }
                    let before = told.len();
                    carry(&store, first, 9, &mut told);
                    let second = carry(&store, second, 9, &mut told);
                    prop_assert!(!fresh || (!second && told.len() == before + 1), "one of them gets through");
                }
                Op::Answer => {
                    let mut seen = task.clone();
                    turns += 1;
                    let taken = seen.follow_up(request(&format!("r-{turns}")), None, None, ms(now));
                    let asks = over.is_none() && by.is_some();
                    prop_assert_eq!(taken.is_ok(), asks && !late, "at {} by {:?}", now, by);
                    if taken.is_ok() {
                        by = None;
                        store.put_now(&seen, task.generation()).unwrap();
                    } else if late || over.is_some() {
                        let over_by = matches!(taken, Err(TaskError::Over { .. }));
                        prop_assert!(over_by);
                    }
                }
                Op::Ask(millis) => {
                    if over.is_none() && by.is_none() {
                        let opened = StreamWriter::open(task, WriterOptions::default(), ms(now));
                        let (mut writer, actions) = opened.unwrap();
                        let mut asked = Vec::new();
                        carry(&store, actions, 9, &mut asked);
                        let question = TaskState::InputRequired;
                        let actions = writer.ask_with(question, "?", within(millis), ms(now)).unwrap();
                        carry(&store, actions, 9, &mut asked);
                        by = Some(now + millis);
                    }
                }
                Op::Cancel => {
                    let mut seen = task.clone();
                    if seen.cancel(ms(now)).is_ok() {
                        over = Some(TaskState::Canceled);
                        by = None;
                        store.put_now(&seen, task.generation()).unwrap();
                    }
                }
            }
            let task = store.get_now("t-1").unwrap();
            prop_assert_eq!(task.state().is_terminal(), over.is_some());
            if let Some(state) = &over {
                prop_assert_eq!(task.state(), state);
            }
        }
        // Whoever looked last lived long enough: nothing is left to be seen to.
        let task = store.get_now("t-1").unwrap();
        prop_assert_eq!(task.due(), None);
        prop_assert_eq!(!told.is_empty(), over == Some(TaskState::Failed), "it is told if and only if it ended so");
        prop_assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "however often, it is the same reply");
    }
}

#[test]
fn a_store_gives_what_is_due_in_order_and_no_more_than_is_asked_for() {
    let store = MemoryTaskStore::new();
    for (id, millis) in [("late", 900), ("soon", 100), ("next", 500)] {
        let task = Task::new(id, "c", request(id), ms(0)).unwrap();
        let (mut writer, _) = StreamWriter::open(task, WriterOptions::default(), ms(0)).unwrap();
        writer.ask_with(TaskState::InputRequired, "?", within(millis), ms(0)).unwrap();
        store.put_now(&writer.into_task(), 0).unwrap();
    }
    store.put_now(&new_task(), 0).unwrap();
    let ids = due(&store);
    let expected = [("soon", 100), ("next", 500), ("late", 900)];
    assert_eq!(ids, expected.map(|(id, at)| (id.to_owned(), ms(at))));
    let mut two = store.due_tasks(2);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(two)) = two.as_mut().poll(&mut context) else { panic!("at once") };
    assert_eq!(two, ids[..2]);
}
