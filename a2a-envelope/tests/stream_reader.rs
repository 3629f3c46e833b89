//! What a reader makes of replies that come repeated, reordered, late or not at all.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::time::Duration;

use a2a_envelope::stream::{
    Belongs, Coalesce, Line, Mirror, ReaderItem, ReaderOptions, Snapshot, StreamEnd, StreamReader,
    StreamWriter, WriterOptions,
};
use a2a_envelope::task::{Event, Task, TaskState};
use a2a_envelope::{Envelope, JsonText, Limits, ReplyType};
use flow::{Desk, correlation, ms, new_task, request};
use proptest::prelude::*;
use support::seeded;

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

/// What a network does to one reply.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    twice: bool,
    /// Behind how many others it comes.
    late: usize,
    /// How long after the one before it is read.
    after: u64,
}

fn fates(loss: u32) -> impl Strategy<Value = Vec<Fate>> {
    let fate =
        (prop::bool::weighted(f64::from(loss) / 100.0), prop::bool::weighted(0.2), 0..6_usize, 0..300_u64)
            .prop_map(|(lost, twice, late, after)| Fate { lost, twice, late, after });
    prop::collection::vec(fate, 30)
}

fn through(sent: Vec<Envelope>, fates: &[Fate]) -> Vec<(Envelope, u64)> {
    let mut places = Vec::new();
    for (place, (envelope, fate)) in sent.into_iter().zip(fates.iter().cycle()).enumerate() {
        if fate.lost {
            continue;
        }
        if fate.twice {
            places.push((place + fate.late * 2, envelope.clone(), fate.after));
        }
        places.push((place + fate.late, envelope, fate.after));
    }
    places.sort_by_key(|(place, ..)| *place);
    places.into_iter().map(|(_, envelope, after)| (envelope, after)).collect()
}

/// Reads all that came, with the newest snapshot at hand, until the end or until nothing is due.
fn read(
    came: Vec<(Envelope, u64)>,
    desk: Option<&Desk>,
    options: ReaderOptions,
) -> (Vec<ReaderItem>, StreamReader) {
    let mut reader = StreamReader::new(options, ms(0));
    let (mut now, mut items) = (0, Vec::new());
    let answered =
        |reader: &mut StreamReader, new: Vec<ReaderItem>, now: u64, items: &mut Vec<ReaderItem>| {
            let asked = new.contains(&ReaderItem::ReadSnapshot);
            items.extend(new);
            if asked {
                items.extend(reader.snapshot(desk.and_then(|desk| desk.snapshot("t-1")), ms(now)));
            }
        };
    for (envelope, after) in came {
        now += after;
        let due = reader.poll(ms(now));
        answered(&mut reader, due, now, &mut items);
        let new = reader.receive(envelope, ms(now)).unwrap();
        answered(&mut reader, new, now, &mut items);
    }
    for _ in 0..50 {
        now += 40_000;
        let due = reader.poll(ms(now));
        answered(&mut reader, due, now, &mut items);
    }
    (items, reader)
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn whatever_a_network_does_the_caller_ends_with_the_task_as_it_is(
        chunks in 0..40_usize, fates in fates(20), held in 1..20_usize,
    ) {
        let (sent, desk) = stream(chunks);
        let options = ReaderOptions::default().with_held(held, 1_000_000);
        let (items, _) = read(through(sent, &fates), Some(&desk), options);
        prop_assert_eq!(ends(&items).len(), 1);
        prop_assert!(matches!(items.last(), Some(ReaderItem::End(_))), "nothing follows the end");
        let gaps = items.iter().filter(|item| matches!(item, ReaderItem::Gap { .. })).count();
        prop_assert_eq!(gaps, 0);
        let (mirror, task) = (mirror(&items), desk.tasks.get_now("t-1").unwrap());
        prop_assert_eq!(mirror.state(), Some(task.state()));
        prop_assert_eq!(mirror.artifacts(), task.artifacts());
    }

    #[test]
    fn without_loss_every_reply_is_given_once_and_no_snapshot_is_read(chunks in 0..40_usize, mut fates in fates(0)) {
        fates.iter_mut().for_each(|fate| fate.after = 0);
        let (sent, _) = stream(chunks);
        let count = sent.len() as u64;
        let (items, reader) = read(through(sent, &fates), None, ReaderOptions::default());
        prop_assert_eq!(seqs(&items), (1..=count).collect::<Vec<_>>());
        prop_assert_eq!(items.len() as u64, count + 1, "the replies, and the end");
        prop_assert_eq!(reader.held(), 0);
    }

    #[test]
    fn without_snapshots_exactly_what_was_lost_is_reported(chunks in 0..40_usize, fates in fates(20)) {
        let (sent, _) = stream(chunks);
        // The first and the last come: what is lost at an end cannot be known.
        let mut fates: Vec<_> = fates.into_iter().cycle().take(sent.len()).collect();
        let count = fates.len();
        for fate in &mut fates {
            (fate.after, fate.late) = (0, fate.late.min(3));
        }
        (fates[0].lost, fates[count - 1].lost) = (false, false);
        let lost: Vec<_> = (1..=count as u64).filter(|seq| fates[*seq as usize - 1].lost).collect();
        let options = ReaderOptions::default().with_snapshot_tries(0);
        let (items, _) = read(through(sent, &fates), None, options);
        let reported: Vec<_> = items
            .iter()
            .filter_map(|item| if let ReaderItem::Gap { from, to, .. } = item { Some(*from..=*to) } else { None })
            .flatten()
            .collect();
        prop_assert_eq!(&reported, &lost);
        let kept: Vec<_> = (1..=count as u64).filter(|seq| !lost.contains(seq)).collect();
        prop_assert_eq!(seqs(&items), kept);
        prop_assert_eq!(ends(&items), [StreamEnd::Last]);
    }

    #[test]
    fn no_replies_make_it_panic_or_end_twice_or_go_back(
        ops in prop::collection::vec((0..12_u64, any::<bool>(), 0..12_u64, 0..9_u8, 0..2_000_u64), 0..60),
        huge in any::<bool>(),
    ) {
        let options = ReaderOptions::default().with_held(4, 2_000).with_hole_after(Duration::from_millis(300));
        let mut reader = StreamReader::new(options, ms(0));
        let (mut now, mut items) = (0, Vec::new());
        for (seq, last, generation, kind, after) in ops {
            now += after;
            let seq = if huge && seq > 8 { u64::MAX - (11 - seq) } else { seq };
            let generation = if huge && generation > 10 { u64::MAX } else { generation };
            let mut envelope = numbered(0, last).with_seq(seq).unwrap().with_generation(generation).unwrap();
            match kind {
                0 => envelope.body = "]".into(),
                1 => envelope.body = new_task().to_json().as_str().to_owned().into(),
                2 => envelope = envelope.with_reply_type(ReplyType::End).unwrap(),
                3 => envelope = envelope.with_reply_type(ReplyType::Error).unwrap(),
                4 => drop(envelope.headers.remove("amb-generation")),
                5 if last => drop(envelope.headers.remove("amb-seq")),
                _ => {}
            }
            match kind {
                7 => items.extend(reader.snapshot(Some(snapshot(generation, if last { "completed" } else { "working" })), ms(now))),
                8 => items.extend(reader.snapshot(None, ms(now))),
                _ => items.extend(reader.receive(envelope, ms(now)).unwrap()),
            }
            items.extend(reader.poll(ms(now)));
            prop_assert!(reader.held() <= 4);
        }
        items.extend(reader.cut());
        prop_assert_eq!(ends(&items).len(), 1);
        prop_assert!(matches!(items.last(), Some(ReaderItem::End(_))));
        let seqs = seqs(&items);
        prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    }
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
