//! Keeping over a restart how far each conversation is settled, for servers that bring nothing again.

mod ledger;
mod reconcile;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use agentchat_core::store::{Cursor, CursorStore};
use agentchat_core::{ErrorKind, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::sleep;

use self::ledger::Ledger;
use crate::api::AgentChat;
use crate::wire::MessageRow;

/// The cursors of one agent's conversations: in memory, and in a store a little later.
pub(crate) struct Keeping {
    store: Arc<dyn CursorStore>,
    /// What this agent's keys begin with.
    prefix: String,
    inner: Mutex<Inner>,
    changed: Notify,
    written: Notify,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    /// Messages up to this moment are not new in a conversation without a cursor.
    since: Option<SystemTime>,
    loaded: bool,
    writing: bool,
    /// Conversations that the list did not show were looked at.
    looked_behind: bool,
}

impl Keeping {
    /// The cursors of the agent `own` at the server `base`.
    pub(crate) fn new(store: Arc<dyn CursorStore>, base: &str, own: &str) -> Self {
        let prefix = format!("agentchat/{own}@{base}");
        Self { store, prefix, inner: Mutex::default(), changed: Notify::new(), written: Notify::new() }
    }

    /// Reads the store, and at its very first use notes what the server has already: that is not new.
    pub(crate) async fn prepare(&self, client: &AgentChat) -> Result<()> {
        if self.lock().loaded {
            self.lock().ledger.look_again();
            return Ok(());
        }
        let mut kept = self.store.list(&self.prefix).await?;
        if !kept.iter().any(|(key, _)| *key == self.prefix) {
            self.begin(client).await?;
            kept = self.store.list(&self.prefix).await?;
        }
        let mut inner = self.lock();
        for (key, cursor) in kept {
            let text = std::str::from_utf8(cursor.bytes()).unwrap_or_default();
            match key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/')) {
                Some(conversation) => inner.ledger.load(conversation, text.parse().unwrap_or(1)),
                None if key == self.prefix => inner.since = crate::wire::time::parse(text),
                // Of an agent whose name begins the same way.
                None => {}
            }
        }
        inner.loaded = true;
        Ok(())
    }

    /// A message is handed out.
    pub(crate) fn handed(&self, row: &MessageRow) {
        if let (Some(id), Some(conversation), Some(seq)) = (row.id(), row.conversation_id(), row.seq()) {
            self.lock().ledger.handed(id, conversation, seq);
        }
    }

    /// It is not for anybody to handle.
    pub(crate) fn passed_over(&self, row: &MessageRow) {
        if let (Some(conversation), Some(seq)) = (row.conversation_id(), row.seq()) {
            self.sent(conversation, seq);
        }
    }

    /// A message of one's own has this number.
    pub(crate) fn sent(&self, conversation: &str, seq: u64) {
        self.lock().ledger.done(conversation, seq);
        self.changed.notify_one();
    }

    /// These are settled.
    pub(crate) fn settled(&self, ids: &[&str]) {
        let mut inner = self.lock();
        ids.iter().for_each(|id| inner.ledger.settled(id));
        drop(inner);
        self.changed.notify_one();
    }

    /// Tells the store what changes, and looks for numbers that hold a cursor up, until it is dropped.
    pub(crate) async fn run(&self, client: &AgentChat) -> Infallible {
        let mut pause = SHORTEST;
        let mut looking: Option<BoxFuture<'_, ()>> = None;
        loop {
            let drafts = {
                let mut inner = self.lock();
                inner.writing = inner.ledger.has_drafts();
                inner.ledger.take_drafts()
            };
            if drafts.is_empty() {
                self.written.notify_waiters();
                if looking.is_none() {
                    let gap = self.lock().ledger.gap();
                    looking = gap.map(|(conversation, from, to)| {
                        self.look_into(client, conversation, from, to).boxed()
                    });
                }
                // A server that takes its time with history must not hold up what is to be written.
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = done(&mut looking) => looking = None,
                }
                continue;
            }
            let mut failed = false;
            let mut drafts = Unwritten { keeping: self, drafts };
            while let Some((conversation, value)) = drafts.drafts.pop_first() {
                // Should this be dropped now, it is written again: that changes nothing.
                drafts.drafts.insert(conversation.clone(), value);
                let result = self.tell(&conversation, value).await;
                drafts.drafts.remove(&conversation);
                if let Err(error) = result
                    && error.is_retryable()
                    && error.kind() != ErrorKind::Backpressure
                {
                    self.lock().ledger.give_back(conversation, value);
                    failed = true;
                }
            }
            drop(drafts);
            self.lock().writing = false;
            pause = if failed { (pause * 2).min(LONGEST) } else { SHORTEST };
            if failed {
                sleep(pause).await;
            }
        }
    }

    /// Returns once the store was told everything. Cancel-safe.
    pub(crate) async fn flushed(&self) {
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            written.as_mut().enable();
            let is_idle = {
                let inner = self.lock();
                !inner.writing && !inner.ledger.has_drafts()
            };
            if is_idle {
                return;
            }
            self.changed.notify_one();
            written.await;
        }
    }

    /// Tells the store what is left, for so long.
    pub(crate) async fn flush_within(&self, client: &AgentChat, within: Duration) {
        tokio::select! {
            biased;
            () = self.flushed() => {}
            never = self.run(client) => match never {},
            () = sleep(within) => {}
        }
    }

    async fn tell(&self, conversation: &str, value: Option<u64>) -> Result<()> {
        let key = self.key(conversation);
        match value {
            Some(next) => self.store.set(&key, &Cursor::new(next.to_string())).await,
            None => self.store.clear(&key).await,
        }
    }

    fn key(&self, conversation: &str) -> String {
        format!("{}/{conversation}", self.prefix)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").finish_non_exhaustive()
    }
}

/// Returns once what is under way is done: never, where there is none.
async fn done(looking: &mut Option<BoxFuture<'_, ()>>) {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// Drafts that the store was not told; dropped with the task that tells it, they are there for the next one.
struct Unwritten<'a> {
    keeping: &'a Keeping,
    drafts: std::collections::BTreeMap<String, Option<u64>>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        let mut inner = self.keeping.lock();
        inner.writing = false;
        for (conversation, value) in std::mem::take(&mut self.drafts) {
            inner.ledger.give_back(conversation, value);
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
