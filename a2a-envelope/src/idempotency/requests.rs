//! The requests that are under way or were answered lately. Knows no clock.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use super::key::RequestKey;
use super::limits::RequestLimits;
use super::met::{Met, RequestError};
use super::record::{RequestRecord, RequestState};
use crate::json_text::JsonText;
use crate::sha256::sha256_base32;

/// The requests that are under way or were answered lately. It has no clock: `now` is the time since the unix
/// epoch, so that ages survive a restart. A clock set back makes nothing older.
///
/// What runs is not forgotten by itself: what may have been left behind is told by
/// [`overdue`](Self::overdue), and its owner decides. Of what is answered, the oldest goes first.
pub struct Requests {
    entries: HashMap<Id, Entry>,
    /// Answered ones by time of the answer.
    order: BTreeMap<(u64, u64), Id>,
    /// Running ones by the time from which they may be left behind.
    due: BTreeMap<(u64, u64), Id>,
    next: u64,
    answer_bytes: usize,
    limits: RequestLimits,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Id {
    sender: String,
    key: String,
}

struct Entry {
    record: RequestRecord,
    /// Where it is in `order` or in `due`.
    place: (u64, u64),
}

impl Requests {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            due: BTreeMap::new(),
            next: 0,
            answer_bytes: 0,
            limits,
        }
    }

    /// What a store held: those that ran count as running, whatever the limit.
    #[must_use]
    pub fn restored(
        limits: RequestLimits,
        records: impl IntoIterator<Item = RequestRecord>,
        now: Duration,
    ) -> Self {
        let mut requests = Self::new(limits);
        for record in records {
            requests.put(record);
        }
        requests.forget(now);
        requests
    }

    /// Meets a request. `task_id` is the id its task will have if it is new, or the one it names.
    ///
    /// # Errors
    ///
    /// [`RequestError::Conflict`] and [`RequestError::Full`]; nothing is remembered of it then.
    pub fn meet(
        &mut self,
        sender: &str,
        key: &RequestKey,
        body: &[u8],
        task_id: &str,
        now: Duration,
    ) -> Result<Met, RequestError> {
        self.meet_until(sender, key, body, task_id, None, now)
    }

    /// The same for a request whose sender waits until `until`, since the unix epoch.
    ///
    /// # Errors
    ///
    /// As [`meet`](Self::meet).
    pub fn meet_until(
        &mut self,
        sender: &str,
        key: &RequestKey,
        body: &[u8],
        task_id: &str,
        until: Option<Duration>,
        now: Duration,
    ) -> Result<Met, RequestError> {
        self.forget(now);
        let id = Id::new(sender, key.as_str());
        let body_hash = sha256_base32(body);
        if let Some(Entry { record, .. }) = self.entries.get(&id) {
            let record = record.clone();
            return match record.state {
                _ if record.body_hash != body_hash => Err(RequestError::Conflict),
                RequestState::Running => Ok(Met::Running(record)),
                RequestState::Answered => Ok(Met::Answered(record)),
            };
        }
        if self.running() >= self.limits.max_running {
            return Err(RequestError::Full { running: self.running() });
        }
        let record = RequestRecord {
            sender: id.sender,
            key: id.key,
            body_hash,
            task_id: task_id.to_owned(),
            state: RequestState::Running,
            at_ms: millis(now),
            until_ms: until.map(millis),
            answer: None,
            waiting: None,
        };
        self.put(record.clone());
        Ok(Met::New(record))
    }

    /// The request is answered with this body. Gives the record to store; `None` for one that does not run.
    pub fn answered(
        &mut self,
        sender: &str,
        key: &RequestKey,
        answer: Option<JsonText>,
        now: Duration,
    ) -> Option<RequestRecord> {
        let known = self.get(sender, key).filter(|record| record.state == RequestState::Running)?;
        let mut record = known.clone();
        record.state = RequestState::Answered;
        record.at_ms = record.at_ms.max(millis(now));
        record.waiting = None;
        record.answer = answer.filter(|answer| answer.as_str().len() <= self.limits.max_answer_bytes);
        self.put(record.clone());
        self.forget(now);
        Some(record)
    }

    /// Remembers what another worker recorded, because this one goes on with it.
    pub fn adopt(&mut self, record: &RequestRecord) {
        if !self.entries.contains_key(&Id::new(&record.sender, &record.key)) {
            self.put(record.clone());
        }
    }

    /// The request was not taken after all (its record could not be stored): it is new when it comes again.
    /// One that is answered stays.
    pub fn abandon(&mut self, sender: &str, key: &RequestKey) {
        if self.get(sender, key).is_some_and(|record| record.state == RequestState::Running) {
            self.take(&Id::new(sender, key.as_str()));
        }
    }

    /// The running requests whose senders no longer wait, or that run for longer than answers are remembered:
    /// whichever nobody works on is to be [abandoned](Self::abandon). Each is told again only after that age.
    pub fn overdue(&mut self, now: Duration) -> Vec<RequestRecord> {
        let mut found = Vec::new();
        let later_ms = millis(now.saturating_add(self.limits.max_age.max(Duration::from_secs(1))));
        while let Some((place, id)) = self.due.first_key_value() {
            if place.0 > millis(now) {
                break;
            }
            let (place, id) = (*place, id.clone());
            self.due.remove(&place);
            let later = self.place(later_ms);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.place = later;
                found.push(entry.record.clone());
                self.due.insert(later, id);
            }
        }
        found
    }

    /// When [`overdue`](Self::overdue) has something to tell next, since the unix epoch.
    #[must_use]
    pub fn next_overdue(&self) -> Option<Duration> {
        self.due.first_key_value().map(|(place, _)| Duration::from_millis(place.0))
    }

    /// What is remembered under a key.
    #[must_use]
    pub fn get(&self, sender: &str, key: &RequestKey) -> Option<&RequestRecord> {
        self.entries.get(&Id::new(sender, key.as_str())).map(|entry| &entry.record)
    }

    /// How many requests run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.due.len()
    }

    /// How many requests are remembered, running ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the answers that are kept.
    #[must_use]
    pub fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    fn put(&mut self, record: RequestRecord) {
        let id = Id::new(&record.sender, &record.key);
        self.take(&id);
        self.answer_bytes += record.answer_size();
        let place = match record.state {
            RequestState::Running => {
                let age = record.at().saturating_add(self.limits.max_age);
                let place = self.place(record.until_ms.unwrap_or_else(|| millis(age)));
                self.due.insert(place, id.clone());
                place
            }
            RequestState::Answered => {
                let place = self.place(record.at_ms);
                self.order.insert(place, id.clone());
                place
            }
        };
        self.entries.insert(id, Entry { record, place });
    }

    fn place(&mut self, at_ms: u64) -> (u64, u64) {
        self.next += 1;
        (at_ms, self.next)
    }

    fn take(&mut self, id: &Id) {
        if let Some(entry) = self.entries.remove(id) {
            self.answer_bytes -= entry.record.answer_size();
            match entry.record.state {
                RequestState::Running => self.due.remove(&entry.place),
                RequestState::Answered => self.order.remove(&entry.place),
            };
        }
    }

    fn forget(&mut self, now: Duration) {
        let horizon = millis(now.saturating_sub(self.limits.max_age));
        while let Some((place, id)) = self.order.first_key_value() {
            if place.0 >= horizon && self.order.len() <= self.limits.max_answered {
                break;
            }
            let id = id.clone();
            self.take(&id);
        }
        if self.answer_bytes <= self.limits.max_answer_bytes {
            return;
        }
        for id in self.order.values() {
            if let Some(entry) = self.entries.get_mut(id) {
                self.answer_bytes -= entry.record.answer_size();
                entry.record.answer = None;
            }
            // Some room at once, so that not every answer looks for it.
            if self.answer_bytes <= self.limits.max_answer_bytes / 2 {
                return;
            }
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("running", &self.running())
            .field("answered", &self.order.len())
            .field("answer_bytes", &self.answer_bytes)
            .finish_non_exhaustive()
    }
}

impl Id {
    fn new(sender: &str, key: &str) -> Self {
        Self { sender: sender.to_owned(), key: key.to_owned() }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
