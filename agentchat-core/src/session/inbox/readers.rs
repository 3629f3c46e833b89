//! What happens when the reader goes away and another comes.

use super::InboxAction;
use super::limits::InboxLimits;
use super::tests::Out::{Asked, CaughtUp, Row};
use super::tests::{Bench, acked, row};

#[test]
fn an_abandoned_message_is_handed_to_the_next_reader() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.rows([1, 2, 4]), [Row(1, 1), Row(1, 2), Asked(1, 3, 1)]);
    bench.inbox.on_abandoned(bench.now);
    assert!(bench.inbox.unsettled.total().messages == 0 && bench.inbox.deadline().is_none());
    assert_eq!(bench.settle("t1"), [], "late, but it counts");
    bench.inbox.on_subscribed(bench.now);
    bench.inbox.on_caught_up(bench.now);
    assert_eq!(bench.outputs(), [CaughtUp]);
    assert_eq!(bench.put(row(1, 1, "n1")), [acked(&["n1"])]);
    bench.inbox.on_delivery(row(1, 2, "n2"), bench.now);
    let Some(InboxAction::Deliver { delivery, late: false }) = bench.inbox.poll() else {
        panic!("unsettled")
    };
    assert!(delivery.redelivered);
    assert_eq!(bench.settle("t2"), [acked(&["n2"])], "either of its tags settles it");
    assert_eq!(bench.rows([3, 4]), [Row(1, 3), Row(1, 4)]);
    bench.settle("t4");
    assert_eq!(bench.put(row(1, 4, "n4")), [acked(&["n4"])], "what was forgotten can be settled for good");
}

#[test]
fn what_a_former_reader_settles_is_not_handed_to_the_next() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.rows([2]), [Row(1, 2)]);
    bench.inbox.on_abandoned(bench.now);
    bench.inbox.on_subscribed(bench.now);
    assert_eq!(bench.put(row(1, 2, "n2")), [], "it waits for the backlog");
    assert_eq!(bench.settle("n2"), [acked(&["n2"])]);
    assert_eq!(bench.rows([3]), []);
    assert_eq!(bench.caught_up(), [Row(1, 3), CaughtUp]);
}
