//! Which reply is next, what fills a hole, and when one is given up.

use std::time::Duration;

use super::super::item::{ReaderItem, Reply, StreamEnd};
use super::super::snapshot::Snapshot;
use super::{Held, StreamReader};
use crate::reply::ReplyType;
use crate::task::Event;

impl StreamReader {
    pub(super) fn unnumbered(&mut self, held: Held, items: &mut Vec<ReaderItem>) {
        let over = held.event.as_ref().is_ok_and(Event::ends_request);
        let last = held.last || over || self.is_only(&held);
        self.give(held, last, items);
    }

    pub(super) fn numbered(&mut self, seq: u64, held: Held, now: Duration, items: &mut Vec<ReaderItem>) {
        // No number follows the largest, so nothing behind it could be told from it.
        if seq < self.next || seq == u64::MAX || self.held.contains_key(&seq) {
            self.passed_over += 1;
            return;
        }
        let bytes = held.envelope.body.len();
        let full = self.held.len() >= self.options.max_held
            || self.held_bytes.saturating_add(bytes) > self.options.max_held_bytes;
        let first = self.held.first_key_value().is_none_or(|(first, _)| seq < *first);
        let at_once = seq == self.next || (first && self.continues(&held));
        if full && !at_once {
            self.passed_over += 1;
            if !std::mem::replace(&mut self.overflowed, true) {
                self.ask(now, items);
            }
            return;
        }
        self.held_bytes += bytes;
        self.held.insert(seq, held);
        self.drain(now, items);
    }

    /// Gives all that is next in order.
    fn drain(&mut self, now: Duration, items: &mut Vec<ReaderItem>) {
        let before = self.next;
        while self.ended.is_none() {
            let Some((&seq, first)) = self.held.first_key_value() else { break };
            let covered = self.covers(first);
            if !covered && seq > self.next && !self.continues(first) {
                break;
            }
            let Some(held) = self.take_first() else { break };
            self.next = self.next.max(seq.saturating_add(1));
            if covered && !held.last {
                self.passed_over += 1;
            } else if covered {
                self.end(StreamEnd::Last, items);
            } else {
                self.resynced = false;
                let last = held.last || self.is_only(&held);
                self.give(held, last, items);
            }
        }
        if !self.waits() {
            (self.waiting_since, self.tries, self.overflowed) = (None, 0, false);
        } else if self.waiting_since.is_none() || self.next > before {
            (self.waiting_since, self.tries) = (Some(now), 0);
        }
    }

    /// Whether what a reply says is known already, from a snapshot.
    fn covers(&self, held: &Held) -> bool {
        let event = matches!(held.kind, Some(ReplyType::Response | ReplyType::StreamResponse));
        event && held.generation.is_some_and(|generation| generation <= self.generation)
    }

    /// Whether a reply is the next one by its generation, where its number says nothing.
    fn continues(&self, held: &Held) -> bool {
        let Some(generation) = held.generation.filter(|_| self.resynced) else { return false };
        // An end says the generation of what it ends.
        let ends = matches!(held.kind, Some(ReplyType::End | ReplyType::Error));
        generation.checked_sub(1) == Some(self.generation) || (ends && generation == self.generation)
    }

    fn is_only(&self, held: &Held) -> bool {
        self.options.single
            || matches!(held.kind, Some(ReplyType::Response | ReplyType::Error | ReplyType::End))
    }

    pub(super) fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    fn take_first(&mut self) -> Option<Held> {
        let (_, held) = self.held.pop_first()?;
        self.held_bytes -= held.envelope.body.len();
        Some(held)
    }

    fn give(&mut self, held: Held, last: bool, items: &mut Vec<ReaderItem>) {
        let Held { kind, event, envelope, seq, generation, .. } = held;
        self.generation = self.generation.max(generation.unwrap_or(0));
        match event {
            _ if kind == Some(ReplyType::End) => {}
            Ok(event) => {
                let task_inbox = envelope.task_inbox().map(str::to_owned);
                items.push(ReaderItem::Reply(Reply {
                    event,
                    body: envelope.body,
                    seq,
                    generation,
                    task_inbox,
                }));
            }
            Err(error) => items.push(ReaderItem::Unreadable { seq, error }),
        }
        if last {
            self.end(StreamEnd::Last, items);
        }
    }

    pub(super) fn end(&mut self, how: StreamEnd, items: &mut Vec<ReaderItem>) {
        self.ended = Some(how);
        self.passed_over += self.held.len() as u64;
        self.held.clear();
        (self.held_bytes, self.waiting_since) = (0, None);
        items.push(ReaderItem::End(how));
    }

    pub(super) fn ask(&mut self, now: Duration, items: &mut Vec<ReaderItem>) {
        self.tries += 1;
        if self.waits() {
            self.waiting_since = Some(now);
        }
        if self.options.snapshot_tries > 0 {
            items.push(ReaderItem::ReadSnapshot);
        }
    }

    /// A whole task among what waits makes good what is missing before it: a worker that took over sends one.
    pub(super) fn bridge(&mut self, now: Duration, items: &mut Vec<ReaderItem>) -> bool {
        let whole = |held: &Held| matches!(held.event, Ok(Event::Task(_))) && held.generation.is_some();
        let Some(at) = self.held.iter().rev().find(|(_, held)| whole(held)).map(|(seq, _)| *seq) else {
            return false;
        };
        while let Some((&seq, _)) = self.held.first_key_value() {
            let Some(held) = self.take_first() else { break };
            if seq < at {
                self.passed_over += 1;
                continue;
            }
            self.next = at.saturating_add(1);
            if let (Ok(Event::Task(task)), Some(generation)) = (held.event, held.generation) {
                self.generation = self.generation.max(generation);
                items.push(ReaderItem::Resynced { task, generation });
            }
            if held.last {
                self.end(StreamEnd::Last, items);
            }
            break;
        }
        self.drain(now, items);
        true
    }

    pub(super) fn resync(&mut self, snapshot: Snapshot, now: Duration, items: &mut Vec<ReaderItem>) {
        let Snapshot { task, generation } = snapshot;
        let state = task.state.clone();
        let uncovered = self.held.values().find(|held| held.generation.is_none_or(|at| at > generation));
        let bridges = match uncovered {
            None => true,
            Some(held) => match held.generation {
                Some(at) => Some(at) == generation.checked_add(1),
                None => state.ends_request(),
            },
        };
        let goes_on = uncovered.is_some_and(|held| held.generation.is_some());
        let useful = generation > self.generation && bridges;
        if useful {
            (self.generation, self.resynced) = (generation, true);
            items.push(ReaderItem::Resynced { task, generation });
        }
        // A snapshot from before a follow-up says that the task waits: that was the question it answers.
        let over = state.is_terminal() || (state.is_interrupted() && generation > self.base);
        if over && !goes_on && generation >= self.generation {
            return self.end(StreamEnd::Snapshot, items);
        }
        if useful {
            self.drain(now, items);
        } else if self.waits() && self.tries >= self.options.snapshot_tries {
            self.give_up(now, items);
        }
    }

    /// The hole stays: it is reported, and what comes behind it is given.
    pub(super) fn give_up(&mut self, now: Duration, items: &mut Vec<ReaderItem>) {
        let Some(&first) = self.held.keys().next() else { return };
        if first > self.next {
            items.push(ReaderItem::Gap { from: self.next, to: first - 1 });
        }
        self.next = first;
        self.tries = 0;
        self.drain(now, items);
    }
}
