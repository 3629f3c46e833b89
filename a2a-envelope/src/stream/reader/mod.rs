//! Reading a stream: each reply once, in order, up to one end.

mod order;

use std::collections::BTreeMap;
use std::time::Duration;

use super::item::{ReaderItem, StreamEnd};
use super::reader_options::ReaderOptions;
use super::snapshot::Snapshot;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::limits::Limits;
use crate::reply::ReplyType;
use crate::task::Event;

/// Reads the replies to one request: each once, in their order, up to one end.
///
/// Replies may come repeated, in any order and late; what is missing for long is made good by the task's
/// snapshot, and what cannot be made good is reported as a [`Gap`](ReaderItem::Gap). Peers that give no
/// numbers are read as their replies come. It has no clock: `now` is the time since any fixed moment.
///
/// It is for the replies to its request: [`Calls`](crate::call::Calls) tells whose a reply is.
#[derive(Debug)]
pub struct StreamReader {
    options: ReaderOptions,
    limits: Limits,
    /// Every number below it is done with.
    next: u64,
    /// Every generation up to it is known.
    generation: u64,
    base: u64,
    /// Whether what is known came from a snapshot, which says nothing of numbers.
    resynced: bool,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    waiting_since: Option<Duration>,
    overflowed: bool,
    tries: u32,
    heard_at: Duration,
    taken: bool,
    ended: Option<StreamEnd>,
    passed_over: u64,
}

#[derive(Debug)]
struct Held {
    kind: Option<ReplyType>,
    event: Result<Event>,
    envelope: Envelope,
    seq: Option<u64>,
    generation: Option<u64>,
    last: bool,
}

impl StreamReader {
    /// Reads the replies to a new request.
    #[must_use]
    pub fn new(options: ReaderOptions, now: Duration) -> Self {
        Self::after(0, options, now)
    }

    /// Reads what a task says after this generation: of a follow-up, the generation of the question; of a
    /// subscription, the one seen last.
    #[must_use]
    pub fn after(generation: u64, options: ReaderOptions, now: Duration) -> Self {
        Self {
            options,
            limits: Limits::default(),
            next: 1,
            generation,
            base: generation,
            resynced: false,
            held: BTreeMap::new(),
            held_bytes: 0,
            waiting_since: None,
            overflowed: false,
            tries: 0,
            heard_at: now,
            taken: false,
            ended: None,
            passed_over: 0,
        }
    }

    /// These limits on what is parsed.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The generation up to which all is known: where a subscription resumes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<StreamEnd> {
        self.ended
    }

    /// How many replies wait for one before them.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many replies were passed over: repeated, late, or let go because too many waited.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Takes one reply.
    ///
    /// # Errors
    ///
    /// [`Error::Header`](crate::Error::Header) for a number that is none: nothing is known of its place, and
    /// it is passed over. A body that cannot be read is an [`Unreadable`](ReaderItem::Unreadable) in its place.
    pub fn receive(&mut self, envelope: Envelope, now: Duration) -> Result<Vec<ReaderItem>> {
        let mut items = Vec::new();
        let (seq, generation) = (envelope.seq()?, envelope.generation()?);
        if self.ended.is_some() {
            self.passed_over += 1;
            return Ok(items);
        }
        self.heard_at = now;
        let kind = envelope.reply_type();
        if kind == Some(ReplyType::Ack) || seq == Some(0) {
            if !std::mem::replace(&mut self.taken, true) {
                items.push(ReaderItem::Taken);
            }
            return Ok(items);
        }
        let event = Event::parse(&envelope.body, &self.limits);
        let held = Held { kind, last: envelope.is_last(), event, envelope, seq, generation };
        match seq {
            None => self.unnumbered(held, &mut items),
            Some(seq) => self.numbered(seq, held, now, &mut items),
        }
        Ok(items)
    }

    /// Takes the snapshot that was asked for; `None` if there is none.
    pub fn snapshot(&mut self, snapshot: Option<Snapshot>, now: Duration) -> Vec<ReaderItem> {
        let mut items = Vec::new();
        if self.ended.is_none() {
            match snapshot {
                Some(snapshot) => self.resync(snapshot, now, &mut items),
                None if self.waits() && self.tries >= self.options.snapshot_tries => {
                    self.give_up(now, &mut items)
                }
                None => {}
            }
        }
        items
    }

    /// What is due at `now`.
    pub fn poll(&mut self, now: Duration) -> Vec<ReaderItem> {
        let mut items = Vec::new();
        if self.ended.is_some() || self.next_deadline().is_none_or(|due| now < due) {
            return items;
        }
        if !self.waits() {
            self.heard_at = now;
            items.push(ReaderItem::ReadSnapshot);
        } else if !self.bridge(now, &mut items) {
            if self.tries < self.options.snapshot_tries {
                self.ask(now, &mut items);
            } else {
                self.give_up(now, &mut items);
            }
        }
        items
    }

    /// When [`poll`](Self::poll) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.ended.is_some() {
            return None;
        }
        match self.waiting_since {
            Some(since) => Some(since.saturating_add(self.options.hole_after)),
            None => {
                self.options.silent_after.map(|silence| self.heard_at.saturating_add(silence.max(SHORTEST)))
            }
        }
    }

    /// Nothing more will be read. What waits is let go.
    pub fn cut(&mut self) -> Vec<ReaderItem> {
        let mut items = Vec::new();
        if self.ended.is_none() {
            self.end(StreamEnd::Cut, &mut items);
        }
        items
    }
}

/// Asking again at once would never end.
const SHORTEST: Duration = Duration::from_millis(1);
