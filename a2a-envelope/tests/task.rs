//! Tasks: what they allow, what a store keeps of them, and who may change them.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::collections::BTreeMap;

use a2a_envelope::task::{
    Artifact, Event, MemoryTaskStore, Next, Task, TaskError, TaskState, TaskStore, TaskText, Waiting,
};
use a2a_envelope::{JsonText, Limits};
use flow::{message, ms, new_task, request};
use proptest::prelude::*;
use support::seeded;

fn ask(question: &str) -> Event {
    Event::status_with(TaskState::InputRequired, message("q", question))
}

/// The task as another process reads it.
fn reloaded(task: &Task) -> Task {
    Task::from_stored(&task.to_stored()).unwrap()
}

fn ready<T>(future: a2a_envelope::task::StoreFuture<'_, T>) -> Result<T, TaskError> {
    let mut future = future;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("a store in memory waits for nothing"),
    }
}

#[test]
fn a_parked_task_goes_on_in_another_worker_with_its_context_and_what_it_had_made() {
    let mut task = new_task();
    task.apply(&Event::artifact(Artifact::new("draft").with_text("half")), ms(1)).unwrap();
    let asked_at = task.apply(&ask("which half?"), ms(2)).unwrap();
    assert!(task.open_turn().is_none(), "the request is answered with the question");

    let mut elsewhere = reloaded(&task);
    assert_eq!(elsewhere, task);
    elsewhere.follow_up(request("r-2"), Some("c-1"), Some(asked_at), ms(3)).unwrap();
    assert_eq!((elsewhere.id(), elsewhere.context_id()), ("t-1", "c-1"));
    assert_eq!(elsewhere.state(), &TaskState::Working);
    assert_eq!(elsewhere.artifacts()[0].text(), "half");
    assert_eq!(elsewhere.turns()[0].answer, Some(message("q", "which half?")));
    assert_eq!(elsewhere.open_turn().unwrap().request.correlation, "r-2");
}

#[test]
fn of_two_answers_to_one_question_the_second_is_refused_as_stale() {
    let store = MemoryTaskStore::new();
    let mut task = new_task();
    store.put_now(&task, 0).unwrap();
    let before = task.generation();
    task.apply(&ask("?"), ms(1)).unwrap();
    store.put_now(&task, before).unwrap();

    let (mut one, mut two) = (store.get_now("t-1").unwrap(), store.get_now("t-1").unwrap());
    let asked = one.generation();
    one.follow_up(request("a"), None, None, ms(2)).unwrap();
    two.follow_up(request("b"), None, None, ms(2)).unwrap();
    store.put_now(&one, asked).unwrap();
    let refused = store.put_now(&two, asked).unwrap_err();
    assert!(
        matches!(refused, TaskError::Stale { expected, found, .. } if (expected, found) == (asked, asked + 1))
    );
    assert_eq!((refused.code(), refused.reason()), (-32010, "TASK_GENERATION_MISMATCH"));
    assert_eq!(store.get_now("t-1").unwrap(), one);
    store.put_now(&one, asked).expect("repeating what was done is done");
}

#[test]
fn a_change_that_counts_nothing_up_cannot_be_stored() {
    let store = MemoryTaskStore::new();
    let task = new_task();
    store.put_now(&task, 0).unwrap();
    // Two writers that replace one generation by itself would both get through.
    let other = Task::new("t-1", "c-1", request("another"), ms(0)).unwrap();
    assert!(matches!(store.put_now(&other, 1), Err(TaskError::Stale { expected: 1, found: 1, .. })));
    assert!(matches!(store.put_now(&other, 0), Err(TaskError::Stale { expected: 0, found: 1, .. })));
    let unknown = Task::new("t-2", "c", request("x"), ms(0)).unwrap();
    assert!(matches!(store.put_now(&unknown, 1), Err(TaskError::Stale { found: 0, .. })));
    assert_eq!(store.get_now("t-1"), Some(task));
}

#[test]
fn a_follow_up_is_refused_where_nothing_asks_for_it() {
    let mut task = new_task();
    assert!(matches!(task.follow_up(request("x"), None, None, ms(1)), Err(TaskError::Busy { .. })));
    task.apply(&ask("?"), ms(1)).unwrap();
    let parked = task.clone();
    assert_eq!(task.follow_up(request("x"), Some("c-2"), None, ms(2)), Err(TaskError::OtherContext));
    assert!(matches!(task.follow_up(request("x"), None, Some(1), ms(2)), Err(TaskError::Stale { .. })));
    assert_eq!(task, parked, "what is refused changes nothing");
    task.cancel(ms(3)).unwrap();
    let refused = task.follow_up(request("x"), None, None, ms(4)).unwrap_err();
    assert_eq!(refused.code(), -32004);
    assert_eq!(task.cancel(ms(5)).unwrap_err().code(), -32002);
}

#[test]
fn a_task_in_an_unknown_state_goes_on() {
    let mut task = new_task();
    let paused = TaskState::parse("TASK_STATE_PAUSED");
    task.apply(&Event::status(paused.clone()), ms(1)).unwrap();
    assert!(task.to_json().as_str().contains("\"TASK_STATE_PAUSED\""));
    let mut task = reloaded(&task);
    assert_eq!(task.state(), &paused);
    task.apply(&Event::status(TaskState::Completed), ms(2)).unwrap();
}

#[test]
fn a_task_is_written_as_an_a2a_object() {
    let mut task = new_task();
    task.apply(&Event::artifact(Artifact::new("a").with_text("x\ny")), ms(1)).unwrap();
    task.apply(&ask("?"), ms(2)).unwrap();
    let said = message("q", "?");
    assert_eq!(
        task.to_json().as_str(),
        format!(
            "{{\"id\":\"t-1\",\"contextId\":\"c-1\",\"status\":{{\"state\":\"TASK_STATE_INPUT_REQUIRED\",\
             \"message\":{said},\"timestamp\":\"2025-11-13T02:13:20.002Z\"}},\"artifacts\":[{{\"artifactId\":\
             \"a\",\"parts\":[{{\"text\":\"x\\ny\"}}]}}],\"history\":[{},{said}]}}",
            message("m-r-1", "go")
        )
    );
    let view = TaskText::parse(task.to_json().as_str().as_bytes(), &Limits::default()).unwrap();
    assert_eq!((view.id.as_str(), view.state.clone()), ("t-1", TaskState::InputRequired));
    assert_eq!(view.artifacts(), task.artifacts());
    assert!(view.with_history_length(1).as_str().ends_with(&format!("\"history\":[{said}]}}")));
    assert!(view.with_history_length(0).as_str().ends_with("\"history\":[]}"));
    assert_eq!(view.with_history_length(9), view.json);
}

#[test]
fn a_full_task_takes_no_more_and_can_still_be_ended() {
    let mut task = new_task();
    let big = Artifact::new("a").with_text(&"x".repeat(1024 * 1024));
    for _ in 0..3 {
        task.apply(&Event::append(big.clone(), false), ms(1)).unwrap();
    }
    let before = task.clone();
    let refused = task.apply(&Event::append(big, false), ms(1)).unwrap_err();
    assert!(matches!(refused, TaskError::TooLarge { .. }), "{refused}");
    assert_eq!(task, before);
    let rest = Task::MAX_BYTES - task.size() - 50;
    task.apply(&Event::append(Artifact::new("a").with_text(&"x".repeat(rest)), false), ms(1)).unwrap();
    task.apply(&Event::status_with(TaskState::Failed, message("m", "it is full")), ms(2)).unwrap();
    assert_eq!(reloaded(&task).size(), task.size());
}

#[test]
fn old_requests_are_forgotten_and_the_task_stays_readable() {
    let mut task = new_task();
    for n in 0..Task::MAX_TURNS + 5 {
        task.apply(&ask("?"), ms(1)).unwrap();
        task.follow_up(request(&format!("f-{n}")), None, None, ms(2)).unwrap();
    }
    assert_eq!(task.turns().len(), Task::MAX_TURNS);
    assert_eq!(reloaded(&task), task);
}

#[test]
fn damaged_and_foreign_records_are_refused_by_name() {
    let good = new_task().to_stored();
    for (text, error) in [
        (String::new(), TaskError::Damaged("no version")),
        ("{}".into(), TaskError::Damaged("no version")),
        ("[]".into(), TaskError::Damaged("no version")),
        (good.replace("\"id\":\"t-1\"", "\"id\":7"), TaskError::Damaged("a member is missing or wrong")),
        (good.replace("\"id\":\"t-1\"", "\"id\":\"\""), TaskError::Damaged("a value is out of range")),
        (good.replace("\"generation\":1", "\"generation\":0"), TaskError::Damaged("a value is out of range")),
        (
            good.replace("\"generation\":1", "\"generation\":18446744073709551615"),
            TaskError::Damaged("a number is out of range"),
        ),
        (good[..good.len() / 2].into(), TaskError::Damaged("no version")),
    ] {
        assert_eq!(Task::from_stored(&text), Err(error), "{text}");
    }
    let refused = Task::from_stored(&good.replace("{\"v\":1", "{\"v\":2")).unwrap_err();
    assert!(matches!(refused, TaskError::Version { found: 2, known: 1, .. }));
    assert!(Task::from_stored(&good.replace("{\"v\":1", "{\"v\":1,\"later\":[]")).is_ok());
}

#[test]
fn ids_that_no_header_carries_are_refused() {
    for bad in ["", " t", "t ", "a\nb", &"x".repeat(257)] {
        assert_eq!(Task::new(bad, "c", request("r"), ms(0)), Err(TaskError::Id), "{bad:?}");
        assert_eq!(Task::new("t", bad, request("r"), ms(0)), Err(TaskError::Id), "{bad:?}");
    }
}

#[test]
fn neither_messages_nor_addresses_are_printed() {
    let request = request("r-1").with_reply_to("secretbox");
    let mut task = Task::new("t", "c", request, ms(0)).unwrap();
    task.apply(&ask("secretquestion"), ms(1)).unwrap();
    let printed = format!("{task:?}");
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn a_full_store_forgets_what_is_over_and_never_what_waits() {
    let store = MemoryTaskStore::with_max_tasks(2);
    let task = |id: &str, state: TaskState, at: u64| {
        let mut task = Task::new(id, "c", request(id), ms(0)).unwrap();
        task.apply(&Event::status(state), ms(at)).unwrap();
        task
    };
    store.put_now(&task("over", TaskState::Completed, 1), 0).unwrap();
    store.put_now(&task("parked", TaskState::InputRequired, 0), 0).unwrap();
    store.put_now(&task("new", TaskState::Working, 5), 0).unwrap();
    assert!(store.get_now("over").is_none() && store.get_now("parked").is_some());
    assert_eq!(
        store.put_now(&task("more", TaskState::Working, 5), 0).unwrap_err().to_string(),
        "2 tasks are stored and no more fit"
    );
    let open: Vec<_> = ready(store.open_tasks()).unwrap().iter().map(|task| task.id().to_owned()).collect();
    assert_eq!(open, ["new"], "the parked one waits for its caller, not for a worker");
    ready(store.remove("new")).unwrap();
    assert_eq!(ready(store.get("new")), Ok(None));
}

#[test]
fn a_cancel_passes_the_messages_that_wait_and_they_are_refused_after_it() {
    let mut task = new_task();
    let mut waiting = Waiting::new(2);
    waiting.message("one", &task).unwrap();
    waiting.message("two", &task).unwrap();
    assert!(matches!(waiting.message("three", &task), Err(("three", TaskError::Busy { .. }))));
    assert_eq!(waiting.next(&task), None, "it works, and asks nothing");
    waiting.cancel("stop", &task).unwrap();
    assert!(waiting.cancel("again", &task).is_err());
    assert!(waiting.message("late", &task).is_err());
    assert_eq!(waiting.next(&task), Some(Next::Cancel("stop")));
    task.cancel(ms(1)).unwrap();
    for expected in ["one", "two"] {
        assert!(
            matches!(waiting.next(&task), Some(Next::Refuse(got, TaskError::Over { .. })) if got == expected)
        );
    }
    assert!(waiting.next(&task).is_none() && waiting.is_empty());
}

#[test]
fn a_message_that_waits_is_the_next_turn() {
    let mut task = new_task();
    let mut waiting = Waiting::new(2);
    waiting.message("one", &task).unwrap();
    task.apply(&ask("?"), ms(1)).unwrap();
    assert_eq!(waiting.next(&task), Some(Next::Message("one")));
}

#[derive(Debug, Clone)]
enum Op {
    Status(TaskState),
    Artifact(u8, bool, String),
    FollowUp,
    Cancel,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let states = ["working", "input-required", "auth-required", "completed", "failed", "submitted", "odd"];
    prop_oneof![
        4 => prop::sample::select(states.to_vec()).prop_map(|state| Op::Status(TaskState::parse(state))),
        4 => (0..3_u8, any::<bool>(), "[a-z]{0,4}").prop_map(|(id, append, text)| Op::Artifact(id, append, text)),
        3 => Just(Op::FollowUp),
        1 => Just(Op::Cancel),
        2 => Just(Op::Reload),
    ]
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn a_task_does_what_a_simple_model_does_through_any_reload(ops in prop::collection::vec(op(), 0..40)) {
        let mut task = new_task();
        let (mut state, mut open, mut generation) = (TaskState::Submitted, true, 1);
        let mut texts: BTreeMap<u8, String> = BTreeMap::new();
        for op in ops {
            let before = task.clone();
            let done = match &op {
                Op::Status(next) => {
                    let legal = state.may_become(next);
                    prop_assert_eq!(task.apply(&Event::status(next.clone()), ms(1)).is_ok(), legal);
                    if legal {
                        state = next.clone();
                        open &= !state.ends_request();
                    }
                    legal
                }
                Op::Artifact(id, append, text) => {
                    let artifact = Artifact::new(id.to_string()).with_text(text);
                    let event = if *append { Event::append(artifact, false) } else { Event::artifact(artifact) };
                    let legal = !state.is_terminal();
                    prop_assert_eq!(task.apply(&event, ms(1)).is_ok(), legal);
                    if legal {
                        let held = texts.entry(*id).or_default();
                        if !append {
                            held.clear();
                        }
                        held.push_str(text);
                    }
                    legal
                }
                Op::FollowUp => {
                    let busy = matches!(state, TaskState::Working | TaskState::Submitted);
                    let legal = !open && !state.is_terminal() && !busy;
                    prop_assert_eq!(task.follow_up(request("f"), None, None, ms(1)).is_ok(), legal);
                    if legal {
                        (state, open) = (TaskState::Working, true);
                    }
                    legal
                }
                Op::Cancel => {
                    let legal = !state.is_terminal();
                    prop_assert_eq!(task.cancel(ms(1)).is_ok(), legal);
                    if legal {
                        (state, open) = (TaskState::Canceled, false);
                    }
                    legal
                }
                Op::Reload => {
                    task = reloaded(&task);
                    prop_assert_eq!(&task, &before);
                    false
                }
            };
            generation += u64::from(done);
            prop_assert!(done || task == before, "what is refused changes nothing");
            prop_assert_eq!(task.generation(), generation);
            prop_assert_eq!(task.state(), &state);
            prop_assert_eq!(task.open_turn().is_some(), open);
            let mut held: Vec<_> = task.artifacts().iter().map(|a| (a.id.clone(), a.text())).collect();
            held.sort();
            let model: Vec<_> = texts.iter().map(|(id, text)| (id.to_string(), text.clone())).collect();
            prop_assert_eq!(held, model);
            prop_assert!(JsonText::new(task.to_json().as_str()).is_ok());
        }
    }

    #[test]
    fn no_text_from_a_store_panics(text in support::json_text(), at in 0..400_usize, byte in any::<u8>()) {
        let _ = Task::from_stored(&text);
        let mut damaged = new_task().to_stored().into_bytes();
        let at = at % damaged.len();
        damaged[at] = byte;
        if let Ok(damaged) = String::from_utf8(damaged) {
            let _ = Task::from_stored(&damaged);
        }
    }

    #[test]
    fn an_event_reads_back_from_what_it_writes(text in "[a-zé\"\\\\]{0,9}", append in any::<bool>(), last_chunk in any::<bool>()) {
        let artifact = Artifact::new(format!("a{text}")).with_text(&text);
        let mut whole = Event::append(artifact.clone(), last_chunk);
        if !append {
            whole = Event::artifact(artifact);
        }
        for event in [whole, ask("q"), Event::status(TaskState::Working), Event::Message(message("m", "t"))] {
            let written = event.to_stream_response("t", "c");
            prop_assert_eq!(Event::parse(written.as_str().as_bytes(), &Limits::default()).unwrap(), event.clone());
            let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{written}}}");
            prop_assert_eq!(Event::parse(reply.as_bytes(), &Limits::default()).unwrap(), event);
        }
    }

    #[test]
    fn no_body_makes_reading_an_event_panic(text in support::json_text()) {
        let _ = Event::parse(text.as_bytes(), &Limits::default());
        for name in ["result", "task", "statusUpdate", "artifactUpdate", "artifact", "status"] {
            let _ = Event::parse(format!("{{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"{name}\":{text}}}").as_bytes(), &Limits::default());
        }
    }
}

#[test]
fn events_of_older_versions_are_the_same_events() {
    let status = Event::status(TaskState::InputRequired);
    for text in [
        r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"input-required"},"final":true}"#,
        r#"{"id":"t","status":{"state":"input-required"},"final":true}"#,
        r#"{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED"}}"#,
        r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":6}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"statusUpdate":{"status":{"state":"INPUT_REQUIRED"}}}}"#,
    ] {
        assert_eq!(Event::parse(text.as_bytes(), &Limits::default()), Ok(status.clone()), "{text}");
    }
    let chunk = Event::append(Artifact::new("a").with_text("x"), true);
    for text in [
        r#"{"kind":"artifact-update","artifact":{"artifactId":"a","parts":[{"text":"x"}]},"append":true,"lastChunk":true}"#,
        r#"{"id":"t","artifact":{"artifactId":"a","parts":[{"text":"x"}],"append":true,"lastChunk":true}}"#,
    ] {
        assert_eq!(Event::parse(text.as_bytes(), &Limits::default()), Ok(chunk.clone()), "{text}");
    }
    for (text, id) in [
        (r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"working"}}"#, "c"),
        (r#"{"id":"t","sessionId":"s","status":{"state":"working"},"history":[]}"#, "s"),
        (r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#, "c"),
    ] {
        let Ok(Event::Task(task)) = Event::parse(text.as_bytes(), &Limits::default()) else {
            panic!("{text}")
        };
        assert_eq!((task.id.as_str(), task.context_id.as_deref()), ("t", Some(id)));
        assert_eq!(task.state, TaskState::Working);
    }
    let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"gone"}}"#;
    let Ok(Event::Failure { code, message, .. }) = Event::parse(error, &Limits::default()) else { panic!() };
    assert_eq!((code, message.as_str()), (-32001, "gone"));
}
