//! What the store is to be told of the queue: for each message, what the store should hold and what it is
//! known to hold. One change of a message is under way at a time; the next follows from what is wanted then.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::entry::{Change, StoreOp, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::store::StoredSend;

#[derive(Debug, Default)]
pub(super) struct Journal {
    pages: HashMap<ClientMsgId, Page>,
    due: VecDeque<ClientMsgId>,
    later: BTreeSet<(Instant, ClientMsgId)>,
}

/// What the end of a change means for the queue.
#[derive(Debug)]
pub(super) enum Noted {
    /// The store holds the message with this count of attempts.
    Saved(Ticket, u32),
    /// It could not be saved yet, and is tried again.
    Delayed(Ticket, Error),
    /// It could not be saved, and is not tried again.
    Refused(Ticket, Error),
    Nothing,
}

#[derive(Debug)]
struct Page {
    ticket: Ticket,
    position: u64,
    message: Arc<Outbound>,
    attempts: u32,
    want: Want,
    have: Have,
    turn: Turn,
    backoff: Backoff,
}

/// What the store should hold.
#[derive(Debug, Clone)]
enum Want {
    Nothing,
    Queued,
    Parked(Arc<Error>),
}

/// What it holds, as far as is known.
#[derive(Debug, Clone)]
enum Have {
    Nothing,
    /// The message, with this count of attempts.
    Queued(u32),
    Parked(Arc<Error>),
    /// The message, or nothing: a change failed that may have been made.
    Unsure,
    /// Perhaps another content under the same id, of a message that has ended.
    Other,
}

#[derive(Debug)]
enum Turn {
    Idle,
    Due,
    Later,
    /// The change that is under way, and what else the store holds when it did not take its place there.
    UnderWay(Doing, Option<Have>),
}

#[derive(Debug, Clone)]
enum Doing {
    Save(u32),
    Remove,
    Park(Arc<Error>),
}

impl Journal {
    /// The store is to hold the message, with `attempts` at least. Gives its count of attempts there when it
    /// holds it already; otherwise [`Journal::on_done`] tells.
    pub(super) fn save(
        &mut self,
        ticket: Ticket,
        position: u64,
        message: &Arc<Outbound>,
        attempts: u32,
    ) -> Option<u32> {
        let id = &message.client_msg_id;
        let page = self.pages.entry(id.clone()).or_insert_with(|| Page::new(ticket, position, message));
        if page.ticket != ticket {
            page.replace(ticket, position, message);
        }
        (page.want, page.attempts) = (Want::Queued, page.attempts.max(attempts));
        match (&page.have, &page.turn) {
            (Have::Queued(noted), Turn::Idle | Turn::Due) if *noted >= attempts => Some(*noted),
            _ => {
                self.look(id);
                None
            }
        }
    }

    /// The message was set aside.
    pub(super) fn park(&mut self, id: &ClientMsgId, error: &Arc<Error>) {
        if let Some(page) = self.pages.get_mut(id) {
            page.want = Want::Parked(Arc::clone(error));
            self.look(id);
        }
    }

    /// The message has ended.
    pub(super) fn forget(&mut self, id: &ClientMsgId) {
        if let Some(page) = self.pages.get_mut(id) {
            page.want = Want::Nothing;
            self.look(id);
        }
    }

    /// The store was read: it holds the message with `attempts`, parked for `reason` if there is one.
    pub(super) fn restore(
        &mut self,
        ticket: Ticket,
        position: u64,
        message: &Arc<Outbound>,
        attempts: u32,
        reason: Option<&Arc<Error>>,
    ) {
        let mut page = Page::new(ticket, position, message);
        page.attempts = attempts;
        (page.want, page.have) = match reason {
            Some(reason) => (Want::Parked(Arc::clone(reason)), Have::Parked(Arc::clone(reason))),
            None => (Want::Queued, Have::Queued(attempts)),
        };
        self.pages.insert(message.client_msg_id.clone(), page);
    }

    /// The next change to make.
    pub(super) fn poll(&mut self, now: Instant) -> Option<StoreOp> {
        while let Some((_, id)) = self.later.first().filter(|(at, _)| *at <= now).cloned() {
            self.later.pop_first();
            self.due.push_back(id.clone());
            if let Some(page) = self.pages.get_mut(&id) {
                page.turn = Turn::Due;
            }
        }
        while let Some(id) = self.due.pop_front() {
            let Some(page) = self.pages.get_mut(&id) else { continue };
            if let Some(doing) = page.next() {
                let change = page.change(&doing);
                page.turn = Turn::UnderWay(doing, None);
                return Some(StoreOp { id, change });
            }
            page.turn = Turn::Idle;
            if page.is_blank() {
                self.pages.remove(&id);
            }
        }
        None
    }

    /// A change of the message `id` has ended.
    pub(super) fn on_done(
        &mut self,
        id: &ClientMsgId,
        result: Result<()>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Noted {
        let Some(page) = self.pages.get_mut(id) else { return Noted::Nothing };
        let turn = std::mem::replace(&mut page.turn, Turn::Idle);
        let Turn::UnderWay(doing, replaced) = turn else {
            page.turn = turn;
            return Noted::Nothing;
        };
        let (outdated, ticket) = (replaced.is_some(), page.ticket);
        let error = match result {
            Ok(()) => {
                page.backoff = Backoff::new(PACE);
                page.have = match (&doing, replaced) {
                    (Doing::Remove, _) => Have::Nothing,
                    (_, Some(instead)) => instead,
                    (Doing::Save(attempts), None) => Have::Queued(*attempts),
                    (Doing::Park(reason), None) => Have::Parked(Arc::clone(reason)),
                };
                self.look(id);
                return match doing {
                    Doing::Save(attempts) if !outdated => Noted::Saved(ticket, attempts),
                    _ => Noted::Nothing,
                };
            }
            Err(error) => error,
        };
        if let Some(instead) = replaced {
            page.have = instead;
        } else if !matches!((&doing, &page.have), (Doing::Save(_), Have::Queued(_)) | (_, Have::Other)) {
            page.have = Have::Unsure;
        }
        let again = page.backoff.failed(now, error.advice(), rng);
        let awaited = !outdated && matches!(page.want, Want::Queued);
        // Room in the store comes with time, so its want is no failure.
        let tired = page.backoff.attempt() >= SAVES && error.kind() != ErrorKind::Backpressure;
        match again {
            Some(at) if !(awaited && tired) => {
                page.turn = Turn::Later;
                self.later.insert((at, id.clone()));
                if awaited { Noted::Delayed(ticket, error) } else { Noted::Nothing }
            }
            _ if awaited => {
                page.backoff = Backoff::new(PACE);
                if error.kind() == ErrorKind::Conflict {
                    // The other content under its id is not ours to touch.
                    self.pages.remove(id);
                }
                Noted::Refused(ticket, error)
            }
            // The error was about a message that has ended.
            _ if outdated => {
                self.look(id);
                Noted::Nothing
            }
            _ => {
                let what = "the store does not follow: a message may be sent again after a restart";
                tracing::warn!(
                    name: "store.failed", client_msg_id = %id, error_kind = error.kind().as_str(), %error,
                    "{what}"
                );
                self.pages.remove(id);
                Noted::Nothing
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// How many messages are not yet in the store as they should be.
    pub(super) fn unwritten(&self) -> usize {
        self.pages.values().filter(|page| !matches!(page.turn, Turn::Idle)).count()
    }

    /// Has [`Journal::poll`] look at the page, unless it does so anyway once a change or a wait is over.
    fn look(&mut self, id: &ClientMsgId) {
        if let Some(page) = self.pages.get_mut(id).filter(|page| matches!(page.turn, Turn::Idle)) {
            page.turn = Turn::Due;
            self.due.push_back(id.clone());
        }
    }
}

impl Page {
    fn new(ticket: Ticket, position: u64, message: &Arc<Outbound>) -> Self {
        Self {
            ticket,
            position,
            message: Arc::clone(message),
            attempts: 0,
            want: Want::Queued,
            have: Have::Nothing,
            turn: Turn::Idle,
            backoff: Backoff::new(PACE),
        }
    }

    /// A message that has ended is handed in again before the store knows of its end.
    fn replace(&mut self, ticket: Ticket, position: u64, message: &Arc<Outbound>) {
        let same = *self.message == **message;
        // A change under way may have left the content of a message before the one replaced here.
        let other =
            matches!(self.have, Have::Other) || matches!(self.turn, Turn::UnderWay(_, Some(Have::Other)));
        // Also with the same content it has a new place.
        let left = if same && !other { Have::Unsure } else { Have::Other };
        if let Turn::UnderWay(_, instead) = &mut self.turn {
            *instead = Some(left.clone());
        }
        if !matches!(self.have, Have::Nothing) {
            self.have = left;
        }
        (self.ticket, self.position, self.message) = (ticket, position, Arc::clone(message));
        self.attempts = 0;
    }

    fn next(&self) -> Option<Doing> {
        match (&self.want, &self.have) {
            (_, Have::Other) => Some(Doing::Remove),
            (Want::Nothing, Have::Nothing) => None,
            (Want::Nothing, _) => Some(Doing::Remove),
            (Want::Queued, Have::Queued(noted)) if *noted >= self.attempts => None,
            (Want::Queued, _) => Some(Doing::Save(self.attempts)),
            (Want::Parked(_), Have::Nothing | Have::Unsure) => Some(Doing::Save(self.attempts)),
            (Want::Parked(wanted), Have::Parked(known)) if Arc::ptr_eq(wanted, known) => None,
            (Want::Parked(reason), _) => Some(Doing::Park(Arc::clone(reason))),
        }
    }

    fn change(&self, doing: &Doing) -> Change {
        match doing {
            Doing::Save(attempts) => {
                let send = StoredSend::new(self.position, (*self.message).clone());
                Change::Save(Box::new(send.with_attempts(*attempts)))
            }
            Doing::Remove => Change::Remove,
            Doing::Park(reason) => Change::Park(Arc::clone(reason)),
        }
    }

    fn is_blank(&self) -> bool {
        matches!((&self.want, &self.have), (Want::Nothing, Have::Nothing))
    }
}

/// When a change that failed is made again.
const PACE: BackoffPolicy = BackoffPolicy {
    base: std::time::Duration::from_millis(50),
    factor: 2.0,
    cap: std::time::Duration::from_secs(5),
    jitter: 0.25,
    max_attempts: None,
    stable_after: std::time::Duration::MAX,
};
/// After how many failures in a row a message counts as one that cannot be saved: about six seconds.
const SAVES: u32 = 8;
