//! A store beside the list: nothing is tried that it does not hold, and it ends as the queue does.

use std::collections::{HashMap, HashSet};

use super::ops::Fate;
use super::*;
use crate::error::Advice;
use crate::store::{ParkedReason, ParkedSend, StoredSend};

#[derive(Default)]
pub(super) struct Disk {
    held: HashMap<ClientMsgId, (StoredSend, Option<Arc<Error>>)>,
    under_way: Vec<StoreOp>,
    /// Ids of which the store refused something for good: it does not follow them any more.
    broken: HashSet<ClientMsgId>,
}

impl Disk {
    pub(super) fn assert_may_be_tried(&self, message: &Outbound) {
        let (send, parked) = self.held.get(&message.client_msg_id).expect("it was kept before");
        assert!(send.attempts > 0 && parked.is_none() && send.message == *message, "{send:?} {parked:?}");
    }

    pub(super) fn assert_empty(&self, outbox: &Outbox) {
        let left: Vec<_> = self.held.keys().filter(|id| !self.broken.contains(*id)).collect();
        assert!(left.is_empty(), "{left:?} would be sent again");
        assert_eq!(outbox.unwritten(), 0);
    }

    fn make(&mut self, op: &StoreOp) {
        match &op.change {
            Change::Save(send) => {
                let other = self.held.get(&op.id).is_some_and(|(held, _)| held.message != send.message);
                assert!(!other, "the store would refuse another content");
                self.held.insert(op.id.clone(), ((**send).clone(), None));
            }
            Change::Remove => drop(self.held.remove(&op.id)),
            Change::Park(error) => {
                let (_, parked) = self.held.get_mut(&op.id).expect("the store would refuse it");
                *parked = Some(Arc::clone(error));
            }
        }
    }
}

impl Pair {
    /// A new ticket was given out for `message`.
    pub(super) fn pushed(&mut self, ticket: Ticket, message: Outbound, lane: u8) {
        assert!(self.items.iter().all(|item| item.ticket < ticket) && !self.ended.contains(&ticket));
        let left = message.deadline.map(|at| at.duration_since(self.wall()).unwrap_or_default());
        self.items.push(Item {
            ticket,
            message,
            lane,
            state: State::Ready,
            attempts: 0,
            before: 0,
            tries: 0,
            holders: 1,
            owned: false,
            unknown: false,
            deadline: left.map(|left| self.now + left),
            noted: self.outbox.entries.get(ticket.0).expect("it is there").noted,
        });
        self.pushes += 1;
    }

    pub(super) fn again(&mut self, which: usize, altered: bool) {
        if self.past.is_empty() {
            return;
        }
        let mut message = self.past[which % self.past.len()].clone();
        message.deadline = None;
        if altered {
            message.reply_to = message.reply_to.xor(Some(message.to.clone()));
        }
        // What the store would not follow any more is no matter of the queue.
        let broken = self.disk.as_ref().is_some_and(|disk| disk.broken.contains(&message.client_msg_id));
        if broken || self.outbox.knows(&message.client_msg_id) {
            return;
        }
        let lane = message.conversation.as_ref().map_or(0, |id| id.as_str()[1..].parse().expect("a number"));
        if let Ok(queued) = self.outbox.push(message.clone(), self.now, self.wall()) {
            self.pushed(queued.ticket(), message, lane);
        }
    }

    /// Takes the next changes, of different messages.
    pub(super) fn write(&mut self, times: usize) {
        let Some(disk) = &mut self.disk else { return };
        for _ in 0..times {
            let Some(op) = self.outbox.poll_store(self.now) else { return };
            assert!(disk.under_way.iter().all(|other| other.id != op.id), "two changes of one message");
            disk.under_way.push(op);
        }
    }

    pub(super) fn written(&mut self, which: usize, fate: Fate) {
        let Some(disk) = self.disk.as_mut().filter(|disk| !disk.under_way.is_empty()) else { return };
        let at = which % disk.under_way.len();
        let op = disk.under_way.remove(at);
        if matches!(fate, Fate::Made | Fate::MadeButFailed) {
            disk.make(&op);
        }
        if fate == Fate::Broken {
            disk.broken.insert(op.id.clone());
        }
        let failed = |kind, advice| Err(Error::new(kind, "outbox", "").with_advice(advice));
        let result = match fate {
            Fate::Made => Ok(()),
            Fate::MadeButFailed | Fate::Failed => failed(ErrorKind::Unexpected, Advice::Backoff),
            Fate::Full => failed(ErrorKind::Backpressure, Advice::Backoff),
            Fate::Broken => failed(ErrorKind::Unexpected, Advice::Never),
        };
        let outcome = self.outbox.on_stored(&op.id, result, self.now, &mut self.rng);
        match outcome {
            Stored::Kept(ticket) => {
                let Change::Save(send) = &op.change else { panic!("{op:?}") };
                assert_eq!(fate, Fate::Made);
                let item = self.item(ticket);
                assert_eq!(item.message, send.message);
                item.noted = Some(send.attempts);
            }
            Stored::Parked(ticket, error) => {
                assert!(fate != Fate::Made && fate != Fate::Full, "{error}");
                let at = self.items.iter().position(|item| item.ticket == ticket).expect("present");
                assert_eq!(self.items[at].state, State::Ready);
                self.items[at].park();
            }
            Stored::Nothing => {}
        }
    }

    /// Lets the store follow.
    pub(super) fn write_all(&mut self) {
        while self.disk.is_some() {
            self.write(usize::MAX);
            if self.disk.as_ref().is_none_or(|disk| disk.under_way.is_empty()) {
                return self.compare_disk();
            }
            self.written(0, Fate::Made);
            self.compare();
        }
    }

    /// What waits for its time in the journal excepted, the store holds what the queue holds.
    fn compare_disk(&self) {
        let Some(disk) = self.disk.as_ref().filter(|_| self.outbox.unwritten() == 0) else { return };
        let follows = |id: &ClientMsgId| !disk.broken.contains(id);
        for item in self.items.iter().filter(|item| follows(&item.message.client_msg_id)) {
            let (send, parked) = &disk.held[&item.message.client_msg_id];
            assert_eq!((&send.message, parked.is_some()), (&item.message, item.state == State::Parked));
        }
        let held = disk.held.keys().filter(|id| follows(id)).count();
        let items = self.items.iter().filter(|item| follows(&item.message.client_msg_id)).count();
        assert_eq!(held, items);
    }

    /// What was kept comes back in order, as it was; what may have been tried says so.
    pub(super) fn kill(&mut self, made: bool) {
        let Some(mut disk) = self.disk.take() else { return };
        for op in std::mem::take(&mut disk.under_way).into_iter().filter(|_| made) {
            disk.make(&op);
        }
        let mut held: Vec<_> = disk.held.values().cloned().collect();
        held.sort_by_key(|(send, _)| send.position);
        let kept = self.items.iter().filter(|item| item.noted.is_some());
        let kept: Vec<_> = kept.map(|item| item.message.client_msg_id.clone()).collect();
        let back: Vec<_> = held.iter().map(|(send, _)| send.id()).filter(|id| kept.contains(id)).collect();
        assert_eq!(back, kept.iter().collect::<Vec<_>>(), "lost or out of order");
        for item in self.items.iter().filter(|item| item.attempts > 0) {
            let (send, _) = &disk.held[&item.message.client_msg_id];
            assert!(send.attempts > 0, "it may have been tried");
        }
        let parked = |(send, error): &(StoredSend, Option<Arc<Error>>)| {
            let error = error.as_ref()?;
            Some(ParkedSend::new(send.clone(), ParkedReason::from_error(error, SystemTime::UNIX_EPOCH)))
        };
        let queued = held.iter().filter(|(_, parked)| parked.is_none()).map(|(send, _)| send.clone());
        self.outbox = empty(self.dedup);
        self.outbox.restore(
            queued.collect(),
            held.iter().filter_map(parked).collect(),
            self.now,
            self.wall(),
        );
        (self.connected, self.pushes) = (false, 0);
        self.items.clear();
        self.ended.clear();
        self.newest.clear();
        self.unreported.clear();
        let tickets: Vec<_> = self.outbox.pending().map(|pending| pending.ticket).collect();
        for ((send, error), ticket) in held.into_iter().zip(tickets) {
            let lane = send.message.conversation.as_ref();
            let lane = lane.map_or(0, |id| id.as_str()[1..].parse().expect("a number"));
            self.pushed(ticket, send.message, lane);
            let dedup = self.dedup;
            let item = self.item(ticket);
            (item.attempts, item.before) = (send.attempts, send.attempts);
            (item.holders, item.owned) = (0, true);
            item.noted = Some(send.attempts);
            item.unknown = match &error {
                Some(error) => error.reached() == Reached::Unknown,
                None => send.attempts > 0,
            };
            if error.is_some() || (item.unknown && !dedup) {
                item.park();
                if error.is_none() {
                    self.unreported.insert(ticket);
                }
            }
        }
        assert_eq!(self.outbox.pending().count(), self.items.len());
        self.disk = Some(disk);
    }

    /// Whether the store has to know more before the item can be sent.
    pub(super) fn is_kept_back(&self, at: usize) -> bool {
        let soon = self.connected && (self.dedup || self.is_first(at));
        self.disk.is_some() && self.items[at].noted.is_none_or(|noted| noted < u32::from(soon))
    }

    /// Whether the store may be told that the item may be tried.
    pub(super) fn may_be_noting(&self, at: usize) -> bool {
        self.disk.is_some() && self.items[at].noted == Some(0)
    }
}
