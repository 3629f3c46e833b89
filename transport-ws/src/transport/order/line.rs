//! One conversation: the number that is due, and the rows that wait for it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{HELD, Hole, Passed};
use crate::wire::MessageRow;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) next: u64,
    held: BTreeMap<u64, Held>,
    /// Numbers at or above `next` that need not come: one's own messages, and what was settled before.
    done: BTreeSet<u64>,
    /// Under which its hole is known, while it has one.
    pub(super) hole: Option<Hole>,
    pub(super) used: u64,
}

#[derive(Debug)]
struct Held {
    row: MessageRow,
    since: Instant,
    /// Other rows of the same number. There should be none, and each is a message.
    twins: Vec<MessageRow>,
}

impl Line {
    pub(super) fn new(next: u64, used: u64) -> Self {
        Self { next, held: BTreeMap::new(), done: BTreeSet::new(), hole: None, used }
    }

    /// Whether nothing waits, and nothing is known of later numbers.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.done.is_empty()
    }

    /// Keeps a row until it is due.
    pub(super) fn hold(&mut self, seq: u64, row: MessageRow, now: Instant, bytes: &mut usize) {
        let weight = weight(&row);
        match self.held.entry(seq) {
            Entry::Vacant(free) => {
                free.insert(Held { row, since: now, twins: Vec::new() });
            }
            Entry::Occupied(mut taken) => {
                let held = taken.get_mut();
                if held.rows().any(|other| other.id() == row.id()) {
                    return;
                }
                held.twins.push(row);
            }
        }
        *bytes += weight;
    }

    /// How many numbers wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn last_held(&self) -> Option<u64> {
        self.held.last_key_value().map(|(seq, _)| *seq)
    }

    /// The last number that has waited since `at`.
    pub(super) fn last_held_since(&self, at: Instant) -> Option<u64> {
        self.held.iter().rev().find(|(_, held)| held.since <= at).map(|(seq, _)| *seq)
    }

    /// Since when something waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.held.values().map(|held| held.since).min()
    }

    /// Nothing comes under this number. Returns whether that is news.
    pub(super) fn note_done(&mut self, seq: u64) -> bool {
        seq >= self.next && self.done.len() < HELD && self.done.insert(seq)
    }

    /// History has something under this number that need not come.
    pub(super) fn note_known(&mut self, seq: u64) {
        if seq >= self.next {
            self.done.insert(seq);
        }
    }

    /// Takes out what waits under a number, but for the message of this id.
    pub(super) fn take(&mut self, seq: u64, id: Option<&str>, bytes: &mut usize) -> Vec<MessageRow> {
        let Some(held) = self.held.remove(&seq) else { return Vec::new() };
        *bytes -= held.weight();
        let mut rows = held.into_rows();
        rows.retain(|row| row.id() != id);
        rows
    }

    pub(super) fn take_all(&mut self) -> Vec<MessageRow> {
        self.hole = None;
        std::mem::take(&mut self.held).into_values().flat_map(Held::into_rows).collect()
    }

    /// Lets go what is due.
    pub(super) fn advance(&mut self, bytes: &mut usize, out: &mut impl Extend<Passed>) {
        loop {
            if let Some(held) = self.held.remove(&self.next) {
                *bytes -= held.weight();
                held.pass(out);
            } else if !self.done.remove(&self.next) {
                break;
            }
            if self.next == u64::MAX {
                break;
            }
            self.next += 1;
        }
        if self.done.first().is_some_and(|first| *first < self.next) {
            self.done = self.done.split_off(&self.next);
        }
    }

    /// Lets go what waits under numbers up to this one. What is missing between is told to be, of the
    /// conversation of that name.
    pub(super) fn pass_upto(
        &mut self,
        upto: u64,
        name: Option<&str>,
        bytes: &mut usize,
        out: &mut impl Extend<Passed>,
    ) {
        while let Some(first) = self.held.first_entry()
            && *first.key() <= upto
        {
            let (seq, held) = first.remove_entry();
            while self.next < seq && self.done.remove(&self.next) {
                self.next += 1;
            }
            if let Some(name) = name
                && self.next < seq
            {
                out.extend(Some(Passed::Gap {
                    conversation: name.to_owned(),
                    expected: self.next,
                    got: seq,
                }));
            }
            *bytes -= held.weight();
            held.pass(out);
            self.next = self.next.max(seq.saturating_add(1));
        }
    }
}

impl Held {
    fn rows(&self) -> impl Iterator<Item = &MessageRow> {
        std::iter::once(&self.row).chain(&self.twins)
    }

    fn weight(&self) -> usize {
        self.rows().map(weight).sum()
    }

    fn into_rows(self) -> Vec<MessageRow> {
        std::iter::once(self.row).chain(self.twins).collect()
    }

    /// The first one is the row of its number; what else came under it is late by then.
    fn pass(self, out: &mut impl Extend<Passed>) {
        out.extend(Some(Passed::Row { row: self.row, late: false }));
        out.extend(self.twins.into_iter().map(|row| Passed::Row { row, late: true }));
    }
}

/// What a row that waits takes, beside its text.
fn weight(row: &MessageRow) -> usize {
    row.len() + BESIDE
}

const BESIDE: usize = 512;
