//! Requests that were recorded and never became a task: their worker died in between, and their message does
//! not come again. They are forgotten when nobody waits for them any longer.

use std::sync::Arc;
use std::time::Duration;

use super::intake::turn_of;
use super::note::Note;
use super::server::Shared;
use super::turn::lock;
use crate::idempotency::{RequestKey, RequestRecord};

impl Shared {
    /// Forgets what is left behind, whenever something may be. Never ends.
    pub(crate) async fn sweep_on(self: Arc<Self>) {
        loop {
            self.sweep().await;
            let next = lock(&self.requests).next_overdue();
            let wait = next.map_or(LONGEST, |due| due.saturating_sub(self.clock.now()));
            tokio::time::sleep(wait.clamp(SHORTEST, LONGEST)).await;
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
                let why = error.to_string();
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
