//! Requests that were recorded and never became a task: their worker died in between, and their message does
//! not come again. They are forgotten when nobody waits for them any longer. And when questions are looked after
//! that nobody answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::intake::turn_of;
use super::note::Note;
use super::server::Shared;
use super::turn_handle::lock;
use crate::idempotency::{RequestKey, RequestRecord};

impl Shared {
    /// Forgets what is left behind and ends what is not answered, whenever something may be. Never ends.
    pub(crate) async fn sweep_on(self: Arc<Self>) {
        loop {
            self.sweep().await;
            self.end_what_is_due().await;
            let swept = Instant::now();
            loop {
                let next = [lock(&self.requests).next_overdue(), self.deadlines.soonest()];
                let next = next.into_iter().flatten().min();
                let next = next.map_or(swept + LONGEST, |due| self.clock.instant(due));
                let next = next.clamp(swept + SHORTEST, swept + LONGEST);
                tokio::select! {
                    () = sleep_until(next) => break,
                    () = self.deadlines.sooner() => {}
                }
            }
        }
    }

    async fn sweep(&self) {
        let overdue = lock(&self.requests).overdue(self.clock.now());
        for record in overdue {
            let Some(key) = RequestKey::new(&record.key) else { continue };
            match self.fate(&record).await {
                Fate::Here => continue,
                // What becomes of it is in the stores.
                Fate::Elsewhere => {
                    lock(&self.requests).abandon(&record.sender, &key);
                    continue;
                }
                Fate::LeftBehind => {}
            }
            if let Err(error) = self.stored(|| self.records.remove(&record.sender, &record.key)).await {
                // It is told again after a while, and at the next start.
                let why = error.public_text();
                self.tell(&Note { name: "store.failed", why: Some(&why), ..Note::default() });
                continue;
            }
            lock(&self.requests).abandon(&record.sender, &key);
            self.tell(&Note { name: "request.forgotten", task: Some(&record.task_id), ..Note::default() });
        }
    }

    async fn fate(&self, record: &RequestRecord) -> Fate {
        let task = self.tasks.get(&record.task_id).await;
        match task {
            _ if lock(&self.running).contains_key(&record.task_id) => Fate::Here,
            Err(_) => Fate::Here,
            Ok(Some(task)) if turn_of(&task, record).is_some() => Fate::Elsewhere,
            Ok(_) => Fate::LeftBehind,
        }
    }
}

/// Who has a request.
enum Fate {
    /// Its task works here, or nobody knows.
    Here,
    /// It is a task's, and that works elsewhere or not at all.
    Elsewhere,
    /// No task has it, and nobody here is about to make it one's.
    LeftBehind,
}

/// How long is slept at least, however much is due.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long is slept at most: what was met meanwhile may be due before what was known.
const LONGEST: Duration = Duration::from_secs(60);
