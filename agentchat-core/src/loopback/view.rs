//! What one subscription has been given of an inbox, and what it may have next.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use super::hub::Luck;
use super::inbox::Given;
use super::staged::Staged;
use super::stored::Stored;
use super::waiting_rows::WaitingRows;
use crate::message::Priority;
use crate::numbers::NumberMap;

/// Where a row stands in the order of delivery: the highest priority first, then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(Reverse<Priority>, u64);

impl Place {
    pub(crate) fn of(priority: Priority, id: u64) -> Self {
        Self(Reverse(priority), id)
    }

    pub(crate) fn id(&self) -> u64 {
        self.1
    }
}

/// One subscription's view of an inbox.
#[derive(Debug)]
pub(crate) struct View {
    /// Rows that are due and were not given out here.
    waiting: WaitingRows,
    /// Those of them that waited when the subscription began; `None` once it was told that it is caught up.
    backlog: Option<WaitingRows>,
    /// Rows given out here and not settled, and their sizes.
    taken: NumberMap<usize>,
    /// What was given out or lost here, in that order, behind the cursor of a network that keeps one.
    given: Option<VecDeque<u64>>,
    bytes: usize,
    max_taken: usize,
    max_bytes: usize,
    /// Given out here, too, and not fetched by the reader yet.
    staged: Staged,
    /// The rows given out last, and whether they are of the backlog.
    batch: Vec<(Place, bool)>,
    ahead: Arc<Ahead>,
    /// Whether the reader is to be told of the next change.
    waits: bool,
    /// What wakes it, if it is asleep by then.
    waker: Option<Waker>,
}

/// What a reader has of its last batch. Rows that it has not handed on yet can still be taken back.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Written by the reader alone, for each row: whoever else looks at it takes its memory from the reader's
    /// core, and is to do so seldom.
    handed: AtomicUsize,
    stale: AtomicBool,
    /// [`AWAKE`], [`ASLEEP`] or [`CHANGED`].
    state: AtomicU8,
    /// The thread that made the change, by its [`mark`].
    changed_by: AtomicUsize,
}

impl View {
    /// A view in which `due` waits. Bounds of 0 count as 1.
    pub(crate) fn new(due: WaitingRows, max_taken: usize, max_bytes: usize, cursor: bool) -> Self {
        Self {
            waiting: due.clone(),
            backlog: Some(due),
            taken: NumberMap::default(),
            given: cursor.then(VecDeque::new),
            bytes: 0,
            max_taken: max_taken.max(1),
            max_bytes: max_bytes.max(1),
            staged: Staged::default(),
            batch: Vec::new(),
            ahead: Arc::default(),
            waits: false,
            waker: None,
        }
    }

    /// What the reader tells of its batches.
    pub(crate) fn ahead(&self) -> Arc<Ahead> {
        Arc::clone(&self.ahead)
    }

    /// Whether it is caught up now and was not before.
    pub(crate) fn catches_up(&mut self) -> bool {
        let all_given = self.backlog_is_given();
        if all_given {
            self.backlog = None;
        }
        all_given
    }

    /// Whether it has been told that it is caught up.
    pub(crate) fn is_live(&self) -> bool {
        self.backlog.is_none()
    }

    /// Whether acknowledging a row moves a cursor over all that were given out before it.
    pub(crate) fn has_cursor(&self) -> bool {
        self.given.is_some()
    }

    /// Whether being caught up is all that is left to tell of the backlog.
    pub(crate) fn backlog_is_given(&self) -> bool {
        self.backlog.as_ref().is_some_and(WaitingRows::is_empty)
    }

    /// The row to give out next, unless too much is unsettled.
    pub(crate) fn choose(&self, luck: &mut Luck<'_>) -> Option<u64> {
        if self.taken.len() >= self.max_taken || self.bytes >= self.max_bytes {
            return None;
        }
        let first = self.waiting.first()?;
        let second = if luck.is_plain() { None } else { self.waiting.second() };
        Some(second.filter(|_| luck.reorders()).unwrap_or(first).id())
    }

    pub(crate) fn take(&mut self, place: Place, size: usize) {
        self.waiting.remove(&place);
        let old = self.backlog.as_mut().is_some_and(|backlog| backlog.remove(&place));
        self.taken.insert(place.id(), size);
        self.bytes += size;
        self.batch.push((place, old));
        self.given.iter_mut().for_each(|given| given.push_back(place.id()));
    }

    /// The row to lay ready next, unless too much is unsettled or lies ready.
    pub(crate) fn next_staged(&self) -> Option<Place> {
        let first = self.waiting.first()?;
        self.has_place().then_some(first)
    }

    /// Whether a row that did not wait yet is the one to lay ready next.
    pub(crate) fn stages_next(&self, place: &Place) -> bool {
        let last = self.staged.last().max(self.batch.last().map(|(last, _)| *last));
        let next = self.waiting.is_empty() && last.is_none_or(|last| last < *place);
        next && !self.has_cursor() && self.has_place()
    }

    /// Whether a further row may lie ready.
    fn has_place(&self) -> bool {
        let full =
            self.staged.is_full() || self.taken.len() >= self.max_taken || self.bytes >= self.max_bytes;
        !full && self.is_live()
    }

    /// Lays the row ready that is the next one of those that wait.
    pub(crate) fn stage(&mut self, place: Place, size: usize, row: Arc<Stored>) {
        self.waiting.remove(&place);
        self.stage_new(place, size, row);
    }

    /// Lays a row ready that is the next one and did not wait.
    pub(crate) fn stage_new(&mut self, place: Place, size: usize, row: Arc<Stored>) {
        self.taken.insert(place.id(), size);
        self.bytes += size;
        self.staged.push(place, row);
    }

    /// What lies ready waits again.
    pub(crate) fn unstage(&mut self) {
        while self.unstage_last() {}
    }

    fn unstage_last(&mut self) -> bool {
        let Some(place) = self.staged.pop() else { return false };
        self.bytes -= self.taken.remove(&place.id()).unwrap_or_default();
        self.waiting.insert(place);
        true
    }

    /// Gives what lies ready to the reader, whose last batch is over. Returns whether there is any.
    pub(crate) fn fetch(&mut self, batch: &mut VecDeque<Given>) -> bool {
        self.staged.give(batch, &mut self.batch)
    }

    /// Whether a row waits for credit.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all rows up to `last` that are due were handed on, none waits for credit, and what was given
    /// out is little.
    pub(crate) fn is_past(&self, last: u64) -> bool {
        let handed = self.ahead.handed.load(Ordering::Acquire);
        let batch = self.batch.get(handed).map(|(place, _)| *place);
        let mut ahead = [batch, self.staged.first(), self.waiting.first()].into_iter().flatten();
        // Behind a row of normal priority there are none but of its kind, by number.
        let normal = ahead.all(|first| first >= Place::of(Priority::Normal, last) && first.id() > last);
        let blocked = self.waits && self.is_behind();
        normal && !blocked && self.bytes <= LITTLE && self.is_live() && !self.has_cursor()
    }

    /// The row is lost on its way.
    pub(crate) fn lose(&mut self, place: &Place) {
        self.waiting.remove(place);
        self.given.iter_mut().for_each(|given| given.push_back(place.id()));
    }

    /// Moves the cursor over the row, if it was given out here. Returns what it has passed.
    pub(crate) fn pass(&mut self, id: u64) -> Vec<u64> {
        let Some(given) = &mut self.given else { return Vec::new() };
        let at = given.iter().position(|other| *other == id);
        at.map(|at| given.drain(..=at).collect()).unwrap_or_default()
    }

    /// The reader asks for its next batch. What it has not handed on of the last one waits again.
    pub(crate) fn begin_batch(&mut self) {
        let handed = self.ahead.handed.load(Ordering::Acquire);
        self.ahead.handed.store(0, Ordering::Release);
        self.ahead.stale.store(false, Ordering::Release);
        // What goes back goes before what lies ready.
        if handed < self.batch.len() {
            self.unstage();
        }
        for (place, old) in self.batch.drain(..).skip(handed) {
            if let Some(size) = self.taken.remove(&place.id()) {
                self.bytes -= size;
                self.waiting.insert(place);
                if let Some(backlog) = self.backlog.as_mut().filter(|_| old) {
                    backlog.insert(place);
                }
            }
        }
    }

    /// The rest of the reader's batch may not be what it is to be given any more.
    pub(crate) fn take_back(&self) {
        self.ahead.stale.store(true, Ordering::Release);
    }

    pub(crate) fn add(&mut self, place: Place) {
        while self.staged.last().is_some_and(|last| place < last) {
            self.unstage_last();
        }
        self.waiting.insert(place);
        // It goes before what the reader has but did not hand on.
        if self.batch.last().is_some_and(|(last, _)| place < *last) {
            self.take_back();
        }
    }

    /// The reader has nothing to do before the next change, and is awake still: this wakes it once it is not.
    pub(crate) fn sleep(&mut self, waker: &Waker) {
        self.ahead.state.store(AWAKE, Ordering::Release);
        self.waits = true;
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Something changed. Gives what is to be woken: nobody, if the reader is awake and sees it for itself.
    pub(crate) fn wake(&mut self) -> Option<Waker> {
        if !std::mem::take(&mut self.waits) {
            return None;
        }
        self.ahead.changed_by.store(mark(), Ordering::Relaxed);
        match self.ahead.state.swap(CHANGED, Ordering::AcqRel) {
            ASLEEP => self.waker.take(),
            _ => None,
        }
    }

    /// The row is settled, or gone.
    pub(crate) fn forget(&mut self, place: &Place) {
        if let Some(size) = self.taken.remove(&place.id()) {
            self.bytes -= size;
            if self.staged.remove(place) {
                return;
            }
            // A batch is in order, and most often what is settled went before it.
            if self.batch.first().is_none_or(|(first, _)| place < first) {
                return;
            }
            let ahead = self.batch.get(self.ahead.handed.load(Ordering::Acquire)..).unwrap_or_default();
            let behind = ahead.first().is_some_and(|(first, _)| first <= place);
            if behind && ahead.iter().any(|(other, _)| other == place) {
                self.take_back();
            }
        } else {
            self.waiting.remove(place);
            self.backlog.as_mut().map(|backlog| backlog.remove(place));
        }
    }
}

impl Ahead {
    /// The reader hands on the next row of its batch.
    pub(crate) fn hand(&self) {
        self.handed.store(self.handed.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Whether something changed since the reader began to wait.
    pub(crate) fn has_changed(&self) -> bool {
        self.state.load(Ordering::Acquire) == CHANGED
    }

    /// Whether that was done by another thread than the one that asks.
    pub(crate) fn was_changed_elsewhere(&self) -> bool {
        self.has_changed() && self.changed_by.load(Ordering::Relaxed) != mark()
    }

    /// The reader goes to sleep. Returns whether it may: a change since it began to wait wakes it from now on,
    /// and there was none before.
    pub(crate) fn sleeps(&self) -> bool {
        let state = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        state != Err(CHANGED)
    }

    /// Whether the rest of the batch is not what the reader would be given now.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }
}

/// A number that no other thread has which lives.
fn mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// The reader looks for itself before it goes to sleep.
const AWAKE: u8 = 0;
/// The reader is to be woken.
const ASLEEP: u8 = 1;
/// Something changed since the reader began to wait.
const CHANGED: u8 = 2;
/// How many bytes may stay for a while after they were settled.
const LITTLE: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_woken_where_it_is_asleep_and_sees_for_itself_while_it_is_awake() {
        let mut view = View::new(WaitingRows::default(), 1, 1, false);
        let ahead = view.ahead();
        view.sleep(Waker::noop());
        assert!(view.wake().is_none() && ahead.has_changed(), "it looks for itself");
        assert!(!ahead.sleeps(), "what changed before keeps it awake");
        view.sleep(Waker::noop());
        assert!(!ahead.has_changed() && ahead.sleeps() && ahead.sleeps());
        assert!(view.wake().is_some() && ahead.has_changed());
        assert!(view.wake().is_none(), "it is woken once");
        assert!(!ahead.was_changed_elsewhere());
        view.sleep(Waker::noop());
        std::thread::scope(|threads| threads.spawn(|| view.wake()).join()).expect("no panic");
        assert!(ahead.was_changed_elsewhere());
    }
}
