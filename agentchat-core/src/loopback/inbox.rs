//! One inbox: what is stored, and what may be delivered when.
//!
//! Storing, delivering and settling cost the logarithm of what is stored, however much that is.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use super::counts::Counts;
use super::history::History;
use super::hub::Luck;
use super::keyed::Keyed;
use super::moment::Moment;
use super::row::Row;
use super::stored::Stored;
use super::view::{Ahead, Place, View};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::id::ConversationId;
use crate::message::{Body, Outbound};
use crate::rows::Rows;
use crate::transport::ReplayRange;

/// An inbox of the network. Its rows stay until they are acknowledged or expire.
#[derive(Debug, Default)]
pub(crate) struct InboxState {
    /// What its rows' ack tags begin with.
    pub(crate) number: u64,
    /// When a fresh inbox ends.
    pub(crate) expires: Option<Instant>,
    /// Whether nothing happens to its rows on their way.
    pub(crate) plain: bool,
    /// Since when nobody reads a fresh inbox that was read before.
    unread: Option<Instant>,
    rows: Rows<Row>,
    /// The row of each compaction key.
    keys: HashMap<String, u64>,
    /// Rows held back, by when they become due.
    held: BTreeSet<(Instant, u64)>,
    /// Rows that expire, by when.
    mortal: BTreeSet<(Instant, u64)>,
    /// By number. They are few: mostly one.
    views: Vec<(u64, View)>,
    next_view: u64,
    seqs: Counts,
    history: History,
    state: Keyed,
    /// What the rows take of [`InboxLimits::bytes`].
    bytes: usize,
    /// Wakes senders when there is room again.
    room: Arc<Notify>,
    crowded: bool,
}

/// How much an inbox holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InboxLimits {
    pub(crate) messages: usize,
    /// Bodies, headers, and [`OVERHEAD`] for each message's own keeping.
    pub(crate) bytes: usize,
}

/// What a reader is given.
#[derive(Debug)]
pub(crate) enum Given {
    Row(Arc<Stored>),
    CaughtUp,
}

/// What a subscription may have next.
pub(crate) enum Next {
    /// What was put into the batch. When it `drains` the view, there is nothing more before the next change.
    Some { drains: bool },
    /// Nothing before something changes, or before that moment.
    Wait(Option<Instant>),
}

impl InboxState {
    pub(crate) fn new(number: u64, expires: Option<Instant>) -> Self {
        Self { number, expires, ..Self::default() }
    }

    /// Whether `message` fits into it. An empty inbox takes anything.
    pub(crate) fn has_room(&self, message: &Outbound, limits: InboxLimits) -> bool {
        let cost = message.body.bytes.len() + message.headers.size() + OVERHEAD;
        let full = self.rows.len() >= limits.messages || self.bytes.saturating_add(cost) > limits.bytes;
        !full || self.rows.is_empty()
    }

    /// Ends when there may be room. Room that comes before it is awaited counts.
    pub(crate) fn next_room(&mut self) -> Pin<Box<OwnedNotified>> {
        self.crowded = true;
        enabled(&self.room)
    }

    /// Stores a message as row `id`. Returns its number in the conversation.
    pub(crate) fn store(
        &mut self,
        id: u64,
        message: Arc<Stored>,
        now: &Moment,
        woken: &mut Vec<Waker>,
    ) -> Option<u64> {
        self.tick(now);
        if self.unread.is_some() && self.clear_abandoned(now.get()) {
            return None;
        }
        if let Some(key) = message.key()
            && let Some(older) = self.keys.insert(key.clone(), id)
        {
            self.vanish(older);
        }
        let stored = self.record(id, message);
        self.mortal.extend(stored.expires().map(|at| (at, id)));
        let row = Row::new(stored);
        let (due, seq, place) = (row.stored.due(), row.stored.seq(), row.place(id));
        self.bytes += row.size + OVERHEAD;
        self.rows.push(id, row);
        match due {
            Some(due) if due > now.get() => {
                self.held.insert((due, id));
                self.take_back();
            }
            _ => self.lay(place),
        }
        self.stage();
        self.wake(woken);
        seq
    }

    /// Numbers a message and keeps it in history, for nobody to read otherwise. Returns its number.
    pub(crate) fn note(&mut self, id: u64, message: Arc<Stored>) -> Option<u64> {
        self.record(id, message).seq()
    }

    fn record(&mut self, id: u64, message: Arc<Stored>) -> Arc<Stored> {
        let seq = message.conversation.as_ref().map(|conversation| self.seqs.next(conversation));
        message.name(self.number, id, seq);
        self.history.keep(id, &message);
        message
    }

    pub(crate) fn replay(
        &self,
        conversation: &ConversationId,
        range: ReplayRange,
        now: Instant,
    ) -> Vec<Delivery> {
        self.history.read(conversation, range, now)
    }

    /// Settles a row; with `cursor` also what was given out before it in the same view. Gives what left.
    /// [`InboxState::after_settling`] has to follow.
    pub(crate) fn settle(&mut self, id: u64, cursor: bool, left: &mut Vec<Arc<Stored>>) {
        if cursor {
            let passed: Vec<u64> = self.views.iter_mut().flat_map(|(_, view)| view.pass(id)).collect();
            left.extend(passed.into_iter().filter_map(|id| Some(self.remove(id)?.stored)));
        } else {
            left.extend(self.remove(id).map(|row| row.stored));
        }
    }

    /// There is credit again.
    pub(crate) fn after_settling(&mut self, woken: &mut Vec<Waker>) {
        self.stage();
        self.wake(woken);
    }

    /// Whether nobody can tell when rows up to `last`, which were read, are settled: there is one reader, it
    /// has them behind it and does not wait for credit, they are little, and no row depends on time or on
    /// another. Senders that wait for room are told to look.
    pub(crate) fn settles_later(&mut self, last: u64) -> bool {
        let [(_, view)] = &self.views[..] else { return false };
        let quiet = self.stages() && self.mortal.is_empty() && self.keys.is_empty();
        let later = quiet && view.is_past(last);
        if later && std::mem::take(&mut self.crowded) {
            self.room.notify_waiters();
        }
        later
    }

    /// Whether rows wait in a view for credit.
    pub(crate) fn is_behind(&self, view: u64) -> bool {
        self.view(view).is_some_and(View::is_behind)
    }

    /// Whether nothing that is stored depends on time.
    pub(crate) fn is_timeless(&self) -> bool {
        self.mortal.is_empty() && self.held.is_empty() && self.expires.is_none()
    }

    /// The reader of `view` has nothing to do before the next change.
    pub(crate) fn sleep(&mut self, view: u64, waker: &Waker) {
        if let Some(view) = self.view_mut(view) {
            view.sleep(waker);
        }
    }

    fn wake(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.views.iter_mut().filter_map(|(_, view)| view.wake()));
    }

    /// # Errors
    /// `Backpressure` for a value that goes beyond `limits`.
    pub(crate) fn put(&mut self, key: &str, value: Body, limits: InboxLimits) -> Result<()> {
        self.state.put(key, value, limits)
    }

    pub(crate) fn get(&self, key: &str) -> Option<(Body, SystemTime)> {
        self.state.get(key)
    }

    /// Opens a view of everything that is stored and unsettled.
    pub(crate) fn open_view(
        &mut self,
        now: Instant,
        messages: usize,
        bytes: usize,
        cursor: bool,
    ) -> (u64, Arc<Ahead>) {
        self.tick(&Moment::at(now));
        self.clear_abandoned(now);
        self.unread = None;
        self.next_view += 1;
        let due = self.rows.iter().filter(|(_, row)| row.stored.due().is_none_or(|due| due <= now));
        let view = View::new(due.map(|(id, row)| row.place(id)).collect(), messages, bytes, cursor);
        let ahead = view.ahead();
        self.views.push((self.next_view, view));
        (self.next_view, ahead)
    }

    /// It does not exist any more: whoever waits for it is to see that.
    pub(crate) fn end(&mut self, woken: &mut Vec<Waker>) {
        self.wake(woken);
        self.room.notify_waiters();
    }

    /// What readers have and did not hand on is theirs no more.
    pub(crate) fn take_back(&self) {
        self.views.iter().for_each(|(_, view)| view.take_back());
    }

    /// Ends a view.
    pub(crate) fn close_view(&mut self, view: u64, now: Instant) {
        self.views.retain(|(number, _)| *number != view);
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
            self.room.notify_waiters();
            *self = Self { number, expires, unread, next_view, ..Self::default() };
        }
        abandoned
    }

    /// The next events of a view, as luck will have it: up to [`BATCH`] where nothing but their reader can
    /// change what they are, and one otherwise.
    pub(crate) fn next(
        &mut self,
        number: u64,
        now: &Moment,
        luck: &mut Luck<'_>,
        batch: &mut VecDeque<Given>,
    ) -> Next {
        self.tick(now);
        // A row that expires gives its credit back, so that is worth waking for.
        let expiring = self.mortal.first().map(|(at, _)| *at);
        let wait = Next::Wait([self.first_held(), expiring, self.expires].into_iter().flatten().min());
        let stages = self.stages();
        let Some(view) = find(&mut self.views, number) else { return wait };
        view.begin_batch();
        if view.catches_up() {
            batch.push_back(Given::CaughtUp);
            return Next::Some { drains: false };
        }
        if !stages {
            view.unstage();
        } else if self.fetch(number, batch) {
            let more = self.view(number).is_some_and(View::is_behind);
            return Next::Some { drains: !more && self.mortal.is_empty() };
        }
        let Some(view) = find(&mut self.views, number) else { return wait };
        let alone = !luck.is_plain() || view.has_cursor() || self.expires.is_some() || !self.held.is_empty();
        let most = if alone { 1 } else { BATCH };
        let mut drains = false;
        while batch.len() < most {
            let chosen = view.choose(luck).and_then(|id| Some((id, self.rows.get_mut(id)?)));
            let Some((id, row)) = chosen else {
                drains = !alone && view.is_live() && self.mortal.is_empty();
                break;
            };
            let (place, mortal) = (row.place(id), row.expires.is_some());
            // What expires must not lie with the reader until then.
            if mortal && !batch.is_empty() {
                break;
            }
            // Only what its owner can find in history is lost, and only on a connection that is caught up.
            let drops = |luck: &mut Luck<'_>| {
                let recoverable =
                    view.is_live() && self.expires.is_none() && self.history.has(id, &row.stored);
                recoverable && luck.drops()
            };
            if !luck.is_plain() && drops(luck) {
                view.lose(&place);
                continue;
            }
            view.take(place, row.size);
            batch.push_back(Given::Row(row.give()));
            if mortal || view.backlog_is_given() {
                break;
            }
        }
        if batch.is_empty() { wait } else { Next::Some { drains } }
    }

    /// Whether rows are laid ready for who reads them: not where something beside their readers can change
    /// what they are.
    fn stages(&self) -> bool {
        self.plain && self.expires.is_none() && self.held.is_empty()
    }

    /// Lays ready what readers may have next.
    fn stage(&mut self) {
        if !self.stages() {
            return;
        }
        for (_, view) in self.views.iter_mut().filter(|(_, view)| !view.has_cursor()) {
            while let Some(place) = view.next_staged() {
                // What expires must not lie with the reader until then.
                let row = self.rows.get_mut(place.id()).filter(|row| row.expires.is_none());
                let Some(row) = row else { break };
                view.stage(place, row.size, row.give());
            }
        }
    }

    /// Makes a new row due. Where it is the next one to lay ready it is laid ready, without waiting before.
    fn lay(&mut self, place: Place) {
        let stages = self.stages();
        for (_, view) in &mut self.views {
            let row = self.rows.get_mut(place.id()).filter(|row| row.expires.is_none());
            match row.filter(|_| stages && view.stages_next(&place)) {
                Some(row) => view.stage_new(place, row.size, row.give()),
                None => view.add(place),
            }
        }
    }

    /// Gives the reader of a view what lies ready for it. Returns whether there is any.
    fn fetch(&mut self, view: u64, batch: &mut VecDeque<Given>) -> bool {
        self.stage();
        self.view_mut(view).is_some_and(|view| view.fetch(batch))
    }

    /// Lets rows become due, and expire.
    fn tick(&mut self, now: &Moment) {
        while self.mortal.first().is_some_and(|(at, _)| *at <= now.get()) {
            let Some((_, id)) = self.mortal.pop_first() else { return };
            self.vanish(id);
        }
        while self.first_held().is_some_and(|at| at <= now.get()) {
            let Some((_, id)) = self.held.pop_first() else { return };
            if let Some(place) = self.rows.get(id).map(|row| row.place(id)) {
                self.make_due(place);
            }
        }
    }

    fn view(&self, number: u64) -> Option<&View> {
        self.views.iter().find(|(other, _)| *other == number).map(|(_, view)| view)
    }

    fn view_mut(&mut self, number: u64) -> Option<&mut View> {
        find(&mut self.views, number)
    }

    fn first_held(&self) -> Option<Instant> {
        self.held.first().map(|(at, _)| *at)
    }

    fn make_due(&mut self, place: Place) {
        for (_, view) in &mut self.views {
            view.add(place);
        }
    }

    /// Removes a row as if it had never been.
    fn vanish(&mut self, id: u64) {
        if let Some(row) = self.remove(id)
            && let Some(conversation) = &row.stored.conversation
        {
            self.history.forget(id, conversation);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Row> {
        let row = self.rows.remove(id)?;
        let place = row.place(id);
        self.bytes -= row.size + OVERHEAD;
        if std::mem::take(&mut self.crowded) {
            self.room.notify_waiters();
        }
        if !self.held.is_empty()
            && let Some(due) = row.stored.due()
        {
            self.held.remove(&(due, id));
        }
        if let Some(at) = row.expires {
            self.mortal.remove(&(at, id));
        }
        if !self.keys.is_empty()
            && let Some(key) = row.stored.key()
            && self.keys.get(key) == Some(&id)
        {
            self.keys.remove(key);
        }
        for (_, view) in &mut self.views {
            view.forget(&place);
        }
        Some(row)
    }
}

fn find(views: &mut [(u64, View)], number: u64) -> Option<&mut View> {
    views.iter_mut().find(|(other, _)| *other == number).map(|(_, view)| view)
}

/// Registered, so that no notice from now on is missed.
fn enabled(notify: &Arc<Notify>) -> Pin<Box<OwnedNotified>> {
    let mut notified = Box::pin(Arc::clone(notify).notified_owned());
    notified.as_mut().enable();
    notified
}

/// What a message takes beside its body and headers, rounded.
pub(crate) const OVERHEAD: usize = 1024;
/// How many rows a reader may be given at once.
const BATCH: usize = 64;
/// How long a fresh inbox that nobody reads keeps what is in it.
pub(crate) const UNREAD: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    #[test]
    fn a_fresh_inbox_whose_reader_is_gone_keeps_nothing_for_long() {
        let now = Instant::now();
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::text("x"));
        for (expires, kept) in [(None, 4), (Some(now + UNREAD * 9), 0)] {
            let mut inbox = InboxState::new(0, expires);
            let store = |inbox: &mut InboxState, id, now| {
                inbox.store(id, Stored::new(&message, &to), &Moment::at(now), &mut Vec::new())
            };
            store(&mut inbox, 1, now);
            let (view, _) = inbox.open_view(now, 10, 10, false);
            store(&mut inbox, 2, now);
            assert_eq!(inbox.rows.len(), 2);
            inbox.close_view(view, now);
            store(&mut inbox, 3, now + UNREAD / 2);
            assert_eq!(inbox.rows.len(), 3, "a reader may come back");
            store(&mut inbox, 4, now + UNREAD);
            let (view, _) = inbox.open_view(now + UNREAD, 10, 10, false);
            let (mut dice, mut read) = (fastrand::Rng::with_seed(1), VecDeque::new());
            inbox.next(view, &Moment::at(now + UNREAD), &mut Luck::plain(&mut dice), &mut read);
            read.retain(|given| matches!(given, Given::Row(_)));
            assert_eq!((inbox.rows.len(), read.len()), (kept, kept));
        }
    }
}
