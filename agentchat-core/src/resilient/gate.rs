//! Between an inbox and its reader: a message passes once the store knows that it is being handed out.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::session::backoff::{Backoff, BackoffPolicy};
use crate::transport::Event;

use super::recall::Scope;

/// The events that wait, in order. What is ready at once is noted at once; one note is under way at a time.
#[derive(Debug)]
pub(super) struct Gate {
    waiting: VecDeque<Event>,
    /// How many of them the note under way is for.
    noting: usize,
    under_way: bool,
    /// Tells a note from one that was made for an earlier reader.
    round: u64,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            noting: 0,
            under_way: false,
            round: 0,
            not_before: None,
            backoff: Backoff::new(PACE),
        }
    }

    /// Takes an event in. Gives it back when it need not wait.
    pub(super) fn push(&mut self, event: Event) -> Option<Event> {
        if self.waiting.is_empty() && !matches!(event, Event::Message(_)) {
            return Some(event);
        }
        self.waiting.push_back(event);
        None
    }

    /// The next note to make: its number and the keys.
    pub(super) fn poll(&mut self, scope: &Scope, now: Instant) -> Option<(u64, Vec<String>)> {
        if self.under_way || self.waiting.is_empty() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.noting = self.waiting.len().min(BATCH);
        (self.under_way, self.not_before) = (true, None);
        let keys = self.waiting.iter().take(self.noting).filter_map(|event| match event {
            Event::Message(delivery) => Some(scope.handed(&delivery.identity())),
            _ => None,
        });
        Some((self.round, keys.collect()))
    }

    /// A note was made, or not: gives what passes now.
    ///
    /// # Errors
    /// The note cannot be made: nothing passes any more.
    pub(super) fn on_noted(
        &mut self,
        round: u64,
        result: Result<()>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<Event>> {
        if round != self.round || !self.under_way {
            return Ok(Vec::new());
        }
        self.under_way = false;
        let Err(error) = result else {
            self.backoff = Backoff::new(PACE);
            return Ok(self.waiting.drain(..self.noting.min(self.waiting.len())).collect());
        };
        match self.backoff.failed(now, error.advice(), rng) {
            Some(at) => {
                self.not_before = Some(at);
                Ok(Vec::new())
            }
            None => {
                self.clear();
                Err(unnoted(error))
            }
        }
    }

    /// Nobody reads any more: what waits comes again.
    pub(super) fn clear(&mut self) {
        let round = self.round + 1;
        *self = Self { round, ..Self::new() };
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.not_before
    }
}

fn unnoted(error: Error) -> Error {
    let what = "the store could not note what is handed out; what is not settled comes again";
    Error::new(error.kind(), "subscribe", what)
        .with_advice(error.advice())
        .with_reached(error.reached())
        .with_source(error)
}

/// When a note that failed is made again, and how often it may fail: about six seconds.
const PACE: BackoffPolicy = BackoffPolicy {
    base: std::time::Duration::from_millis(50),
    factor: 2.0,
    cap: std::time::Duration::from_secs(5),
    jitter: 0.25,
    max_attempts: Some(8),
    stable_after: std::time::Duration::MAX,
};
/// How many events share a note.
const BATCH: usize = 256;
