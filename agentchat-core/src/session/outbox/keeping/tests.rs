//! The queue beside a store: what is kept before it is tried, and what an earlier session left.

use std::time::Duration;

use super::*;
use crate::error::Advice;
use crate::message::Outbound;
use crate::session::backoff::BackoffPolicy;
use crate::session::outbox::{Action, Change, OutboxLimits, Outcome};
use crate::store::ParkedReason;
use crate::{Address, Body, ConversationId, MessageId, Receipt, SendOutcome};

const WALL: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn a_message_is_kept_first_and_removed_after_its_answer() {
    let mut bench = Bench::new(true, vec![], vec![]);
    bench.outbox.on_connected();
    let message = said("1");
    let ticket = bench.push(&message);
    assert_eq!((bench.started(), bench.state(ticket)), (vec![], State::Keeping));
    assert_eq!(bench.asked(), ["save 0 as 1"], "it is tried next");
    assert!(bench.asked().is_empty());
    assert!(matches!(bench.stored(&message, Ok(())), Stored::Kept(kept) if kept == ticket));
    assert_eq!((bench.started(), bench.asked().len()), (vec![ticket], 0));
    bench.answer(ticket, 1, Ok(Receipt::new(SendOutcome::Accepted(MessageId::new("m").expect("valid")))));
    assert_eq!((bench.asked(), bench.outbox.unwritten()), (vec!["remove".to_owned()], 1));
    bench.stored(&message, Ok(()));
    assert_eq!((bench.asked().len(), bench.outbox.unwritten()), (0, 0));
}

#[test]
fn a_message_kept_without_a_connection_is_noted_as_tried_before_it_is() {
    for dedup in [true, false] {
        let mut bench = Bench::new(dedup, vec![], vec![]);
        let (first, second) = (said("1"), said("2"));
        let tickets = [bench.push(&first), bench.push(&second)];
        assert_eq!(bench.asked(), ["save 0 as 0", "save 1 as 0"]);
        bench.stored(&first, Ok(()));
        bench.stored(&second, Ok(()));
        bench.outbox.on_connected();
        let both = ["save 0 as 1", "save 1 as 1"];
        // The second may be noted early only where a repetition does no harm.
        assert_eq!(bench.asked(), if dedup { &both[..] } else { &both[..1] });
        assert_eq!(bench.started(), []);
        bench.stored(&first, Ok(()));
        assert_eq!(bench.started(), [tickets[0]]);
    }
}

#[test]
fn what_was_restored_keeps_its_place_and_new_messages_stand_behind_it() {
    let queued = vec![StoredSend::new(3, said("a")), StoredSend::new(9, said("c")).with_attempts(2)];
    let reason = ParkedReason::new(ErrorKind::Forbidden, Reached::Yes, "send: no", WALL);
    let parked = vec![ParkedSend::new(StoredSend::new(7, said("b")).with_attempts(1), reason)];
    let mut bench = Bench::new(true, queued, parked);
    let new = said("d");
    bench.push(&new);
    assert_eq!(bench.asked(), ["save 10 as 0"]);
    let shown: Vec<_> = bench.outbox.pending().map(|pending| (pending.state, pending.attempts)).collect();
    let expected = [(State::Ready, 0), (State::Parked, 1), (State::Waiting, 2), (State::Keeping, 0)];
    assert_eq!(shown, expected);
    let reached: Vec<_> = bench.outbox.pending().map(|pending| pending.reached).collect();
    assert_eq!(reached, [Reached::No, Reached::No, Reached::Unknown, Reached::No]);
    // Resumed, it takes its own place again, not a new one.
    let (ticket, message) = bench.outbox.pending().nth(1).map(|b| (b.ticket, b.message.clone())).expect("b");
    assert!(bench.outbox.resume(ticket, bench.now));
    assert_eq!(bench.state(ticket), State::Keeping, "the store has to take it back first");
    assert_eq!(bench.asked(), ["save 7 as 1"]);
    bench.stored(&message, Ok(()));
    assert_eq!(bench.state(ticket), State::Waiting);
}

#[test]
fn without_recognition_what_may_have_been_tried_is_parked_in_the_queue_and_in_the_store() {
    let queued = vec![StoredSend::new(1, said("tried")).with_attempts(1), StoredSend::new(2, said("new"))];
    let mut bench = Bench::new(false, queued, vec![]);
    let Some(Action::Parked(_, error)) = bench.outbox.poll(bench.now) else { panic!("reported") };
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::Unknown));
    assert_eq!(bench.asked(), ["park"]);
}

#[test]
fn a_message_resumed_while_its_parking_fails_is_saved_again() {
    let queued = vec![StoredSend::new(1, said("x")).with_attempts(1)];
    let mut bench = Bench::new(false, queued, vec![]);
    let (ticket, message) = bench.outbox.pending().next().map(|x| (x.ticket, x.message.clone())).expect("x");
    assert_eq!(bench.asked(), ["park"]);
    assert!(bench.outbox.resume(ticket, bench.now));
    bench.stored(&message, failed(Advice::Backoff));
    assert_eq!((bench.asked().len(), bench.state(ticket)), (0, State::Keeping), "not at once");
    bench.now = bench.outbox.deadline().expect("it is tried again");
    assert_eq!(bench.asked(), ["save 1 as 1"], "it may be parked there by now");
    bench.stored(&message, Ok(()));
    assert_eq!(bench.state(ticket), State::Ready);
}

#[test]
fn an_id_that_ended_and_comes_with_another_content_is_removed_before_it_is_saved() {
    let mut bench = Bench::new(true, vec![], vec![]);
    let message = said("old");
    let ticket = bench.push(&message);
    bench.asked();
    bench.stored(&message, Ok(()));
    assert!(bench.outbox.withdraw(ticket));
    let other = said("new").with_id(message.client_msg_id.clone());
    let ticket = bench.push(&other);
    assert_eq!(bench.asked(), ["remove"]);
    bench.stored(&other, Ok(()));
    assert_eq!(bench.asked(), ["save 1 as 0"]);
    assert!(matches!(bench.stored(&other, Ok(())), Stored::Kept(kept) if kept == ticket));
}

#[test]
fn what_a_save_under_way_leaves_is_removed_also_when_its_id_comes_twice_more() {
    let mut bench = Bench::new(true, vec![], vec![]);
    let message = said("old");
    let ticket = bench.push(&message);
    assert_eq!(bench.asked(), ["save 0 as 0"]);
    assert!(bench.outbox.withdraw(ticket));
    let other = said("new").with_id(message.client_msg_id.clone());
    let ticket = bench.push(&other);
    assert!(bench.outbox.withdraw(ticket));
    let ticket = bench.push(&other);
    bench.stored(&message, Ok(()));
    assert_eq!(bench.asked(), ["remove"], "the store holds the old content");
    bench.stored(&other, Ok(()));
    assert_eq!(bench.asked(), ["save 2 as 0"]);
    assert!(matches!(bench.stored(&other, Ok(())), Stored::Kept(kept) if kept == ticket));
}

#[test]
fn a_message_the_store_refuses_is_told_and_one_of_a_foreign_content_is_left_there() {
    let mut bench = Bench::new(true, vec![], vec![]);
    let message = said("x");
    let ticket = bench.push(&message);
    bench.asked();
    let conflict = Error::new(ErrorKind::Conflict, "outbox.save", "").with_advice(Advice::Never);
    let Stored::Parked(parked, error) = bench.stored(&message, Err(conflict)) else { panic!("told") };
    assert_eq!((parked, error.kind()), (ticket, ErrorKind::Conflict));
    assert!(bench.outbox.discard(ticket).is_some());
    assert_eq!((bench.asked().len(), bench.outbox.unwritten()), (0, 0), "it is not ours to remove");
}

struct Bench {
    outbox: Outbox,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new(dedup: bool, queued: Vec<StoredSend>, parked: Vec<ParkedSend>) -> Self {
        let mut outbox = Outbox::new(OutboxLimits::new(), BackoffPolicy::new(), dedup);
        let now = Instant::now();
        outbox.restore(queued, parked, now, WALL);
        Self { outbox, now, rng: fastrand::Rng::with_seed(7) }
    }

    fn push(&mut self, message: &Outbound) -> Ticket {
        self.outbox.push(message.clone(), self.now, WALL).expect("fits").ticket()
    }

    /// The changes to make, in words.
    fn asked(&mut self) -> Vec<String> {
        let ops = std::iter::from_fn(|| self.outbox.poll_store(self.now));
        let words = ops.map(|op| match op.change {
            Change::Save(send) => format!("save {} as {}", send.position, send.attempts),
            Change::Remove => "remove".to_owned(),
            Change::Park(_) => "park".to_owned(),
        });
        words.collect()
    }

    fn stored(&mut self, message: &Outbound, result: Result<()>) -> Stored {
        self.now += Duration::from_millis(1);
        self.outbox.on_stored(&message.client_msg_id, result, self.now, &mut self.rng)
    }

    fn started(&mut self) -> Vec<Ticket> {
        let actions = std::iter::from_fn(|| self.outbox.poll(self.now));
        let tickets = actions.map(|action| match action {
            Action::Start(attempt) => attempt.ticket,
            Action::Parked(ticket, error) => panic!("{ticket:?} was parked: {error}"),
        });
        tickets.collect()
    }

    fn answer(&mut self, ticket: Ticket, number: u32, result: Result<Receipt>) {
        let outcome = self.outbox.on_result(ticket, number, result, self.now, &mut self.rng);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    fn state(&self, ticket: Ticket) -> State {
        self.outbox.get(ticket).expect("in the queue").state
    }
}

fn said(text: &str) -> Outbound {
    let conversation = ConversationId::new("c").expect("valid");
    Outbound::new(Address::parse("loopback://b").expect("valid"), Body::text(text))
        .with_conversation(conversation)
}

fn failed(advice: Advice) -> Result<()> {
    Err(Error::new(ErrorKind::Unexpected, "outbox", "as the test says").with_advice(advice))
}
