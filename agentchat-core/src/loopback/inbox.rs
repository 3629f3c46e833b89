//! One inbox: what is stored, and what may be delivered when.
//!
//! Storing, delivering and settling cost the logarithm of what is stored, however much that is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::history::{History, Stored};
use super::hub::Luck;
use super::view::{Place, View};
use crate::address::Address;
use crate::clock::after;
use crate::delivery::Delivery;
use crate::id::ConversationId;
use crate::message::{Body, Outbound};
use crate::transport::ReplayRange;

/// An inbox of the network. Its rows stay until they are acknowledged or expire.
#[derive(Debug, Default)]
pub(crate) struct InboxState {
    /// What its rows' ack tags begin with.
    pub(crate) number: u64,
    /// When a fresh inbox ends.
    pub(crate) expires: Option<Instant>,
    /// Since when nobody reads a fresh inbox that was read before.
    unread: Option<Instant>,
    rows: HashMap<u64, Row>,
    /// The row of each compaction key.
    keys: HashMap<String, u64>,
    /// Rows that may be delivered, in that order.
    due: BTreeSet<Place>,
    /// Rows held back, by when they become due.
    held: BTreeSet<(Instant, u64)>,
    /// Rows that expire, by when.
    mortal: BTreeSet<(Instant, u64)>,
    views: HashMap<u64, View>,
    next_view: u64,
    /// How many messages each conversation had here.
    seqs: HashMap<ConversationId, u64>,
    history: History,
    state: HashMap<String, (Body, SystemTime)>,
    /// Wakes subscriptions when something changed.
    pub(crate) changed: Arc<Notify>,
}

#[derive(Debug)]
struct Row {
    stored: Arc<Stored>,
    deliveries: u32,
}

/// What a subscription may have next.
pub(crate) enum Next {
    Deliver(Box<Delivery>),
    CaughtUp,
    /// Nothing before something changes, or before that moment.
    Wait(Option<Instant>),
}

impl InboxState {
    pub(crate) fn new(number: u64, expires: Option<Instant>) -> Self {
        Self { number, expires, ..Self::default() }
    }

    /// Stores a message. Returns its number in the conversation.
    pub(crate) fn store(&mut self, id: u64, message: Outbound, sender: Address, now: Instant) -> Option<u64> {
        self.tick(now);
        if self.clear_abandoned(now) {
            return None;
        }
        if let Some(key) = &message.key
            && let Some(older) = self.keys.insert(key.clone(), id)
        {
            self.vanish(older);
        }
        let stored = self.record(id, message, sender, now);
        self.mortal.extend(stored.expires.map(|at| (at, id)));
        let (due, seq) = (stored.due, stored.seq);
        let row = Row { stored, deliveries: 0 };
        let place = row.place(id);
        self.rows.insert(id, row);
        if due > now {
            self.held.insert((due, id));
        } else {
            self.make_due(place);
        }
        self.changed.notify_waiters();
        seq
    }

    /// Numbers a message and keeps it in history, for nobody to read otherwise.
    pub(crate) fn record(
        &mut self,
        id: u64,
        message: Outbound,
        sender: Address,
        now: Instant,
    ) -> Arc<Stored> {
        let seq = message.conversation.as_ref().map(|conversation| {
            let seq = self.seqs.entry(conversation.clone()).or_default();
            *seq += 1;
            *seq
        });
        let due = after(now, message.delay.unwrap_or_default());
        let expires = message.ttl.and_then(|ttl| due.checked_add(ttl));
        let stored = Arc::new(Stored { message, sender, seq, created: SystemTime::now(), due, expires });
        self.history.keep(id, &stored);
        stored
    }

    pub(crate) fn replay(
        &self,
        conversation: &ConversationId,
        range: ReplayRange,
        now: Instant,
    ) -> Vec<Delivery> {
        self.history.read(self.number, conversation, range, now)
    }

    /// Settles a row; with `cursor` also what was given out before it in the same view.
    pub(crate) fn acknowledge(&mut self, id: u64, cursor: bool) {
        if cursor {
            let passed: Vec<u64> = self.views.values_mut().flat_map(|view| view.pass(id)).collect();
            passed.into_iter().for_each(|id| drop(self.remove(id)));
        } else {
            self.remove(id);
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn put(&mut self, key: &str, value: Body) {
        self.state.insert(key.to_owned(), (value, SystemTime::now()));
    }

    pub(crate) fn get(&self, key: &str) -> Option<(Body, SystemTime)> {
        self.state.get(key).cloned()
    }

    /// Opens a view of everything that is stored and unsettled.
    pub(crate) fn open_view(&mut self, now: Instant, messages: usize, bytes: usize, cursor: bool) -> u64 {
        self.tick(now);
        self.clear_abandoned(now);
        self.unread = None;
        self.next_view += 1;
        self.views.insert(self.next_view, View::new(self.due.clone(), messages, bytes, cursor));
        self.next_view
    }

    /// Ends a view.
    pub(crate) fn close_view(&mut self, view: u64, now: Instant) {
        self.views.remove(&view);
        if self.expires.is_some() && self.views.is_empty() {
            self.unread = Some(now);
        }
    }

    /// A fresh inbox that nobody reads for [`UNREAD`] is given up: it keeps nothing any more.
    pub(crate) fn clear_abandoned(&mut self, now: Instant) -> bool {
        let abandoned = self.unread.is_some_and(|since| now >= since + UNREAD);
        if abandoned {
            let (number, expires, unread, next_view) =
                (self.number, self.expires, self.unread, self.next_view);
            let changed = Arc::clone(&self.changed);
            *self = Self { number, expires, unread, next_view, changed, ..Self::default() };
        }
        abandoned
    }

    /// The next event of a view, as luck will have it.
    pub(crate) fn next(&mut self, view: u64, now: Instant, luck: &mut Luck<'_>) -> Next {
        self.tick(now);
        // A row that expires gives its credit back, so that is worth waking for.
        let expiring = self.mortal.first().map(|(at, _)| *at);
        let wait = Next::Wait([self.first_held(), expiring, self.expires].into_iter().flatten().min());
        let Some(view) = self.views.get_mut(&view) else { return wait };
        if view.catches_up() {
            return Next::CaughtUp;
        }
        loop {
            let Some(id) = view.choose(|| luck.reorders()) else { return wait };
            let Some(row) = self.rows.get_mut(&id) else { return wait };
            let place = row.place(id);
            // Only what its owner can find in history is lost, and only on a connection that is caught up.
            let recoverable = view.is_live() && self.expires.is_none() && self.history.has(id, &row.stored);
            if recoverable && luck.drops() {
                view.lose(&place);
                continue;
            }
            let delivery = row.deliver(self.number, id);
            view.take(&place, delivery.size());
            return Next::Deliver(Box::new(delivery));
        }
    }

    /// Lets rows become due, and expire.
    fn tick(&mut self, now: Instant) {
        while self.mortal.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.mortal.pop_first() else { return };
            self.vanish(id);
        }
        while self.first_held().is_some_and(|at| at <= now) {
            let Some((_, id)) = self.held.pop_first() else { return };
            if let Some(place) = self.rows.get(&id).map(|row| row.place(id)) {
                self.make_due(place);
            }
        }
    }

    fn first_held(&self) -> Option<Instant> {
        self.held.first().map(|(at, _)| *at)
    }

    fn make_due(&mut self, place: Place) {
        self.due.insert(place);
        for view in self.views.values_mut() {
            view.add(place);
        }
    }

    /// Removes a row as if it had never been.
    fn vanish(&mut self, id: u64) {
        if let Some(row) = self.remove(id)
            && let Some(conversation) = &row.stored.message.conversation
        {
            self.history.forget(id, conversation);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        let place = row.place(id);
        self.due.remove(&place);
        self.held.remove(&(row.stored.due, id));
        if let Some(at) = row.stored.expires {
            self.mortal.remove(&(at, id));
        }
        if let Some(key) = &row.stored.message.key
            && self.keys.get(key) == Some(&id)
        {
            self.keys.remove(key);
        }
        for view in self.views.values_mut() {
            view.forget(&place);
        }
        Some(row)
    }
}

impl Row {
    fn place(&self, id: u64) -> Place {
        Place::of(self.stored.message.priority, id)
    }

    fn deliver(&mut self, inbox: u64, id: u64) -> Delivery {
        self.deliveries = self.deliveries.saturating_add(1);
        let mut delivery = self.stored.deliver(inbox, id);
        delivery.redelivered = self.deliveries > 1;
        delivery
    }
}

/// How long a fresh inbox that nobody reads keeps what is in it.
pub(crate) const UNREAD: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_inbox_whose_reader_is_gone_keeps_nothing_for_long() {
        let now = Instant::now();
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::text("x"));
        for (expires, kept) in [(None, 4), (Some(now + UNREAD * 9), 0)] {
            let mut inbox = InboxState::new(0, expires);
            inbox.store(1, message.clone(), to.clone(), now);
            let view = inbox.open_view(now, 10, 10, false);
            inbox.store(2, message.clone(), to.clone(), now);
            assert_eq!(inbox.rows.len(), 2);
            inbox.close_view(view, now);
            inbox.store(3, message.clone(), to.clone(), now + UNREAD / 2);
            assert_eq!(inbox.rows.len(), 3, "a reader may come back");
            inbox.store(4, message.clone(), to.clone(), now + UNREAD);
            assert_eq!((inbox.rows.len(), inbox.due.len()), (kept, kept));
        }
    }
}
