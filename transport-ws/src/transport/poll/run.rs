//! The task that looks into the inbox: gives out what is new, acknowledges what is settled.

use std::collections::HashSet;
use std::sync::Arc;

use agentchat_core::{ErrorKind, MessageId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::walk::{Known, Taken, Walk};
use crate::api::{AgentChat, ApiResult, RowPage};
use crate::http::{ApiError, Failure};
use crate::socket::{CloseMeaning, End};
use crate::transport::fates::Fate;
use crate::transport::shared::{Reads, Shared};
use crate::wire::MessageRow;

/// Looks into one agent's inbox for as long as its attachment stands.
pub(super) struct Poller {
    pub(super) client: AgentChat,
    pub(super) shared: Arc<Shared>,
    /// One's own handle.
    pub(super) own: Arc<str>,
    pub(super) pace: Pace,
    pub(super) walk: Walk,
    pub(super) rng: fastrand::Rng,
    /// Given to the reader of this number, and not in its hands yet.
    pub(super) given: HashSet<String>,
    pub(super) reader: u64,
    /// Refusals in a row.
    pub(super) refused: u32,
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

impl Poller {
    /// Returns how the attachment ended; nothing when its owner closed it.
    pub(super) async fn run(mut self) -> Option<End> {
        loop {
            let now = Instant::now();
            let (wants, closing, suspect) = self.take_in(now);
            if !self.walk.is_dirty() {
                // Whoever gave up waiting does not need to hear.
                for told in self.waiting.drain(..) {
                    let _ = told.send(());
                }
                if closing {
                    self.shared.inner().all_told = true;
                    return None;
                }
            }
            let due = match (closing || suspect, wants || self.walk.is_dirty()) {
                (true, _) => Some(self.pace.hurried(now)),
                (false, true) => Some(self.pace.due()),
                (false, false) => None,
            };
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                () = until(due) => {}
                () = shared.work.notified() => continue,
            }
            match self.look(wants, closing).await {
                // Once is enough: whoever closes hears that it was not told.
                Ok(()) if closing && self.refused > 0 => return None,
                Ok(()) => {}
                Err(_) if closing => return None,
                Err(end) => return Some(end),
            }
        }
    }

    /// Takes in what happened: whether rows are wanted, whether this is the end, whether the server may be
    /// away.
    fn take_in(&mut self, now: Instant) -> (bool, bool, bool) {
        // Asked first: what was settled before the closing is told before the end.
        let closing = self.shared.inner().closing;
        let (settled, waiting) = self.shared.take_acks();
        self.waiting.extend(waiting);
        let was_dirty = self.walk.is_dirty();
        let settled: Vec<&str> = settled.iter().map(MessageId::as_str).collect();
        self.walk.on_settled(&settled);
        if self.walk.is_dirty() && !was_dirty {
            self.pace.quicken(now);
        }
        let mut inner = self.shared.inner();
        let woken = std::mem::take(&mut inner.woken);
        let wants = inner.reading == Reads::Live && !inner.missed && inner.arrivals.len() < WINDOW;
        if wants && inner.reader != self.reader {
            self.reader = inner.reader;
            self.given.clear();
            self.walk.rewind();
            self.pace.wake(now);
        }
        if wants && woken {
            self.pace.wake(now);
        }
        (wants, closing, inner.suspect)
    }

    /// Reads a page, gives out what is new if it is wanted, and acknowledges what is settled.
    async fn look(&mut self, wants: bool, closing: bool) -> Result<(), End> {
        let (client, after) = (self.client.clone(), self.walk.after().map(str::to_owned));
        let asking = twice(|| client.sync(after.as_deref()));
        let Some(page) = unless_closing(&self.shared, closing, asking).await else {
            return Ok(());
        };
        self.shared.inner().suspect = false;
        let page = match page {
            Ok(page) => page,
            // An answer that is no list says nothing.
            Err(error) => return self.on_error(error),
        };
        let known: Vec<_> = page
            .rows
            .iter()
            .map(|row| row.as_ref().map_or(Known::Unreadable, |row| self.known(row)))
            .collect();
        let taken = self.walk.on_page(&page, &known);
        let gave = wants && self.give(page, &taken);
        let now = Instant::now();
        match (gave, taken.more) {
            (true, more) | (false, more @ true) => self.pace.on_rows(more, now, &mut self.rng),
            (false, false) if taken.ack.is_some() => self.pace.on_rows(false, now, &mut self.rng),
            (false, false) => self.pace.on_nothing(now, &mut self.rng),
        }
        let Some(cursor) = taken.ack else {
            self.refused = 0;
            return Ok(());
        };
        // It may take effect though its answer is lost; a second time it changes nothing.
        match twice(|| self.client.sync_ack(&cursor)).await {
            Ok(_) => {
                self.refused = 0;
                Ok(())
            }
            Err(error) => {
                self.walk.on_ack_failed();
                self.on_error(error)
            }
        }
    }

    fn known(&self, row: &MessageRow) -> Known {
        let Some(id) = row.id().filter(|id| MessageId::new(*id).is_ok()) else { return Known::Unreadable };
        if row.sender() == Some(&*self.own) {
            // It is not handed out.
            return Known::Settled;
        }
        match self.shared.inner().fates.of(id) {
            Some(Fate::Settled) => Known::Settled,
            Some(Fate::Unsettled(_)) => Known::Open,
            // Left by an earlier reader: the next one reads from the beginning.
            Some(Fate::Loose) => Known::Open,
            None if self.given.contains(id) => Known::Open,
            None => Known::New,
        }
    }

    /// Whether there was something to give.
    fn give(&mut self, page: RowPage, taken: &Taken) -> bool {
        {
            let inner = self.shared.inner();
            self.given.retain(|id| inner.fates.of(id).is_none());
        }
        let mut new = taken.new.iter().copied().peekable();
        let gave = new.peek().is_some();
        let mut rows = Vec::new();
        for (place, row) in page.rows.into_iter().enumerate() {
            let (Some(_), Ok(row)) = (new.next_if_eq(&place), row) else { continue };
            self.given.extend(row.id().map(str::to_owned));
            rows.push(row);
        }
        self.shared.arrive(&mut rows);
        gave
    }

    /// The server did not answer the question. Nothing said at all means that it is away.
    fn on_error(&mut self, error: ApiError) -> Result<(), End> {
        if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden) {
            return Err(End { meaning: CloseMeaning::KeyInQuestion, how: error.to_string() });
        }
        self.refused += 1;
        let answered = error.status().is_some() || error.failure() == Failure::Unreadable;
        if !answered || self.refused > PATIENCE {
            return Err(End { meaning: CloseMeaning::Lost, how: error.to_string() });
        }
        self.pace.on_refusal(error.retry_after(), Instant::now(), &mut self.rng);
        Ok(())
    }
}

/// Asks, and once more when the connection was lost: servers close those that were idle, and may do so just
/// then. Only for what may be asked twice.
pub(super) async fn twice<T, F>(ask: impl Fn() -> F) -> ApiResult<T>
where
    F: Future<Output = ApiResult<T>>,
{
    match ask().await {
        Err(error) if error.failure() == Failure::Connection => ask().await,
        answer => answer,
    }
}

/// The answer, unless the attachment is closed meanwhile: what is asked changes nothing.
async fn unless_closing<T>(shared: &Shared, closing: bool, answer: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(answer);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            () = shared.work.notified() => {
                if !closing && shared.inner().closing {
                    shared.work.notify_one();
                    return None;
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Rows that may wait for the reader before more are asked for.
const WINDOW: usize = 256;
/// Refusals in a row after which the server counts as away.
const PATIENCE: u32 = 5;
