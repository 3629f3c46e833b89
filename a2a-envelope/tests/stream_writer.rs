//! What a writer sends and saves, and when.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::time::Duration;

use a2a_envelope::stream::{
    Coalesce, Line, Snapshot, StreamError, StreamWriter, WriterAction, WriterOptions, repeat_answer,
    subscribed_while_idle,
};
use a2a_envelope::task::{Artifact, Event, Task, TaskError, TaskRequest, TaskState};
use a2a_envelope::{Envelope, JsonText, Limits, ReplyType};
use flow::{Desk, body, correlation, message, ms, new_task, numbers, request};
use proptest::prelude::*;
use support::seeded;

fn open(options: WriterOptions) -> (StreamWriter, Desk) {
    let task = new_task();
    let mut desk = Desk::with(&task);
    let (writer, actions) = StreamWriter::open(task, options, ms(0)).unwrap();
    assert_eq!(desk.carry(actions).unwrap(), []);
    (writer, desk)
}

fn single() -> Task {
    let request = TaskRequest::new(&correlation("r-1"), message("m-1", "go"));
    Task::new("t-1", "c-1", request, ms(0)).unwrap()
}

#[test]
fn a_stream_begins_with_the_task_and_every_reply_has_its_number_and_generation() {
    let (mut writer, mut desk) = open(WriterOptions::default().with_task_inbox("worker1"));
    let mut sent = desk
        .carry(writer.event(&Event::artifact(Artifact::new("a").with_text("x")), ms(1)).unwrap())
        .unwrap();
    sent.extend(desk.carry(writer.complete(ms(2)).unwrap()).unwrap());
    assert_eq!(numbers(&sent), [(1, 2), (2, 3), (3, 4)]);
    assert_eq!(sent.iter().map(Envelope::is_last).collect::<Vec<_>>(), [false, false, true]);
    for envelope in &sent {
        envelope.validate(&Limits::default()).unwrap();
        assert_eq!(envelope.correlation_id().unwrap().unwrap().as_str(), "r-1");
        assert_eq!(envelope.reply_type(), Some(ReplyType::StreamResponse));
        assert_eq!((envelope.task_id(), envelope.context_id()), (Some("t-1"), Some("c-1")));
        assert_eq!(envelope.task_inbox(), Some("worker1"));
    }
    assert!(body(&sent[0]).starts_with(r#"{"jsonrpc":"2.0","id":"r-1","result":{"task":{"id":"t-1""#));
    assert_eq!(
        body(&sent[2]),
        "{\"jsonrpc\":\"2.0\",\"id\":\"r-1\",\"result\":{\"statusUpdate\":{\"taskId\":\"t-1\",\
         \"contextId\":\"c-1\",\"status\":{\"state\":\"TASK_STATE_COMPLETED\"}}}}"
    );
}

#[test]
fn text_is_gathered_for_50_ms_or_4_kib() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    for n in 0..10 {
        assert_eq!(desk.carry(writer.text("a", "token ", ms(n)).unwrap()).unwrap(), []);
    }
    assert_eq!(writer.next_deadline(), Some(ms(50)));
    assert_eq!(writer.poll(ms(49)).unwrap(), []);
    let sent = desk.carry(writer.poll(ms(50)).unwrap()).unwrap();
    assert_eq!(sent.len(), 2, "the task and one chunk");
    assert!(body(&sent[1]).contains(&format!("[{{\"text\":\"{}\"}}]", "token ".repeat(10))));
    assert!(!body(&sent[1]).contains("append"), "the first chunk begins the artifact");

    writer.text("a", &"x".repeat(4_000), ms(51)).unwrap();
    let sent = desk.carry(writer.text("a", &"y".repeat(100), ms(51)).unwrap()).unwrap();
    assert_eq!(sent.len(), 1);
    assert!(body(&sent[0]).contains("\"append\":true") && !body(&sent[0]).contains('y'));
    let sent = desk.carry(writer.text("a", &"z".repeat(9_000), ms(52)).unwrap()).unwrap();
    assert_eq!(sent.len(), 2, "what was gathered, and the long piece by itself");
}

#[test]
fn gathering_can_be_switched_off() {
    let (mut writer, mut desk) = open(WriterOptions::default().with_coalesce(Coalesce::OFF));
    for n in 0..5 {
        let sent = desk.carry(writer.text("a", "t", ms(n)).unwrap()).unwrap();
        assert_eq!(sent.len(), if n == 0 { 2 } else { 1 });
    }
}

#[test]
fn an_event_sends_first_what_was_gathered_before_it() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    writer.text("a", "one", ms(1)).unwrap();
    let mut sent = desk.carry(writer.text("b", "two", ms(1)).unwrap()).unwrap();
    sent.extend(desk.carry(writer.complete(ms(1)).unwrap()).unwrap());
    let order: Vec<_> = ["\"task\"", "one", "two", "COMPLETED"]
        .iter()
        .map(|word| sent.iter().position(|envelope| body(envelope).contains(word)).unwrap())
        .collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn the_end_is_marked_once_and_nothing_follows_it() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    let sent = desk.carry(writer.fail("no model", ms(1)).unwrap()).unwrap();
    assert_eq!(sent.iter().filter(|envelope| envelope.is_last()).count(), 1);
    assert!(writer.has_ended() && writer.next_deadline().is_none());
    assert_eq!(writer.text("a", "late", ms(2)), Err(StreamError::Ended));
    assert_eq!(writer.complete(ms(2)), Err(StreamError::Ended));
    assert_eq!(writer.poll(ms(99_999)), Ok(vec![]));
    assert_eq!(desk.tasks.get_now("t-1").unwrap().state(), &TaskState::Failed);
}

#[test]
fn a_question_ends_the_request_and_parks_the_task() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    let sent = desk.carry(writer.ask("which one?", ms(1)).unwrap()).unwrap();
    assert!(sent.last().unwrap().is_last());
    let mut task = desk.tasks.get_now("t-1").unwrap();
    assert_eq!(task.state(), &TaskState::InputRequired);
    assert!(task.message().unwrap().as_str().contains("which one?"));

    let asked = task.generation();
    task.follow_up(request("r-2"), Some("c-1"), Some(asked), ms(5)).unwrap();
    desk.tasks.put_now(&task, asked).unwrap();
    let (mut writer, actions) = StreamWriter::open(task, WriterOptions::default(), ms(6)).unwrap();
    desk.carry(actions).unwrap();
    let sent = desk.carry(writer.complete(ms(7)).unwrap()).unwrap();
    assert_eq!(sent[0].correlation_id().unwrap().unwrap().as_str(), "r-2");
    assert_eq!(numbers(&sent), [(1, asked + 2), (2, asked + 3)], "numbers begin anew, generations go on");
}

#[test]
fn a_lone_message_is_the_whole_answer() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    let said = message("m-9", "hello");
    let sent = desk.carry(writer.event(&Event::Message(said.clone()), ms(1)).unwrap()).unwrap();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].is_last() && sent[0].task_id().is_none());
    assert_eq!(
        body(&sent[0]),
        format!("{{\"jsonrpc\":\"2.0\",\"id\":\"r-1\",\"result\":{{\"message\":{said}}}}}")
    );
    let task = desk.tasks.get_now("t-1").unwrap();
    assert_eq!(repeat_answer(&task, &task.turns()[0], None).unwrap(), sent[0]);
}

#[test]
fn a_request_that_does_not_stream_gets_one_reply() {
    let task = single();
    let mut desk = Desk::with(&task);
    let (mut writer, actions) = StreamWriter::open(task, WriterOptions::default(), ms(0)).unwrap();
    assert_eq!(desk.carry(actions).unwrap(), []);
    assert_eq!(desk.carry(writer.text("a", "x", ms(1)).unwrap()).unwrap(), []);
    assert_eq!(desk.carry(writer.poll(ms(60_000)).unwrap()).unwrap(), []);
    let sent = desk.carry(writer.complete(ms(60_001)).unwrap()).unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].reply_type(), sent[0].is_last()), (Some(ReplyType::Response), true));
    assert_eq!(numbers(&sent), [(1, 4)]);
    assert!(
        body(&sent[0]).contains("{\"task\":{\"id\":\"t-1\"") && body(&sent[0]).contains("{\"text\":\"x\"}")
    );
    let task = desk.tasks.get_now("t-1").unwrap();
    assert_eq!(repeat_answer(&task, &task.turns()[0], None).unwrap().body, sent[0].body);
}

#[test]
fn the_task_is_saved_before_its_caller_reads_a_state_and_every_250_ms_between() {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let (mut writer, mut desk) = open(options);
    assert_eq!(desk.saves, 1);
    for n in 1..250 {
        desk.carry(writer.text("a", "t", ms(n)).unwrap()).unwrap();
    }
    let by_numbers = desk.saves;
    assert!(by_numbers <= 5, "64 numbers are reserved with each save: {by_numbers}");
    for n in 0..10 {
        writer.text("a", "t", ms(1_000 + n)).map(|actions| desk.carry(actions)).unwrap().unwrap();
    }
    assert_eq!(desk.saves, by_numbers + 1);
    assert_eq!(writer.next_deadline(), Some(ms(1_250)));
    desk.carry(writer.poll(ms(1_250)).unwrap()).unwrap();
    assert_eq!(desk.tasks.get_now("t-1").unwrap(), *writer.task());

    let working = writer.event(&Event::status(TaskState::Working), ms(1_251)).unwrap();
    assert!(matches!(&working[0], WriterAction::Save { .. }) && matches!(&working[1], WriterAction::Send(_)));
    let chunk = writer.end_text("a", ms(1_252)).unwrap();
    assert!(matches!(&chunk[0], WriterAction::Save { .. }), "a last chunk is saved at once");
}

#[test]
fn a_caller_is_told_of_a_task_that_says_nothing_for_long() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    assert_eq!(writer.next_deadline(), Some(ms(500)));
    let sent = desk.carry(writer.poll(ms(500)).unwrap()).unwrap();
    assert_eq!(sent.len(), 1);
    assert!(body(&sent[0]).contains("\"task\""));
    assert_eq!(writer.next_deadline(), None);
}

#[test]
fn the_intervals_of_saving_and_announcing_can_be_set() {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let options =
        options.with_save_every(Duration::from_millis(900)).with_announce_after(Duration::from_millis(30));
    let (mut writer, mut desk) = open(options);
    assert_eq!(writer.next_deadline(), Some(ms(30)));
    assert_eq!(desk.carry(writer.poll(ms(30)).unwrap()).unwrap().len(), 1);
    let saved = desk.saves;
    desk.carry(writer.text("a", "t", ms(40)).unwrap()).unwrap();
    desk.carry(writer.text("a", "t", ms(899)).unwrap()).unwrap();
    assert_eq!((writer.next_deadline(), desk.saves), (Some(ms(900)), saved));
    desk.carry(writer.poll(ms(900)).unwrap()).unwrap();
    assert_eq!(desk.saves, saved + 1);
}

#[test]
fn a_worker_that_takes_over_uses_no_number_again_and_keeps_the_first_one_out() {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF).with_reserve(3);
    let (mut first, mut desk) = open(options.clone());
    let mut sent = Vec::new();
    for n in 0..11 {
        sent.extend(desk.carry(first.text("a", "t", ms(n)).unwrap()).unwrap());
    }
    let stored = Task::from_stored(&desk.tasks.get_now("t-1").unwrap().to_stored()).unwrap();
    let (mut second, actions) = StreamWriter::open(stored, options, ms(20)).unwrap();
    let later = desk.carry(actions).unwrap();
    let (used, begins) = (numbers(&sent), numbers(&later));
    assert!(used.iter().all(|used| used.0 < begins[0].0 && used.1 < begins[0].1), "{used:?} {begins:?}");
    assert!(body(&later[0]).contains("\"task\""), "it begins with the whole task");

    let late = first.complete(ms(21)).unwrap();
    assert!(matches!(desk.carry(late), Err(TaskError::Stale { .. })));
    first.lost();
    assert_eq!(first.complete(ms(22)), Err(StreamError::Ended));
    let sent = desk.carry(second.text("a", "anew", ms(23)).unwrap()).unwrap();
    assert!(!body(&sent[0]).contains("append"), "an artifact is begun anew");
    desk.carry(second.complete(ms(24)).unwrap()).unwrap();
    assert_eq!(desk.tasks.get_now("t-1").unwrap().artifacts()[0].text(), "anew");
}

#[test]
fn events_in_their_authors_bytes_go_out_unchanged() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    let event = r#"{"artifactUpdate":{"x-new":1.50,"taskId":"t-1","contextId":"c-1","artifact":{"artifactId":"a","parts":[{"text":"y", "z":1e400}]}}}"#;
    let sent = desk.carry(writer.event_bytes(event.as_bytes(), ms(1)).unwrap()).unwrap();
    assert_eq!(body(&sent[1]), format!("{{\"jsonrpc\":\"2.0\",\"id\":\"r-1\",\"result\":{event}}}"));
    assert_eq!(writer.task().artifacts()[0].parts[0].as_str(), r#"{"text":"y", "z":1e400}"#);
    for bad in ["", "7", "{\"statusUpdate\":{}}", "{\"artifactUpdate\":{\"artifact\":{}}}"] {
        assert!(matches!(writer.event_bytes(bad.as_bytes(), ms(2)), Err(StreamError::Envelope(_))), "{bad}");
    }
    writer.event_bytes(br#"{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}"#, ms(3)).unwrap();
}

#[test]
fn what_a_refused_event_had_flushed_is_not_lost() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    writer.text("a", "kept", ms(1)).unwrap();
    let refused = writer.event(&Event::status(TaskState::Submitted), ms(2)).unwrap_err();
    assert!(matches!(refused, StreamError::Task(TaskError::Transition { .. })), "{refused}");
    assert_eq!(writer.next_deadline(), Some(Duration::ZERO));
    let sent = desk.carry(writer.poll(ms(2)).unwrap()).unwrap();
    assert_eq!(numbers(&sent), [(1, 2), (2, 3)]);
    assert!(body(&sent[1]).contains("kept"));
}

#[test]
fn one_who_subscribes_gets_what_came_after_or_the_whole_task_and_then_all_that_follows() {
    let options = WriterOptions::default()
        .with_coalesce(Coalesce::OFF)
        .with_retained(3, 10_000)
        .with_max_subscribers(2);
    let (mut writer, mut desk) = open(options);
    for n in 0..4 {
        desk.carry(writer.text("a", "t", ms(n)).unwrap()).unwrap();
    }
    let line = |id: &str| Line::new(correlation(id), JsonText::string(id));
    let sent = desk.carry(writer.subscribe(line("s-1"), Some(4)).unwrap()).unwrap();
    assert_eq!(numbers(&sent), [(1, 5), (2, 6)], "generations 5 and 6 are retained");
    let sent = desk.carry(writer.subscribe(line("s-2"), Some(2)).unwrap()).unwrap();
    assert_eq!(numbers(&sent), [(1, 6)], "generation 3 was let go");
    assert!(body(&sent[0]).contains("\"task\""));
    assert!(matches!(
        writer.subscribe(line("s-3"), None),
        Err(StreamError::TooManySubscribers { count: 2, .. })
    ));
    let sent = desk.carry(writer.complete(ms(9)).unwrap()).unwrap();
    let mut ends: Vec<_> = sent
        .iter()
        .map(|e| (e.correlation_id().unwrap().unwrap().to_string(), e.seq().unwrap(), e.is_last()))
        .collect();
    ends.sort();
    assert_eq!(
        ends,
        [("r-1".into(), Some(6), true), ("s-1".into(), Some(3), true), ("s-2".into(), Some(2), true)]
    );
}

#[test]
fn a_generation_from_the_future_gets_the_whole_task() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    let line = Line::new(correlation("s"), JsonText::string("s"));
    let sent = desk.carry(writer.subscribe(line, Some(u64::MAX)).unwrap()).unwrap();
    assert!(body(&sent[0]).contains("\"task\""));
}

#[test]
fn get_task_is_answered_from_the_snapshot_alone() {
    let (mut writer, mut desk) = open(WriterOptions::default());
    writer.text("a", "x", ms(1)).unwrap();
    desk.carry(writer.ask("?", ms(2)).unwrap()).unwrap();
    let published = Snapshot::of(&desk.tasks.get_now("t-1").unwrap()).unwrap();
    assert_eq!(Snapshot::key("t-1"), "task.t-1");
    assert_eq!(published.header("mq9-a2a-type"), Some("Task"));
    let snapshot = Snapshot::read(&published, &Limits::default()).unwrap();
    let get = |id: &str, more: &str| {
        Envelope::new(format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{{"id":"{id}"{more}}}}}"#
        ))
    };
    let answer = snapshot.answer(&get("t-1", ""), &Limits::default()).unwrap();
    let task = published.body_text().unwrap();
    assert_eq!(body(&answer), format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{task}}}"));
    assert_eq!((answer.is_last(), answer.generation()), (true, Ok(Some(snapshot.generation))));
    let short = snapshot.answer(&get("t-1", ",\"historyLength\":0"), &Limits::default()).unwrap();
    assert!(body(&short).contains("\"history\":[]"));
    let other = snapshot.answer(&get("t-2", ""), &Limits::default()).unwrap();
    assert_eq!(other.reply_type(), Some(ReplyType::Error));
    assert!(body(&other).contains("-32001"));
    for bad in ["{}", r#"{"jsonrpc":"2.0","id":1,"params":{}}"#, r#"{"jsonrpc":"2.0","id":null}"#, "x"] {
        assert!(snapshot.answer(&Envelope::new(bad), &Limits::default()).is_err(), "{bad}");
    }
}

#[test]
fn a_subscription_to_a_task_that_nobody_works_on_gets_it_and_the_end() {
    let mut task = new_task();
    task.apply(&Event::status(TaskState::InputRequired), ms(1)).unwrap();
    let mut line = Line::new(correlation("s"), JsonText::string("s"));
    let sent = subscribed_while_idle(&task, &mut line).unwrap();
    assert_eq!(
        sent.iter().map(|e| e.reply_type().unwrap()).collect::<Vec<_>>(),
        [ReplyType::StreamResponse, ReplyType::End]
    );
    assert!(!sent[0].is_last() && sent[1].is_last());
    task.cancel(ms(2)).unwrap();
    let sent = subscribed_while_idle(&task, &mut Line::new(correlation("s"), JsonText::string("s"))).unwrap();
    assert!(sent.len() == 1 && body(&sent[0]).contains("-32004"));
}

#[test]
fn what_cannot_be_carried_is_refused_at_the_start() {
    let bad = StreamWriter::open(new_task(), WriterOptions::default().with_task_inbox("a b"), ms(0));
    assert!(matches!(bad, Err(StreamError::Envelope(_))));
    let mut task = new_task();
    task.cancel(ms(1)).unwrap();
    let over = StreamWriter::open(task, WriterOptions::default(), ms(2));
    assert!(matches!(over, Err(StreamError::Task(TaskError::NoOpenRequest { .. }))));
}

#[derive(Debug, Clone)]
enum Op {
    Text(bool, String),
    EndText(bool),
    Working,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), "[a-zé\"\\n]{0,30}").prop_map(|(which, text)| Op::Text(which, text)),
        1 => any::<bool>().prop_map(Op::EndText),
        1 => Just(Op::Working),
        4 => (0..120_u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn all_that_is_said_goes_out_in_order_in_time_and_under_numbers_without_holes(
        ops in prop::collection::vec(op(), 0..60), bytes in 1..60_usize, reserve in 1..5_u64,
    ) {
        let coalesce = Coalesce::new(Duration::from_millis(50), bytes);
        let (mut writer, mut desk) = open(WriterOptions::default().with_coalesce(coalesce).with_reserve(reserve));
        let (mut now, mut sent) = (0, Vec::new());
        let mut said = [String::new(), String::new()];
        let name = |which: bool| if which { "a" } else { "b" };
        for op in ops {
            let actions = match op {
                Op::Text(which, text) => {
                    said[usize::from(which)].push_str(&text);
                    writer.text(name(which), &text, ms(now))
                }
                Op::EndText(which) => writer.end_text(name(which), ms(now)),
                Op::Working => writer.event(&Event::status(TaskState::Working), ms(now)),
                Op::Wait(time) => {
                    now += time;
                    writer.poll(ms(now))
                }
            };
            sent.extend(desk.carry(actions.unwrap()).unwrap());
            let waits = writer.next_deadline();
            prop_assert!(waits.is_none_or(|due| due > ms(now) || due == Duration::ZERO), "what is due is done");
            let stored = desk.tasks.get_now("t-1").unwrap();
            let used = sent.last().map_or(0, |last: &Envelope| last.seq().unwrap().unwrap());
            prop_assert!(stored.open_turn().unwrap().seq >= used, "no number is used that is not reserved");
        }
        sent.extend(desk.carry(writer.complete(ms(now)).unwrap()).unwrap());
        let numbers = numbers(&sent);
        prop_assert_eq!(numbers.iter().map(|n| n.0).collect::<Vec<_>>(), (1..=sent.len() as u64).collect::<Vec<_>>());
        prop_assert!(numbers.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "{numbers:?}");
        prop_assert_eq!(sent.iter().position(Envelope::is_last), Some(sent.len() - 1));
        let task = desk.tasks.get_now("t-1").unwrap();
        prop_assert_eq!(&task, writer.task());
        for (which, said) in said.iter().enumerate() {
            let made = task.artifacts().iter().find(|artifact| artifact.id == name(which == 1));
            prop_assert_eq!(made.map(Artifact::text).unwrap_or_default(), said.clone());
        }
    }
}
