//! The order by itself: rows, gaps and what history answers.

use super::*;

const WAIT: Duration = Duration::from_secs(2);

fn id(name: &str) -> ConversationId {
    ConversationId::new(name).expect("id")
}

/// The items are the numbers themselves; `Asked` and `Gap` show the rest.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Row(u64),
    Late(u64),
    Asked(u64, usize),
    Gap(u64, u64),
}
use Out::{Asked, Gap, Late, Row};

struct Bench {
    order: Order<u64>,
    now: Instant,
}

impl Bench {
    /// Live, with `limits`.
    fn live(limits: OrderLimits) -> Self {
        let mut bench = Self { order: Order::new(limits), now: Instant::now() };
        bench.order.end_catch_up(bench.now);
        bench
    }

    fn rows(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<Out> {
        for number in numbers {
            self.order.row(&id("c"), number, number, self.now);
        }
        self.outputs()
    }

    fn history(&mut self, numbers: &[u64]) -> Vec<Out> {
        let rows = numbers.iter().map(|number| (*number, *number)).collect();
        self.order.history(&id("c"), rows, &[], numbers.last().copied(), self.now);
        self.outputs()
    }

    fn after(&mut self, time: Duration) -> Vec<Out> {
        self.now += time;
        self.order.tick(self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Out> {
        self.order.ask(usize::MAX, self.now);
        let mut outputs = Vec::new();
        while let Some(action) = self.order.poll() {
            outputs.push(match action {
                OrderAction::Pass { item, late: false } => Row(item),
                OrderAction::Pass { item, late: true } => Late(item),
                OrderAction::AskHistory { from, limit, .. } => Asked(from, limit),
                OrderAction::Gap { expected, got, .. } => Gap(expected, got),
            });
        }
        outputs
    }
}

fn live() -> Bench {
    Bench::live(OrderLimits::default())
}

#[test]
fn the_first_row_sets_what_is_due_and_a_cursor_sets_it_earlier() {
    assert_eq!(live().rows([7, 8]), [Row(7), Row(8)]);
    let mut bench = live();
    bench.order.resume(&id("c"), 5, bench.now);
    assert_eq!(bench.rows([7]), [Asked(5, 2)]);
    assert_eq!(bench.history(&[5, 6]), [Row(5), Row(6), Row(7)]);
}

#[test]
fn every_gap_is_noticed_also_after_rows_in_order() {
    let mut bench = live();
    assert_eq!(bench.rows([1, 2, 4]), [Row(1), Row(2), Asked(3, 1)]);
    assert_eq!(bench.history(&[3]), [Row(3), Row(4)]);
    assert_eq!(bench.rows([5, 7]), [Row(5), Asked(6, 1)]);
    assert_eq!(bench.history(&[6]), [Row(6), Row(7)]);
    assert_eq!(bench.order.stats(), OrderStats { late: 0, gaps: 0, gaps_filled: 2 });
}

#[test]
fn a_hole_after_the_first_row_is_filled_from_history() {
    let mut bench = live();
    assert_eq!(bench.rows([1, 3]), [Row(1), Asked(2, 1)]);
    assert_eq!(bench.history(&[2]), [Row(2), Row(3)]);
}

#[test]
fn what_history_skips_is_given_up_at_once_and_not_asked_again() {
    let mut bench = live();
    assert_eq!(bench.rows([5, 8]), [Row(5), Asked(6, 2)]);
    let answer = [8, 9];
    bench.order.history(&id("c"), vec![(9, 9)], &[], answer.last().copied(), bench.now);
    assert_eq!(bench.outputs(), [Gap(6, 8), Row(8), Row(9)]);
    assert_eq!(bench.after(WAIT), []);
}

#[test]
fn a_hole_that_history_knows_nothing_of_waits_two_seconds_from_the_question() {
    let mut bench = live();
    assert_eq!(bench.rows([5, 8]), [Row(5), Asked(6, 2)]);
    assert_eq!(bench.history(&[]), []);
    assert_eq!(bench.after(WAIT - Duration::from_millis(1)), []);
    assert_eq!(bench.order.deadline(), Some(bench.now + Duration::from_millis(1)));
    assert_eq!(bench.after(Duration::from_millis(1)), [Gap(6, 8), Row(8)]);
    assert_eq!(bench.order.deadline(), None);
    assert_eq!(bench.rows([6, 9]), [Late(6), Row(9)], "what comes after all is new, not a repetition");
}

#[test]
fn a_wide_hole_is_read_in_pages_while_they_bring_something() {
    let mut bench = Bench::live(OrderLimits { history_rows: 2, ..OrderLimits::default() });
    assert_eq!(bench.rows([1, 6]), [Row(1), Asked(2, 2)]);
    bench.now += Duration::from_millis(1900);
    assert_eq!(bench.history(&[2, 3]), [Row(2), Row(3), Asked(4, 2)]);
    assert_eq!(bench.after(Duration::from_millis(1900)), [], "the wait runs from the last question");
    assert_eq!(bench.history(&[5]), [Gap(4, 5), Row(5), Row(6)]);
}

#[test]
fn reordered_rows_come_out_in_order() {
    let mut bench = live();
    bench.order.resume(&id("c"), 1, bench.now);
    let shuffled = (1..=40).rev();
    let rows: Vec<Out> = bench.rows(shuffled).into_iter().filter(|out| !matches!(out, Asked(..))).collect();
    assert_eq!(rows, (1..=40).map(Row).collect::<Vec<_>>());
}

#[test]
fn own_sends_leave_no_hole() {
    let mut bench = live();
    for number in (1..200).step_by(2) {
        assert_eq!(bench.rows([number]), [Row(number)]);
        bench.order.note(&id("c"), number + 1, bench.now);
    }
    let mut racing = live();
    assert_eq!(racing.rows([1, 3]), [Row(1), Asked(2, 1)]);
    racing.order.note(&id("c"), 2, racing.now);
    assert_eq!(racing.outputs(), [Row(3)], "the receipt of an own send may come after the answer to it");
    let mut early = live();
    early.order.note(&id("c"), 4, early.now);
    assert_eq!(early.rows([3, 5]), [Row(3), Row(5)], "an own send is no first row");
}

#[test]
fn own_sends_of_a_conversation_nobody_answers_are_bounded() {
    let mut bench = live();
    for number in 0..2000 {
        bench.order.note(&id("c"), number, bench.now);
    }
    assert_eq!(bench.order.lines.get(&id("c")).map(Line::noted), Some(500));
    assert_eq!(bench.rows([1999, 2000]), [Row(1999), Row(2000)]);
    assert_eq!(bench.order.lines.get(&id("c")).map(Line::noted), Some(0));
}

#[test]
fn what_follows_the_own_sends_that_began_a_conversation_is_due() {
    let mut bench = live();
    for number in 1..=2000 {
        bench.order.sent(&id("c"), number, bench.now);
    }
    assert_eq!(bench.order.lines.get(&id("c")).map(Line::noted), Some(0), "they take no room");
    assert_eq!(bench.rows([2002]), [Asked(2001, 1)]);
    assert_eq!(bench.history(&[2001]), [Row(2001), Row(2002)]);
    bench.order.sent(&id("c"), 2003, bench.now);
    assert_eq!(bench.rows([2004]), [Row(2004)]);

    let mut racing = live();
    racing.order.sent(&id("c"), 7, racing.now);
    racing.order.sent(&id("c"), 8, racing.now);
    racing.order.sent(&id("c"), 6, racing.now);
    assert_eq!(racing.rows([5, 9]), [Row(5), Row(9)], "a row that was under way is not late");

    let mut backlog = Bench { order: Order::new(OrderLimits::default()), now: Instant::now() };
    backlog.order.sent(&id("c"), 4, backlog.now);
    assert_eq!(backlog.rows([2, 6]), []);
    backlog.order.end_catch_up(backlog.now);
    assert_eq!(backlog.outputs(), [Row(2), Asked(3, 3)]);
    assert_eq!(backlog.history(&[3]), [Row(3), Asked(5, 1)], "the own send is not missing");
    backlog.order.sent(&id("c"), u64::MAX, backlog.now);
}

#[test]
fn no_more_is_held_than_allowed() {
    let mut bench = live();
    assert_eq!(bench.rows([1]), [Row(1)]);
    let mut outputs = bench.rows(3..503);
    assert_eq!(outputs, [Asked(2, 1)], "500 rows are held");
    outputs = bench.rows([503]);
    assert_eq!(outputs[..2], [Gap(2, 3), Row(3)]);
    assert_eq!(outputs.len(), 502, "all 501 pass, in order");
    assert_eq!(bench.rows([2]), [Late(2)]);
}

#[test]
fn two_rows_of_one_number_are_two_rows() {
    let mut bench = live();
    assert_eq!(bench.rows([1, 3, 3]), [Row(1), Asked(2, 1)]);
    assert_eq!(bench.rows([2]), [Row(2), Row(3), Row(3)]);
}

#[test]
fn a_forgotten_conversation_passes_what_it_holds_and_is_unknown_again() {
    let mut bench = Bench::live(OrderLimits { conversations: 1, ..OrderLimits::default() });
    assert_eq!(bench.rows([1, 3]), [Row(1), Asked(2, 1)]);
    bench.order.row(&id("d"), 9, 99, bench.now);
    assert_eq!(bench.outputs(), [Gap(2, 3), Row(3), Row(99)]);
    assert_eq!(bench.order.deadline(), None);
    assert_eq!(bench.rows([8]), [Row(8)]);
}

#[test]
fn without_history_a_hole_waits_two_seconds_and_nobody_is_asked() {
    let mut bench = Bench::live(OrderLimits { history_rows: 0, ..OrderLimits::default() });
    assert_eq!(bench.rows([1, 3]), [Row(1)]);
    assert_eq!(bench.after(WAIT), [Gap(2, 3), Row(3)]);
}

#[test]
fn while_the_backlog_is_read_nothing_is_asked_and_live_rows_wait() {
    let mut bench = Bench { order: Order::new(OrderLimits::default()), now: Instant::now() };
    assert_eq!(bench.rows([9, 2, 3]), []);
    assert_eq!(bench.after(WAIT * 10), []);
    bench.order.end_catch_up(bench.now);
    assert_eq!(bench.outputs(), [Row(2), Row(3), Asked(4, 5)]);
    bench.order.begin_catch_up();
    assert_eq!((bench.order.deadline(), bench.order.asked(&id("c"))), (None, None));
    assert_eq!(bench.rows([4]), [Row(4)], "what is due passes");
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let mut bench = live();
    assert_eq!(bench.rows([1, 3]), [Row(1), Asked(2, 1)]);
    bench.order.row(&id("d"), 5, 50, bench.now);
    bench.order.row(&id("d"), 6, 60, bench.now);
    assert_eq!(bench.outputs(), [Row(50), Row(60)]);
}

#[test]
fn numbers_at_the_end_of_their_range_do_not_overflow() {
    let mut bench = live();
    assert_eq!(bench.rows([u64::MAX, u64::MAX]), [Row(u64::MAX), Row(u64::MAX)]);
    bench.order.note(&id("c"), u64::MAX, bench.now);
    assert_eq!(bench.rows([0]), [Late(0)]);
}
