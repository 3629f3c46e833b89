//! What holds for any mixture of arrivals.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::limits::InboxLimits;
use super::tests::Out::{Asked, Late, Row};
use super::tests::{Bench, conversation, row};
use crate::session::order::OrderLimits;

/// What a connection does to one row of the plan.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Once,
    Twice,
    /// It is only in history.
    Dropped,
}

fn plans() -> impl Strategy<Value = Vec<(u8, u64, Fate)>> {
    let fate = prop_oneof![4 => Just(Fate::Once), 1 => Just(Fate::Twice), 1 => Just(Fate::Dropped)];
    let conversations = prop::collection::vec(prop::collection::vec(fate, 1..40), 1..4);
    conversations
        .prop_map(|all| {
            let mut plan = Vec::new();
            for (number, fates) in all.into_iter().enumerate() {
                let last = fates.len();
                for (at, fate) in fates.into_iter().enumerate() {
                    // Nobody can miss what comes after the last row that arrives.
                    let fate = if at + 1 == last { Fate::Once } else { fate };
                    plan.push((number as u8, at as u64 + 1, fate));
                    if matches!(fate, Fate::Twice) {
                        plan.push((number as u8, at as u64 + 1, Fate::Once));
                    }
                }
            }
            plan
        })
        .prop_shuffle()
}

/// Feeds the plan; answers history where `history` says so. Gives what was delivered per conversation.
fn run(bench: &mut Bench, plan: &[(u8, u64, Fate)], history: bool) -> BTreeMap<u8, Vec<(u64, bool)>> {
    let mut delivered: BTreeMap<u8, Vec<(u64, bool)>> = BTreeMap::new();
    let take = |bench: &mut Bench, delivered: &mut BTreeMap<u8, Vec<(u64, bool)>>| loop {
        let mut asked = false;
        for out in bench.outputs() {
            match out {
                Row(of, seq) => delivered.entry(of).or_default().push((seq, false)),
                Late(of, seq) => delivered.entry(of).or_default().push((seq, true)),
                Asked(of, from, limit) if history => {
                    let all: BTreeSet<u64> = plan.iter().filter(|row| row.0 == of).map(|row| row.1).collect();
                    let rows =
                        all.range(from..).take(limit).map(|seq| row(of, *seq, &format!("h{of}-{seq}")));
                    bench.inbox.on_history(&conversation(of), rows.collect(), bench.now);
                    asked = true;
                }
                _ => {}
            }
        }
        if !asked {
            return;
        }
    };
    for (number, seq, fate) in plan {
        if !matches!(fate, Fate::Dropped) {
            let delivery = row(*number, *seq, &format!("t{number}-{seq}"));
            bench.inbox.on_delivery(delivery, bench.now);
            take(bench, &mut delivered);
        }
    }
    bench.inbox.on_caught_up(bench.now);
    take(bench, &mut delivered);
    while let Some(at) = bench.inbox.deadline() {
        bench.now = at;
        bench.inbox.on_tick(at);
        take(bench, &mut delivered);
    }
    delivered
}

fn large() -> InboxLimits {
    InboxLimits { max_unsettled: 10_000, ..InboxLimits::default() }
}

proptest! {
    #[test]
    fn any_mixture_comes_out_once_and_in_order(plan in plans(), live in any::<bool>()) {
        let mut bench = Bench::new(large());
        if live {
            bench.caught_up();
        }
        for (number, ..) in &plan {
            bench.inbox.resume(&conversation(*number), 1, bench.now);
        }
        let delivered = run(&mut bench, &plan, true);
        for (number, rows) in delivered {
            let last = plan.iter().filter(|row| row.0 == number).map(|row| row.1).max().unwrap();
            prop_assert_eq!(rows, (1..=last).map(|seq| (seq, false)).collect::<Vec<_>>());
        }
        prop_assert_eq!(bench.inbox.stats().gaps, 0);
        prop_assert_eq!(bench.inbox.unsettled.held().messages, 0);
    }

    #[test]
    fn a_backlog_in_any_order_comes_out_ascending_with_no_cursor_known(plan in plans()) {
        let mut bench = Bench::new(large());
        let delivered = run(&mut bench, &plan, true);
        for (number, rows) in delivered {
            let arrived = |row: &&(u8, u64, Fate)| row.0 == number && !matches!(row.2, Fate::Dropped);
            let first = plan.iter().filter(arrived).map(|row| row.1).min().unwrap();
            let last = plan.iter().filter(arrived).map(|row| row.1).max().unwrap();
            prop_assert_eq!(rows, (first..=last).map(|seq| (seq, false)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_history_nothing_that_arrived_is_lost(plan in plans(), hold_rows in 0_usize..6, live in any::<bool>()) {
        let order = OrderLimits { history_rows: 0, hold_rows, ..OrderLimits::default() };
        let mut bench = Bench::new(InboxLimits { order, ..large() });
        if live {
            bench.caught_up();
        }
        let delivered = run(&mut bench, &plan, false);
        for (number, rows) in delivered {
            let arrived: BTreeSet<u64> = plan
                .iter()
                .filter(|row| row.0 == number && !matches!(row.2, Fate::Dropped))
                .map(|row| row.1)
                .collect();
            let mut seqs: Vec<u64> = rows.iter().map(|(seq, _)| *seq).collect();
            let in_order: Vec<u64> = rows.iter().filter(|(_, late)| !late).map(|(seq, _)| *seq).collect();
            prop_assert!(in_order.is_sorted(), "{rows:?}");
            seqs.sort_unstable();
            prop_assert_eq!(seqs, arrived.into_iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(bench.inbox.unsettled.held().messages, 0);
    }
}
