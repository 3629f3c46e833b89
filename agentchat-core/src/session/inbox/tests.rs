//! The inbox by itself: rows and connections go in, what the reader sees and what is acknowledged comes out.

mod credit;

use std::collections::HashMap;
use std::time::Duration;

use super::limits::AckStyle;
use super::*;
use crate::id::{ClientMsgId, MessageId};
use crate::session::order::OrderLimits;
use crate::{Address, Body};

pub(super) fn conversation(number: u8) -> ConversationId {
    ConversationId::new(format!("c{number}")).expect("id")
}

fn own_address() -> Address {
    Address::parse("loopback://me").expect("address")
}

pub(super) fn tag(text: &str) -> AckTag {
    AckTag::new(text).expect("tag")
}

/// Row `seq` of conversation `number`, as the server shows it under `tag`.
pub(super) fn row(number: u8, seq: u64, under: &str) -> Delivery {
    let id = MessageId::new(format!("m{number}-{seq}")).expect("id");
    let mut delivery = Delivery::new(id, tag(under), Body::text("x"));
    delivery.conversation = Some(conversation(number));
    delivery.seq = Some(seq);
    delivery.client_msg_id = Some(ClientMsgId::new(format!("k{number}-{seq}")).expect("id"));
    delivery.sender = Some(Address::parse("loopback://peer").expect("address"));
    delivery
}

pub(super) struct Bench {
    pub(super) inbox: Inbox,
    pub(super) now: Instant,
    /// The messages by the transport's tags, and the tags they were handed out under.
    arrived: HashMap<String, MessageId>,
    handed: HashMap<MessageId, AckTag>,
}

/// What came out, in words.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum Out {
    Row(u8, u64),
    Late(u8, u64),
    Ack(Vec<String>),
    Asked(u8, u64, usize),
    Gap(u64, u64),
    CaughtUp,
}
use Out::{Ack, Asked, CaughtUp, Gap, Late, Row};

impl Bench {
    pub(super) fn new(limits: InboxLimits) -> Self {
        let now = Instant::now();
        let (arrived, handed) = (HashMap::new(), HashMap::new());
        let mut inbox = Inbox::new(limits, now);
        inbox.keep_identities();
        Self { inbox, now, arrived, handed }
    }

    pub(super) fn live(limits: InboxLimits) -> Self {
        let mut bench = Self::new(limits);
        assert_eq!(bench.caught_up(), [CaughtUp]);
        bench
    }

    pub(super) fn put(&mut self, delivery: Delivery) -> Vec<Out> {
        self.arrived.insert(delivery.tag.to_string(), delivery.id.clone());
        self.inbox.on_delivery(delivery, self.now);
        self.outputs()
    }

    pub(super) fn rows(&mut self, seqs: impl IntoIterator<Item = u64>) -> Vec<Out> {
        seqs.into_iter().flat_map(|seq| self.put(row(1, seq, &format!("t{seq}")))).collect()
    }

    pub(super) fn caught_up(&mut self) -> Vec<Out> {
        self.inbox.on_caught_up(self.now);
        self.outputs()
    }

    fn history(&mut self, rows: Vec<Delivery>) -> Vec<Out> {
        self.arrived.extend(rows.iter().map(|row| (row.tag.to_string(), row.id.clone())));
        self.inbox.on_history(&conversation(1), rows, self.now);
        self.outputs()
    }

    /// Settles what arrived under the tag `text`.
    pub(super) fn settle(&mut self, text: &str) -> Vec<Out> {
        if let Some(handle) = self.arrived.get(text).and_then(|id| self.handed.get(id)) {
            self.inbox.settled(handle, self.now);
        }
        self.outputs()
    }

    fn after(&mut self, time: Duration) -> Vec<Out> {
        self.now += time;
        self.inbox.on_tick(self.now);
        self.outputs()
    }

    pub(super) fn outputs(&mut self) -> Vec<Out> {
        let number = |id: &ConversationId| id.as_str()[1..].parse().expect("number");
        let mut outputs = Vec::new();
        while let Some(action) = self.inbox.poll() {
            outputs.push(match action {
                InboxAction::Deliver { delivery, late } => {
                    self.handed.insert(delivery.id.clone(), delivery.tag.clone());
                    let place = (number(&delivery.conversation.expect("set")), delivery.seq.expect("set"));
                    if late { Late(place.0, place.1) } else { Row(place.0, place.1) }
                }
                InboxAction::Ack(tags) => Ack(tags.iter().map(ToString::to_string).collect()),
                InboxAction::AskHistory { conversation, from, limit } => {
                    Asked(number(&conversation), from, limit)
                }
                InboxAction::CaughtUp => CaughtUp,
                InboxAction::Gap { expected, got, .. } => Gap(expected, got),
            });
        }
        outputs
    }
}

pub(super) fn acked(tags: &[&str]) -> Out {
    Ack(tags.iter().map(|text| (*text).to_owned()).collect())
}

fn prefix() -> InboxLimits {
    InboxLimits { ack: AckStyle::Prefix, ..InboxLimits::default() }
}

#[test]
fn a_backlog_of_125_with_a_live_row_before_it_comes_in_order() {
    let mut bench = Bench::new(InboxLimits::default());
    let mut outputs = bench.rows([125]);
    outputs.extend(bench.rows(1..125));
    outputs.extend(bench.caught_up());
    let mut wanted: Vec<Out> = (1..=125).map(|seq| Row(1, seq)).collect();
    wanted.push(CaughtUp);
    assert_eq!(outputs, wanted);
}

#[test]
fn forty_rows_out_of_order_all_come_in_order() {
    let mut bench = Bench::live(InboxLimits::default());
    bench.inbox.resume(&conversation(1), 1, bench.now);
    let mut rows = bench.rows((1..=40).rev());
    rows.retain(|out| !matches!(out, Asked(..)));
    assert_eq!(rows, (1..=40).map(|seq| Row(1, seq)).collect::<Vec<_>>());
    assert_eq!((bench.inbox.stats().gaps, bench.inbox.stats().late), (0, 0));
}

#[test]
fn own_replies_at_every_second_number_never_stall() {
    let mut bench = Bench::live(InboxLimits { own: Some(own_address()), ..InboxLimits::default() });
    for seq in (1..200).step_by(2) {
        assert_eq!(bench.rows([seq]), [Row(1, seq)]);
        bench.settle(&format!("t{seq}"));
        bench.inbox.note_own_send(&conversation(1), seq + 1, bench.now);
        assert_eq!(bench.inbox.deadline(), None);
    }
    assert_eq!(bench.inbox.stats().gaps, 0);
}

#[test]
fn a_question_that_was_answered_by_arrivals_is_not_put() {
    let mut bench = Bench::live(InboxLimits::default());
    for seq in [1, 3, 2] {
        bench.inbox.on_delivery(row(1, seq, &format!("t{seq}")), bench.now);
    }
    assert_eq!(bench.outputs(), [Row(1, 1), Row(1, 2), Row(1, 3)]);
}

#[test]
fn own_messages_are_acknowledged_and_counted_unless_they_are_wanted() {
    let own = |seq| {
        let mut own = row(1, seq, "own");
        own.sender = Some(own_address());
        own
    };
    let mut bench = Bench::live(InboxLimits { own: Some(own_address()), ..InboxLimits::default() });
    assert_eq!(bench.rows([1]), [Row(1, 1)]);
    assert_eq!(bench.put(own(2)), [acked(&["own"])]);
    assert_eq!(bench.rows([3]), [Row(1, 3)]);
    assert_eq!(bench.inbox.stats().self_filtered, 1);
    assert_eq!(bench.rows([5]), [Asked(1, 4, 1)]);
    assert_eq!(bench.history(vec![own(4)]), [Row(1, 5)], "an own row of history fills its number");
    let mut open = Bench::live(InboxLimits::default());
    assert_eq!(open.put(own(2)), [Row(1, 2)]);
}

#[test]
fn repetitions_are_acknowledged_again_but_not_delivered() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.rows([1]), [Row(1, 1)]);
    assert_eq!(bench.put(row(1, 1, "copy")), [], "in progress: with the first");
    assert_eq!(bench.settle("t1"), [acked(&["t1", "copy"])]);
    assert_eq!(bench.settle("t1"), [], "twice is fine");
    assert_eq!(bench.put(row(1, 1, "again")), [acked(&["again"])]);
    assert_eq!(bench.put(row(1, 2, "t2")), [Row(1, 2)]);
    let stats = bench.inbox.stats();
    assert_eq!((stats.received, stats.delivered, stats.duplicates), (4, 2, 2));
}

#[test]
fn a_message_sent_again_under_another_number_fills_that_number() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.rows([1]), [Row(1, 1)]);
    let mut resent = row(1, 1, "resent");
    resent.seq = Some(2);
    resent.id = MessageId::new("other").expect("id");
    assert_eq!(bench.put(resent), []);
    assert_eq!(bench.rows([3]), [Row(1, 3)]);
}

#[test]
fn acks_of_a_prefix_wait_for_everything_that_arrived_before() {
    let mut bench = Bench::live(prefix());
    assert_eq!(bench.rows([1, 2, 3]), [Row(1, 1), Row(1, 2), Row(1, 3)]);
    assert_eq!(bench.settle("t2"), []);
    assert_eq!(bench.put(row(1, 2, "copy")), []);
    assert_eq!(bench.settle("t1"), [acked(&["t1", "t2"])]);
    assert_eq!(bench.settle("t3"), [acked(&["t3", "copy"])]);
}

#[test]
fn a_cursor_never_passes_a_row_that_is_held() {
    let mut bench = Bench::live(prefix());
    assert_eq!(bench.rows([1, 3]), [Row(1, 1), Asked(1, 2, 1)]);
    assert_eq!(bench.put(row(2, 9, "other")), [Row(2, 9)]);
    assert_eq!(bench.settle("t1"), [acked(&["t1"])]);
    assert_eq!(bench.settle("other"), []);
    assert_eq!(bench.settle("t3"), [], "nobody has it yet");
    assert_eq!(bench.history(vec![row(1, 2, "h2")]), [Row(1, 2), Row(1, 3)]);
    assert_eq!(bench.settle("h2"), [], "history is no arrival");
    assert_eq!(bench.settle("t3"), [acked(&["t3", "other"])]);
    assert_eq!(bench.put(row(1, 2, "t2")), [acked(&["t2"])]);
}

#[test]
fn a_cursor_waits_for_the_rows_of_history_it_would_pass() {
    let mut bench = Bench::live(prefix());
    assert_eq!(bench.rows([1, 4]), [Row(1, 1), Asked(1, 2, 2)]);
    assert_eq!(bench.history(vec![row(1, 2, "h2"), row(1, 3, "h3")]), [Row(1, 2), Row(1, 3), Row(1, 4)]);
    assert_eq!(bench.settle("t4"), []);
    assert_eq!(bench.settle("h3"), []);
    assert_eq!(bench.settle("t1"), [], "the second row would be passed, and is not settled");
    assert_eq!(bench.settle("h2"), [acked(&["t1", "t4"])]);
    bench.rows([6]);
    bench.history(vec![row(1, 5, "h5")]);
    bench.inbox.on_disconnected(bench.now);
    bench.inbox.on_subscribed(bench.now);
    bench.caught_up();
    assert_eq!(bench.put(row(2, 1, "other")), [Row(2, 1)]);
    assert_eq!(bench.settle("other"), [acked(&["other"])], "on the next connection it comes again");
}

#[test]
fn what_is_in_hand_when_it_comes_again_is_acknowledged_under_its_new_tag() {
    for style in [AckStyle::PerMessage, AckStyle::Prefix] {
        let mut bench = Bench::live(InboxLimits { ack: style, ..InboxLimits::default() });
        bench.rows([1, 2]);
        assert_eq!(bench.settle("t2").is_empty(), style == AckStyle::Prefix);
        bench.inbox.on_disconnected(bench.now);
        assert_eq!(bench.outputs(), []);
        bench.inbox.on_subscribed(bench.now);
        assert_eq!(bench.put(row(1, 1, "new1")), [], "the handler still has it");
        let settled = bench.put(row(1, 2, "new2"));
        match style {
            AckStyle::PerMessage => {
                assert_eq!(settled, [acked(&["new2"])]);
                assert_eq!(bench.settle("t1"), [acked(&["new1"])]);
            }
            AckStyle::Prefix => {
                assert_eq!(settled, []);
                assert_eq!(bench.settle("t1"), [acked(&["new1", "new2"])]);
            }
        }
    }
}

#[test]
fn what_was_settled_without_a_connection_is_acknowledged_when_it_comes_again() {
    let mut bench = Bench::live(InboxLimits::default());
    bench.rows([1]);
    bench.inbox.on_disconnected(bench.now);
    assert_eq!(bench.settle("t1"), [], "the old tag is worth nothing");
    bench.inbox.on_subscribed(bench.now);
    assert_eq!(bench.put(row(1, 1, "t1")), [acked(&["t1"])]);
}

#[test]
fn tags_that_a_new_connection_uses_for_other_messages_settle_nothing_twice() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.put(row(1, 1, "0")), [Row(1, 1)]);
    assert_eq!(bench.settle("0"), [acked(&["0"])]);
    let old = bench.handed[&row(1, 1, "0").id].clone();
    bench.inbox.on_disconnected(bench.now);
    bench.inbox.on_subscribed(bench.now);
    bench.caught_up();
    assert_eq!(bench.put(row(1, 2, "0")), [Row(1, 2)]);
    assert_eq!((bench.inbox.settled(&old, bench.now), bench.outputs()), (None, vec![]));
    assert_eq!((bench.inbox.settled(&tag("0"), bench.now), bench.outputs()), (None, vec![]));
    assert_eq!(bench.settle("0"), [acked(&["0"])]);
    let other = Inbox::new(InboxLimits { session: 1, ..InboxLimits::default() }, bench.now);
    assert!(bench.inbox.issued(&old) && !other.issued(&old) && !bench.inbox.issued(&tag("0")));
}

#[test]
fn held_rows_survive_a_disconnect_and_are_not_delivered_twice() {
    let mut bench = Bench::live(InboxLimits::default());
    assert_eq!(bench.rows([1, 3]), [Row(1, 1), Asked(1, 2, 1)]);
    bench.inbox.on_disconnected(bench.now);
    assert_eq!(bench.after(Duration::from_secs(10)), [], "it waits for the next backlog");
    bench.inbox.on_subscribed(bench.now);
    assert_eq!(bench.put(row(1, 2, "n2")), [Row(1, 2), Row(1, 3)]);
    assert_eq!(bench.put(row(1, 3, "n3")), []);
    assert_eq!(bench.caught_up(), [CaughtUp]);
}

#[test]
fn without_a_new_connection_held_rows_pass_after_the_idle_time() {
    let mut bench = Bench::live(InboxLimits::default());
    bench.rows([1, 3]);
    bench.inbox.on_disconnected(bench.now);
    let end = bench.inbox.deadline().expect("something is held");
    assert_eq!(end - bench.now, Duration::from_secs(30));
    bench.after(end - bench.now);
    assert_eq!(bench.after(Duration::from_secs(2)), [Gap(2, 3), Row(1, 3)]);
}

#[test]
fn the_end_of_the_backlog_is_announced_after_its_last_row() {
    let mut bench = Bench::new(InboxLimits::default());
    assert_eq!(bench.rows([1, 3]), []);
    assert_eq!(bench.caught_up(), [Row(1, 1), Asked(1, 2, 1)]);
    assert_eq!(bench.put(row(2, 5, "live")), [Row(2, 5)]);
    assert_eq!(bench.history(vec![row(1, 2, "h2")]), [Row(1, 2), Row(1, 3), CaughtUp]);
}

#[test]
fn rows_that_wait_for_the_backlog_take_half_of_the_credit() {
    let mut bench = Bench::new(InboxLimits { max_unsettled: 8, ..InboxLimits::default() });
    let mut passed = Vec::new();
    for number in 0..100 {
        assert!(bench.inbox.has_credit());
        for out in bench.put(row(number, 7, &format!("t{number}"))) {
            let Row(of, 7) = out else { panic!("{out:?}") };
            passed.push(of);
            bench.settle(&format!("t{of}"));
        }
    }
    assert_eq!(passed, (0..96).collect::<Vec<_>>(), "the longest waiting first");
    assert_eq!(bench.caught_up().len(), 5);
}

#[test]
fn a_hole_in_the_backlog_does_not_starve_it_of_credit() {
    for history_rows in [0, 200] {
        let order = OrderLimits { history_rows, ..OrderLimits::default() };
        let mut bench = Bench::new(InboxLimits { max_unsettled: 8, order, ..InboxLimits::default() });
        bench.inbox.resume(&conversation(1), 1, bench.now);
        let outputs = bench.rows([2, 3, 4, 5, 6]);
        let rows = (2..=6).map(|seq| Row(1, seq));
        if history_rows == 0 {
            assert_eq!(outputs, std::iter::once(Gap(1, 2)).chain(rows).collect::<Vec<_>>());
        } else {
            assert_eq!(outputs, [Asked(1, 1, 1)]);
            assert_eq!(
                bench.history(vec![row(1, 2, "h")]),
                std::iter::once(Gap(1, 2)).chain(rows).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_backlog_whose_end_is_never_announced_holds_nothing_for_ever() {
    let mut bench = Bench::new(InboxLimits::default());
    assert_eq!(bench.rows([9]), []);
    let end = bench.inbox.deadline().expect("a row is held");
    assert_eq!(bench.after(end - bench.now), [Row(1, 9)]);
    let mut busy = Bench::new(InboxLimits::default());
    let mut passed = busy.rows([9]);
    for number in 0..70_u64 {
        passed.extend(busy.after(Duration::from_secs(10)));
        let mut other = row(2, 1, &format!("o{number}"));
        (other.seq, other.client_msg_id) = (None, None);
        other.id = MessageId::new(format!("o{number}")).expect("id");
        busy.inbox.on_delivery(other, busy.now);
        while let Some(action) = busy.inbox.poll() {
            if let InboxAction::Deliver { delivery, .. } = action {
                busy.inbox.settled(&delivery.tag, busy.now);
            }
        }
    }
    assert_eq!(passed, [Row(1, 9)], "steady traffic does not stretch it beyond the cap");
}

#[test]
fn a_slow_handler_does_not_end_the_backlog() {
    let mut bench = Bench::new(InboxLimits { max_unsettled: 4, ..InboxLimits::default() });
    bench.inbox.resume(&conversation(1), 1, bench.now);
    assert_eq!(bench.rows([1, 2, 9]), [Row(1, 1), Row(1, 2)]);
    assert_eq!(bench.put(row(2, 5, "other")), []);
    assert!(!bench.inbox.has_credit());
    assert_eq!(bench.after(Duration::from_secs(100)), [], "without credit it can bring nothing");
    bench.settle("t1");
    assert_eq!(bench.after(Duration::from_secs(29)), [], "credit counts from when it came back");
    assert_eq!(bench.rows([3]), [Row(1, 3)]);
    bench.settle("t2");
    assert!(bench.inbox.is_catching_up());
    assert_eq!(bench.after(Duration::from_secs(30)), [Row(2, 5), Asked(1, 4, 1)]);
}

#[test]
fn bounds_and_history_come_from_the_subscription_and_the_network() {
    use crate::capability::Capabilities;
    use crate::options::SubscribeOptions;

    let options = SubscribeOptions::own().with_max_unsettled(3).with_max_unsettled_bytes(4);
    let limits = |able: &Capabilities| InboxLimits::new(7, true, able, &options);
    let without = limits(&Capabilities::none(&["loopback"]));
    assert_eq!((without.session, without.max_unsettled, without.max_unsettled_bytes), (7, 3, 4));
    assert_eq!((without.order.history_rows, without.numbered, without.ack), (0, false, AckStyle::PerMessage));
    let able = Capabilities { replay: true, ..Capabilities::none(&["loopback"]) };
    assert_eq!(limits(&able).order.history_rows, 200);
    assert_eq!(InboxLimits::new(7, false, &able, &options).order.history_rows, 0, "it is not of this inbox");
    let mut cursor = Capabilities { numbered: true, ..able };
    cursor.ack = crate::AckGuarantee::Cumulative;
    assert_eq!((limits(&cursor).numbered, limits(&cursor).ack), (true, AckStyle::Prefix));
}

#[test]
fn ids_settled_in_an_earlier_session_are_repetitions() {
    let mut first = Bench::live(InboxLimits::default());
    first.rows([1]);
    let identity =
        first.inbox.settled(&first.handed[&row(1, 1, "t1").id], first.now).expect("it was handed out");
    let mut second = Bench::live(InboxLimits::default());
    second.inbox.restore(&identity, second.now);
    assert_eq!(second.rows([1]), [acked(&["t1"])]);
}

#[test]
fn rows_without_a_number_pass_as_they_arrive() {
    let mut bench = Bench::new(InboxLimits { numbered: false, ..InboxLimits::default() });
    assert_eq!(bench.rows([3, 1]), [Row(1, 3), Row(1, 1)]);
    bench.inbox.note_own_send(&conversation(1), 2, bench.now);
    assert_eq!(bench.inbox.order.arrivals(), 0);
}
