//! Holes, late rows and budgets, row by row.

use super::*;

fn row_of(id: &str, conversation: &str, seq: u64) -> MessageRow {
    let json = format!(r#"{{"id":"{id}","conversation_id":"{conversation}","seq":{seq}}}"#);
    MessageRow::parse(json).expect("a row")
}

fn row(conversation: &str, seq: u64) -> MessageRow {
    row_of(&format!("m{seq}"), conversation, seq)
}

/// What passes as these arrive.
fn arrive(order: &mut Order, seqs: &[u64], now: Instant) -> Vec<String> {
    let mut out = Vec::new();
    for seq in seqs {
        order.row(row("c", *seq), now, &mut out);
    }
    told(&out)
}

/// What passes as time goes by.
fn wait(order: &mut Order, now: Instant) -> Vec<String> {
    let mut out = Vec::new();
    order.on_time(now, &mut out);
    told(&out)
}

/// What passes as history answers the next question with these.
fn answer(order: &mut Order, seqs: &[u64], now: Instant) -> Vec<String> {
    let ask = order.next_ask().expect("a question");
    let rows = seqs.iter().map(|seq| row(&ask.conversation, *seq)).collect();
    let mut out = Vec::new();
    order.history(ask.number, Some(Found { rows, done: Vec::new(), to: ask.before }), now, &mut out);
    told(&out)
}

fn told(out: &[Passed]) -> Vec<String> {
    let tell = |passed: &Passed| match passed {
        Passed::Row { row, late: false } => row.seq().unwrap_or_default().to_string(),
        Passed::Row { row, late: true } => format!("late {}", row.seq().unwrap_or_default()),
        Passed::Gap { expected, got, .. } => format!("gap {expected}..{got}"),
    };
    out.iter().map(tell).collect()
}

fn asked(order: &mut Order) -> Option<(u64, u64)> {
    order.next_ask().map(|ask| (ask.after, ask.before))
}

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn c78_in_order_and_c79_reorder_pass_without_history() {
    let (mut order, now) = (Order::default(), Instant::now());
    assert_eq!(arrive(&mut order, &[5, 6, 8], now), ["5", "6"]);
    assert_eq!(arrive(&mut order, &[7], now), ["7", "8"]);
    assert_eq!(order.deadline(), None);
    assert!(wait(&mut order, now + PATIENCE).is_empty() && asked(&mut order).is_none());
}

#[test]
fn c80_gap_filled_and_c81_gap_unfillable() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[5, 8], now);
    wait(&mut order, now + GRACE - MILLI);
    assert!(asked(&mut order).is_none(), "what was overtaken may still come");
    assert_eq!(order.deadline(), Some(now + GRACE));
    wait(&mut order, now + GRACE);
    assert_eq!(order.deadline(), Some(now + PATIENCE));
    assert_eq!(answer(&mut order, &[6, 7], now + GRACE), ["6", "7", "8"]);
    assert!(arrive(&mut order, &[12], now).is_empty());
    wait(&mut order, now + GRACE);
    assert_eq!(answer(&mut order, &[], now + GRACE), ["gap 9..12", "12"]);
    assert!(
        order.deadline().is_none() && asked(&mut order).is_none(),
        "the same hole is not waited for again"
    );
    assert_eq!(arrive(&mut order, &[13], now), ["13"]);
}

#[test]
fn c83_a_hole_is_passed_in_time_whatever_history_does() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[5, 8], now);
    wait(&mut order, now + GRACE);
    let ask = order.next_ask().expect("a question");
    assert!(wait(&mut order, now + PATIENCE - MILLI).is_empty());
    assert_eq!(wait(&mut order, now + PATIENCE), ["gap 6..8", "8"]);
    assert_eq!(order.unfilled(), [("c".to_owned(), 6)], "history is still to be heard");
    // It says at last what it has, and that is late.
    let mut out = Vec::new();
    let found = Found { rows: vec![row("c", 6), row("c", 7)], done: Vec::new(), to: 8 };
    order.history(ask.number, Some(found), now + 2 * PATIENCE, &mut out);
    assert_eq!(told(&out), ["late 6", "late 7"]);
    assert_eq!(arrive(&mut order, &[9], now), ["9"]);
    assert!(order.unfilled().is_empty());
}

#[test]
fn c82_a_history_that_cannot_be_read_leaves_the_hole_its_time() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[5, 7], now);
    wait(&mut order, now + GRACE);
    let ask = order.next_ask().expect("a question");
    let mut out = Vec::new();
    order.history(ask.number, None, now + GRACE, &mut out);
    assert!(out.is_empty() && asked(&mut order).is_none());
    assert_eq!(wait(&mut order, now + PATIENCE), ["gap 6..7", "7"]);
}

#[test]
fn c84_buffer_cap_goes_on_ascending() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[1], now);
    let (last, mut out) = (3 + HELD as u64, Vec::new());
    for seq in (4..=last).rev() {
        assert!(!order.row(row("c", seq), now, &mut out));
    }
    assert!(order.row(row("c", 3), now, &mut out), "it is told");
    let expected = std::iter::once("gap 2..3".to_owned()).chain((3..=last).map(|seq| seq.to_string()));
    assert_eq!(told(&out), expected.collect::<Vec<_>>());
    assert_eq!(order.bytes, 0);
}

#[test]
fn what_waits_is_bounded_in_bytes_and_the_oldest_goes_on() {
    let (mut order, now) = (Order::default(), Instant::now());
    let text = "x".repeat(32 * 1024);
    let (mut out, mut given) = (Vec::new(), 0);
    for number in 0..1_000_u32 {
        let at = now + number * MILLI;
        for seq in [1, 3] {
            let json = format!(
                r#"{{"id":"{number}-{seq}","conversation_id":"c{number}","seq":{seq},"x":"{text}"}}"#
            );
            order.row(MessageRow::parse(json).expect("a row"), at, &mut out);
        }
        assert!(order.bytes <= HELD_BYTES);
        for passed in out.drain(..) {
            if let Passed::Gap { conversation, .. } = passed {
                assert_eq!(conversation, format!("c{given}"), "the oldest first");
                given += 1;
            }
        }
    }
    assert!((700..800).contains(&given), "{given}");
}

#[test]
fn c85_every_gap_is_detected() {
    let (mut order, now) = (Order::default(), Instant::now());
    for gap in [4, 7, 10] {
        arrive(&mut order, &[gap - 3, gap - 2, gap], now);
        wait(&mut order, now + GRACE);
        assert_eq!(answer(&mut order, &[], now), [format!("gap {}..{gap}", gap - 1), gap.to_string()]);
    }
}

#[test]
fn c86_late_lower_seq_passes_and_is_called_late() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[10], now);
    assert_eq!(arrive(&mut order, &[9], now), ["late 9"]);
    assert_eq!(arrive(&mut order, &[11], now), ["11"]);
}

#[test]
fn c87_own_send_leaves_no_gap_in_either_order() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[3], now);
    order.sent("c", 4, &mut Vec::new());
    assert_eq!(arrive(&mut order, &[5], now), ["5"]);
    // The answer to the send comes behind the peer's next message.
    assert!(arrive(&mut order, &[7], now).is_empty());
    let mut out = Vec::new();
    order.sent("c", 6, &mut out);
    assert_eq!(told(&out), ["7"]);
    assert_eq!(order.deadline(), None);
}

#[test]
fn what_history_shows_as_settled_is_no_gap() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[3, 7], now);
    wait(&mut order, now + GRACE);
    let ask = order.next_ask().expect("a question");
    let mut out = Vec::new();
    order.history(
        ask.number,
        Some(Found { rows: vec![row("c", 5)], done: vec![4, 6], to: 7 }),
        now,
        &mut out,
    );
    assert_eq!(told(&out), ["5", "7"]);
}

#[test]
fn a_history_that_is_long_is_asked_again_where_it_ended() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[1, 9], now);
    wait(&mut order, now + GRACE);
    let ask = order.next_ask().expect("a question");
    let mut out = Vec::new();
    let found = Found { rows: vec![row("c", 2), row("c", 4)], done: Vec::new(), to: 5 };
    order.history(ask.number, Some(found), now + GRACE, &mut out);
    assert_eq!(told(&out), ["2", "gap 3..4", "4"]);
    wait(&mut order, now + GRACE);
    assert_eq!(answer(&mut order, &[5, 6, 7, 8], now + GRACE), ["5", "6", "7", "8", "9"]);
}

#[test]
fn c88_conversations_are_independent() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[1, 3], now);
    let mut out = Vec::new();
    order.row(row("d", 40), now, &mut out);
    order.row(row("d", 41), now, &mut out);
    assert_eq!(told(&out), ["40", "41"]);
}

#[test]
fn each_hole_is_waited_for_as_long_as_something_is_behind_it() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[1, 3], now);
    let later = now + Duration::from_secs(1);
    arrive(&mut order, &[6], later);
    wait(&mut order, later);
    assert_eq!(asked(&mut order), Some((1, 6)));
    assert_eq!(wait(&mut order, now + PATIENCE), ["gap 2..3", "3"]);
    wait(&mut order, now + PATIENCE);
    assert_eq!(asked(&mut order), Some((3, 6)), "another hole, another question");
    assert_eq!(order.deadline(), Some(later + PATIENCE));
    assert_eq!(wait(&mut order, later + PATIENCE), ["gap 4..6", "6"]);
}

#[test]
fn a_hole_that_closes_gives_the_next_one_no_more_time() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[1, 3, 5], now);
    assert_eq!(arrive(&mut order, &[2], now + Duration::from_secs(1)), ["2", "3"]);
    assert_eq!(order.open.first_key_value().map(|(hole, _)| hole.0), Some(now));
}

#[test]
fn a_backlog_behind_live_rows_takes_what_waits_with_it() {
    let (mut order, now) = (Order::default(), Instant::now());
    assert_eq!(arrive(&mut order, &[5, 8], now), ["5"]);
    wait(&mut order, now + GRACE);
    let mut out = Vec::new();
    (6..=20).for_each(|seq| order.backlog(row("c", seq), &mut out));
    let mut expected: Vec<_> = (6..=20).map(|seq| seq.to_string()).collect();
    // The same message a second time, which is recognised by its id when it is handed out.
    expected.insert(3, "late 8".to_owned());
    assert_eq!(told(&out), expected);
    assert_eq!(order.deadline(), None);
    // History is heard afterwards: the number that is due stays what it is.
    assert!(answer(&mut order, &[], now + GRACE).is_empty());
    assert_eq!(arrive(&mut order, &[21], now), ["21"]);
}

#[test]
fn what_waits_goes_before_a_backlog_behind_it_and_what_is_late_there_says_so() {
    let (mut order, now) = (Order::default(), Instant::now());
    arrive(&mut order, &[5, 8], now);
    let mut out = Vec::new();
    [10, 7].into_iter().for_each(|seq| order.backlog(row("c", seq), &mut out));
    assert_eq!(told(&out), ["8", "10", "late 7"]);
    assert_eq!((order.bytes, order.deadline()), (0, None));
}

#[test]
fn two_messages_of_one_number_are_both_handed_on() {
    let (mut order, now) = (Order::default(), Instant::now());
    let mut out = Vec::new();
    for (id, seq) in [("m1", 1), ("a", 3), ("b", 3), ("a", 3), ("b", 3), ("m2", 2)] {
        order.row(row_of(id, "c", seq), now, &mut out);
    }
    let ids: Vec<_> = out
        .iter()
        .map(|passed| match passed {
            Passed::Row { row, late } => (row.id().unwrap_or_default(), *late),
            Passed::Gap { .. } => panic!("nothing is missing"),
        })
        .collect();
    assert_eq!(ids, [("m1", false), ("m2", false), ("a", false), ("b", true)]);
    assert_eq!(order.bytes, 0);
    let mut out = Vec::new();
    for (id, seq) in [("x", 6), ("y", 6)] {
        order.row(row_of(id, "c", seq), now, &mut out);
    }
    order.backlog(row_of("y", "c", 6), &mut out);
    assert_eq!(told(&out), ["6", "late 6"]);
}

#[test]
fn memory_of_conversations_is_bounded() {
    let (mut order, now) = (Order::default(), Instant::now());
    let fill = |order: &mut Order, begin: usize, seqs: &[u64]| {
        for number in begin..begin + LINES + 50 {
            for seq in seqs {
                order.row(row(&format!("c{number}"), *seq), now, &mut Vec::new());
            }
        }
    };
    fill(&mut order, 0, &[1]);
    assert_eq!(order.lines.len(), LINES);
    // What waits stays, and afterwards they become fewer again.
    fill(&mut order, 10_000, &[1, 3]);
    assert!(order.lines.len() > LINES);
    wait(&mut order, now + PATIENCE);
    fill(&mut order, 20_000, &[1]);
    assert_eq!(order.lines.len(), LINES);
}

#[test]
fn the_largest_number_there_is_does_no_harm() {
    let (mut order, now) = (Order::default(), Instant::now());
    // What a row can have.
    let last = i64::MAX as u64;
    arrive(&mut order, &[1, last, last - 1], now);
    let gap = format!("gap 2..{}", last - 1);
    assert_eq!(wait(&mut order, now + PATIENCE), [gap, (last - 1).to_string(), last.to_string()]);
    arrive(&mut order, &[last, 5], now);
    order.backlog(row("c", last), &mut Vec::new());
}
