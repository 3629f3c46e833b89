//! What a reader makes of replies that come repeated, reordered, late or not at all.

#[path = "../support/flow.rs"]
mod flow;
mod lossy;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use a2a_envelope::stream::{
    Belongs, Coalesce, Line, Mirror, ReaderItem, ReaderOptions, Snapshot, StreamEnd, StreamReader,
    StreamWriter, WriterOptions,
};
use a2a_envelope::task::{Event, Task, TaskState};
use a2a_envelope::{Envelope, JsonText, Limits, ReplyType};
use flow::{Desk, correlation, ms, new_task, request};

/// A stream of `chunks` chunks, its end included, and the task at each of its saves.
fn stream(chunks: usize) -> (Vec<Envelope>, Desk) {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let task = new_task();
    let mut desk = Desk::with(&task);
    let (mut writer, actions) = StreamWriter::open(task, options, ms(0)).unwrap();
    let mut sent = desk.carry(actions).unwrap();
    for n in 0..chunks {
        sent.extend(desk.carry(writer.text("a", &format!("{n} "), ms(1)).unwrap()).unwrap());
    }
    sent.extend(desk.carry(writer.complete(ms(2)).unwrap()).unwrap());
    (sent, desk)
}

fn reader() -> StreamReader {
    StreamReader::new(ReaderOptions::default(), ms(0))
}

fn seqs(items: &[ReaderItem]) -> Vec<u64> {
    items
        .iter()
        .filter_map(|item| if let ReaderItem::Reply(reply) = item { reply.seq } else { None })
        .collect()
}

fn ends(items: &[ReaderItem]) -> Vec<StreamEnd> {
    items.iter().filter_map(|item| if let ReaderItem::End(how) = item { Some(*how) } else { None }).collect()
}

fn mirror(items: &[ReaderItem]) -> Mirror {
    let mut mirror = Mirror::new();
    items.iter().for_each(|item| mirror.apply(item));
    mirror
}

fn numbered(seq: u64, last: bool) -> Envelope {
    let status = if last { "TASK_STATE_COMPLETED" } else { "TASK_STATE_WORKING" };
    Envelope::new(format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"statusUpdate":{{"status":{{"state":"{status}"}}}}}}}}"#
    ))
    .with_reply_type(ReplyType::StreamResponse)
    .and_then(|envelope| envelope.with_seq(seq)?.with_generation(seq + 1)?.with_last(last))
    .unwrap()
}

fn snapshot(generation: u64, state: &str) -> Snapshot {
    let body = format!(r#"{{"id":"t-1","contextId":"c-1","status":{{"state":"{state}"}}}}"#);
    let envelope = Envelope::new(body).with_generation(generation).unwrap();
    Snapshot::read(&envelope, &Limits::default()).unwrap()
}

#[test]
fn replies_in_any_order_and_repeated_are_each_given_once_in_order() {
    let mut reader = reader();
    let mut items = Vec::new();
    for seq in [3, 1, 1, 3, 2, 2, 5, 4, 1, 5] {
        items.extend(reader.receive(numbered(seq, seq == 5), ms(1)).unwrap());
    }
    assert_eq!(seqs(&items), [1, 2, 3, 4, 5]);
    assert_eq!(ends(&items), [StreamEnd::Last]);
    assert_eq!(items.last(), Some(&ReaderItem::End(StreamEnd::Last)));
    assert_eq!((reader.passed_over(), reader.generation()), (5, 6));
    assert!(reader.next_deadline().is_none() && reader.cut().is_empty());
}

#[test]
fn the_acknowledgement_is_told_once_and_takes_no_number() {
    let line = Line::new(correlation("r"), JsonText::string("r"));
    let ack = line.ack(Belongs::nowhere()).unwrap();
    let mut reader = reader();
    assert_eq!(reader.receive(ack.clone(), ms(0)).unwrap(), [ReaderItem::Taken]);
    assert_eq!(reader.receive(ack, ms(0)).unwrap(), []);
    assert_eq!(seqs(&reader.receive(numbered(1, false), ms(0)).unwrap()), [1]);
}

#[test]
fn a_hole_is_made_good_by_the_snapshot_and_reading_goes_on_after_its_generation() {
    let mut reader = reader();
    reader.receive(numbered(1, false), ms(0)).unwrap();
    reader.receive(numbered(4, false), ms(0)).unwrap();
    assert_eq!(reader.next_deadline(), Some(ms(500)));
    assert_eq!(reader.poll(ms(499)), []);
    assert_eq!(reader.poll(ms(500)), [ReaderItem::ReadSnapshot]);
    // Of 3: it says nothing of number 3 yet, whose generation is 4.
    assert_eq!(reader.snapshot(Some(snapshot(3, "working")), ms(510)), []);
    let items = reader.snapshot(Some(snapshot(4, "working")), ms(520));
    assert!(matches!(&items[0], ReaderItem::Resynced { generation: 4, .. }));
    assert_eq!(seqs(&items), [4]);
    assert_eq!(reader.receive(numbered(2, false), ms(530)).unwrap(), [], "late, and known from the snapshot");
    assert_eq!(seqs(&reader.receive(numbered(5, true), ms(530)).unwrap()), [5]);
}

#[test]
fn a_snapshot_newer_than_what_waits_replaces_it() {
    let mut reader = reader();
    reader.receive(numbered(2, false), ms(0)).unwrap();
    reader.receive(numbered(3, false), ms(0)).unwrap();
    reader.poll(ms(500));
    let items = reader.snapshot(Some(snapshot(6, "working")), ms(501));
    assert!(matches!(&items[..], [ReaderItem::Resynced { generation: 6, .. }]), "{items:?}");
    assert_eq!(reader.receive(numbered(4, false), ms(502)).unwrap(), []);
    assert_eq!(reader.receive(numbered(5, false), ms(502)).unwrap(), []);
    assert_eq!(
        seqs(&reader.receive(numbered(6, false), ms(503)).unwrap()),
        [6],
        "generation 7 is the next one"
    );
    assert_eq!(seqs(&reader.receive(numbered(7, true), ms(503)).unwrap()), [7]);
}

#[test]
fn without_a_snapshot_the_hole_is_reported_with_its_numbers() {
    let mut reader = reader();
    reader.receive(numbered(1, false), ms(0)).unwrap();
    reader.receive(numbered(4, false), ms(0)).unwrap();
    reader.receive(numbered(5, true), ms(0)).unwrap();
    let mut items = Vec::new();
    for step in 1..=3 {
        assert_eq!(reader.poll(ms(500 * step)), [ReaderItem::ReadSnapshot]);
        items.extend(reader.snapshot(None, ms(500 * step)));
    }
    assert!(matches!(items[0], ReaderItem::Gap { from: 2, to: 3, .. }));
    assert_eq!((seqs(&items), ends(&items)), (vec![4, 5], vec![StreamEnd::Last]));
}

#[test]
fn a_peer_without_snapshots_is_not_asked_for_one() {
    let options = ReaderOptions::default().with_snapshot_tries(0).with_silent_after(None);
    let mut reader = StreamReader::new(options, ms(0));
    assert_eq!(reader.next_deadline(), None);
    reader.receive(numbered(2, true), ms(0)).unwrap();
    let items = reader.poll(ms(500));
    assert!(matches!(items[0], ReaderItem::Gap { from: 1, to: 1, .. }));
    assert_eq!(ends(&items), [StreamEnd::Last]);
}

#[test]
fn a_lost_end_is_found_in_the_snapshot() {
    let mut reader = reader();
    reader.receive(numbered(1, false), ms(0)).unwrap();
    assert_eq!(reader.poll(ms(30_000)), [ReaderItem::ReadSnapshot]);
    assert_eq!(reader.snapshot(Some(snapshot(2, "working")), ms(30_001)), [], "it still works");
    assert_eq!(reader.poll(ms(60_000)), [ReaderItem::ReadSnapshot]);
    let items = reader.snapshot(Some(snapshot(3, "completed")), ms(60_001));
    assert!(matches!(&items[..], [ReaderItem::Resynced { .. }, ReaderItem::End(StreamEnd::Snapshot)]));
    assert_eq!(reader.receive(numbered(2, true), ms(60_002)).unwrap(), [], "late, and passed over");
    assert_eq!(reader.snapshot(Some(snapshot(3, "completed")), ms(60_003)), []);
}

#[test]
fn the_question_that_a_follow_up_answers_does_not_end_it() {
    let mut reader = StreamReader::after(9, ReaderOptions::default(), ms(0));
    reader.poll(ms(30_000));
    assert_eq!(reader.snapshot(Some(snapshot(9, "input-required")), ms(30_000)), []);
    let items = reader.snapshot(Some(snapshot(14, "input-required")), ms(30_001));
    assert_eq!(ends(&items), [StreamEnd::Snapshot], "another question does");
}

#[test]
fn a_subscription_passes_over_what_its_caller_has_seen() {
    let mut reader = StreamReader::after(3, ReaderOptions::default(), ms(0));
    let mut items = Vec::new();
    for seq in 1..=4 {
        items.extend(reader.receive(numbered(seq, seq == 4), ms(0)).unwrap());
    }
    assert_eq!(seqs(&items), [3, 4], "their generations are 4 and 5");
    assert_eq!(ends(&items), [StreamEnd::Last]);
}

#[test]
fn the_task_of_a_worker_that_took_over_makes_good_what_the_first_one_lost() {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let task = new_task();
    let mut desk = Desk::with(&task);
    let (mut first, actions) = StreamWriter::open(task, options.clone(), ms(0)).unwrap();
    let mut sent = desk.carry(actions).unwrap();
    sent.extend(desk.carry(first.text("a", "half", ms(1)).unwrap()).unwrap());
    let stored = desk.tasks.get_now("t-1").unwrap();
    let (mut second, actions) = StreamWriter::open(stored, options, ms(2)).unwrap();
    sent.extend(desk.carry(actions).unwrap());
    sent.extend(desk.carry(second.text("a", "whole", ms(3)).unwrap()).unwrap());
    sent.extend(desk.carry(second.complete(ms(4)).unwrap()).unwrap());

    let mut reader = reader();
    let mut items: Vec<_> = sent.into_iter().flat_map(|e| reader.receive(e, ms(5)).unwrap()).collect();
    assert_eq!(ends(&items), []);
    items.extend(reader.poll(ms(505)));
    assert!(items.iter().all(|item| !matches!(item, ReaderItem::ReadSnapshot | ReaderItem::Gap { .. })));
    assert_eq!(ends(&items), [StreamEnd::Last]);
    assert_eq!(mirror(&items).text("a").as_deref(), Some("whole"));
}

#[test]
fn an_end_that_follows_a_snapshot_ends_it_at_once() {
    let mut reader = reader();
    reader.receive(numbered(2, false), ms(0)).unwrap();
    reader.poll(ms(500));
    reader.snapshot(Some(snapshot(6, "working")), ms(501));
    let end = numbered(9, true).with_reply_type(ReplyType::End).unwrap().with_generation(6).unwrap();
    assert_eq!(reader.receive(end, ms(502)).unwrap(), [ReaderItem::End(StreamEnd::Last)]);
}

#[test]
fn a_question_in_a_snapshot_that_is_answered_by_now_does_not_end_it() {
    let mut reader = reader();
    reader.receive(numbered(5, false), ms(0)).unwrap();
    reader.poll(ms(500));
    let items = reader.snapshot(Some(snapshot(5, "input-required")), ms(501));
    assert!(matches!(items[0], ReaderItem::Resynced { generation: 5, .. }));
    assert_eq!((seqs(&items), ends(&items)), (vec![5], vec![]), "generation 6 came after it");
}

#[test]
fn a_cancel_by_another_worker_reaches_the_caller_of_the_first() {
    let options = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let task = new_task();
    let mut desk = Desk::with(&task);
    let (mut first, actions) = StreamWriter::open(task, options.clone(), ms(0)).unwrap();
    let mut sent = desk.carry(actions).unwrap();
    sent.extend(desk.carry(first.text("a", "half", ms(1)).unwrap()).unwrap());
    let (mut second, actions) =
        StreamWriter::open(desk.tasks.get_now("t-1").unwrap(), options, ms(2)).unwrap();
    sent.extend(desk.carry(actions).unwrap());
    sent.extend(desk.carry(second.cancel(ms(2)).unwrap()).unwrap());
    assert!(desk.carry(first.complete(ms(3)).unwrap()).is_err());
    let mut reader = reader();
    let mut items: Vec<_> = sent.into_iter().flat_map(|e| reader.receive(e, ms(5)).unwrap()).collect();
    items.extend(reader.poll(ms(600)));
    assert_eq!((mirror(&items).state(), ends(&items)), (Some(&TaskState::Canceled), vec![StreamEnd::Last]));
}

#[test]
fn too_many_replies_that_wait_are_let_go_and_the_snapshot_is_asked_for() {
    let options = ReaderOptions::default().with_held(3, 10_000);
    let mut reader = StreamReader::new(options, ms(0));
    let mut items = Vec::new();
    for seq in 2..=9 {
        items.extend(reader.receive(numbered(seq, seq == 9), ms(0)).unwrap());
    }
    assert_eq!(items, [ReaderItem::ReadSnapshot]);
    assert_eq!(reader.held(), 3);
    let items = reader.snapshot(Some(snapshot(10, "completed")), ms(1));
    assert!(matches!(&items[..], [ReaderItem::Resynced { .. }, ReaderItem::End(StreamEnd::Snapshot)]));
    let mut small = StreamReader::new(ReaderOptions::default().with_held(100, 300), ms(0));
    for seq in 2..=9 {
        small.receive(numbered(seq, false), ms(0)).unwrap();
    }
    assert!(small.held() < 4);
}

#[test]
fn a_body_that_cannot_be_read_keeps_its_place_and_the_stream_goes_on() {
    let mut reader = reader();
    let mut bad = numbered(1, false);
    bad.body = "{\"jsonrpc\"".into();
    let items = reader.receive(bad, ms(0)).unwrap();
    assert!(matches!(&items[..], [ReaderItem::Unreadable { seq: Some(1), .. }]));
    assert_eq!(seqs(&reader.receive(numbered(2, true), ms(0)).unwrap()), [2]);
}

#[test]
fn numbers_that_are_none_are_errors_and_change_nothing() {
    let mut reader = reader();
    for (name, value) in
        [("amb-seq", "-1"), ("amb-seq", "1.0"), ("amb-seq", "99999999999999999999"), ("amb-generation", "x")]
    {
        let bad = numbered(1, false).with_header(name, value).unwrap();
        assert!(reader.receive(bad, ms(0)).is_err(), "{name}: {value}");
    }
    assert_eq!(seqs(&reader.receive(numbered(1, true), ms(0)).unwrap()), [1]);
}

#[test]
fn a_peer_without_numbers_is_read_as_it_comes_and_ends_once() {
    let facade = |body: &str, last: bool| {
        let envelope = Envelope::from_parts(a2a_envelope::Headers::new(), body.to_owned());
        envelope.with_header("mq9-a2a-type", "TaskStatusUpdateEvent").unwrap().with_last(last).unwrap()
    };
    let mut reader = reader();
    let mut items = Vec::new();
    for (state, last) in [("WORKING", false), ("FAILED", false), ("COMPLETED", true)] {
        let body = format!(r#"{{"taskId":"t","contextId":"c","status":{{"state":"TASK_STATE_{state}"}}}}"#);
        items.extend(reader.receive(facade(&body, last), ms(0)).unwrap());
    }
    assert_eq!(ends(&items), [StreamEnd::Last]);
    assert_eq!(
        mirror(&items).state(),
        Some(&TaskState::Failed),
        "the extra end that follows is not an outcome"
    );
}

#[test]
fn the_first_result_of_a_peer_that_marks_no_end_can_be_the_only_one() {
    let mut reader = StreamReader::new(ReaderOptions::default().with_single(), ms(0));
    let plain = Envelope::from_parts(
        a2a_envelope::Headers::new(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"kind":"task","id":"t","status":{"state":"working"}}}"#,
    );
    assert_eq!(ends(&reader.receive(plain, ms(0)).unwrap()), [StreamEnd::Last]);
}

#[test]
fn giving_up_ends_it_once() {
    let mut reader = reader();
    reader.receive(numbered(2, false), ms(0)).unwrap();
    assert_eq!(reader.cut(), [ReaderItem::End(StreamEnd::Cut)]);
    assert_eq!(reader.cut(), []);
    assert_eq!(reader.receive(numbered(1, false), ms(0)).unwrap(), []);
    assert_eq!((reader.held(), reader.passed_over()), (0, 2));
}

#[test]
fn a_silence_of_no_length_does_not_ask_without_end() {
    let mut reader =
        StreamReader::new(ReaderOptions::default().with_silent_after(Some(Duration::ZERO)), ms(0));
    assert_eq!(reader.poll(ms(1)), [ReaderItem::ReadSnapshot]);
    assert!(reader.next_deadline() > Some(ms(1)));
}

#[test]
fn a_task_of_a_follow_up_reads_on_after_its_question() {
    let (sent, desk) = stream(2);
    drop(sent);
    let mut task = Task::new("t-2", "c-1", request("r-1"), ms(0)).unwrap();
    desk.tasks.put_now(&task, 0).unwrap();
    let asked = task.apply(&Event::status(TaskState::InputRequired), ms(1)).unwrap();
    task.follow_up(request("r-2"), None, Some(asked), ms(2)).unwrap();
    let (mut writer, actions) = StreamWriter::open(task, WriterOptions::default(), ms(3)).unwrap();
    let mut reader = StreamReader::after(asked, ReaderOptions::default(), ms(3));
    let mut items = Vec::new();
    for action in actions.into_iter().chain(writer.complete(ms(4)).unwrap()) {
        if let a2a_envelope::stream::WriterAction::Send(envelope) = action {
            items.extend(reader.receive(envelope, ms(5)).unwrap());
        }
    }
    assert_eq!(seqs(&items), [1, 2]);
}
