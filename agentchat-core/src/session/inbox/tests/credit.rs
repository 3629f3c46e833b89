//! How much the inbox takes in before its reader settles.

use super::*;

#[test]
fn a_row_pushed_again_and_again_under_one_tag_takes_no_room() {
    let mut bench = Bench::live(InboxLimits { max_unsettled: 2, ..InboxLimits::default() });
    bench.rows([1]);
    for _ in 0..100 {
        assert_eq!(bench.put(row(1, 1, "t1")), []);
    }
    assert!(bench.inbox.has_credit());
    assert_eq!(bench.settle("t1"), [acked(&["t1"])]);
}

#[test]
fn credit_is_bounded_by_messages_by_bytes_and_by_remembered_arrivals() {
    let mut bench = Bench::live(InboxLimits { max_unsettled: 2, ..InboxLimits::default() });
    bench.rows([1]);
    assert!(bench.inbox.has_credit());
    bench.rows([3]);
    assert!(!bench.inbox.has_credit(), "held rows count");
    bench.settle("t1");
    assert!(bench.inbox.has_credit());
    let mut heavy = Bench::live(InboxLimits { max_unsettled_bytes: 10, ..InboxLimits::default() });
    let mut large = row(1, 1, "t1");
    large.body = Body::text("0123456789");
    heavy.put(large);
    assert!(!heavy.inbox.has_credit());
    heavy.settle("t1");
    assert!(heavy.inbox.has_credit());
    let mut slow = Bench::live(InboxLimits { max_unsettled: 2, own: Some(own_address()), ..prefix() });
    slow.rows([1]);
    let mut taken = 0;
    while slow.inbox.has_credit() {
        let mut own = row(1, 2 + taken, "own");
        own.sender = Some(own_address());
        slow.put(own);
        taken += 1;
    }
    assert_eq!(taken, 31);
    assert_eq!(slow.settle("t1").len(), 1);
    assert!(slow.inbox.has_credit());
}

#[test]
fn history_is_asked_for_what_there_is_credit_for() {
    let mut bench = Bench::live(InboxLimits { max_unsettled: 4, ..InboxLimits::default() });
    assert_eq!(bench.rows([1, 100]), [Row(1, 1), Asked(1, 2, 2)]);
    assert_eq!(
        bench.history((2..=5).map(|seq| row(1, seq, &format!("t{seq}"))).collect()),
        [Row(1, 2), Row(1, 3)]
    );
    assert_eq!(bench.after(Duration::from_secs(5)), [], "a slow handler is no reason to give up");
    assert_eq!(bench.settle("t1"), [acked(&["t1"]), Asked(1, 4, 1)]);
}
