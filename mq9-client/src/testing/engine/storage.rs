//! What a mailbox's messages lie in: a topic of one or more partitions, indexed for every way of reading.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::message::Priority;

/// The storage under a mailbox name. It outlives the mailbox, and may exist without one.
pub(crate) struct Topic {
    /// Whether a mailbox of this name exists at present.
    pub(crate) is_mailbox: bool,
    /// Made by a plain publish before any CREATE: the broker keeps such a topic in memory only.
    pub(crate) volatile: bool,
    /// Bytes counted against the budget of topics that never were mailboxes; 0 once claimed.
    pub(crate) unclaimed_bytes: usize,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    pub(crate) fn new(partitions: u32) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Partition::default()).collect();
        Self { is_mailbox: false, volatile: false, unclaimed_bytes: 0, partitions }
    }

    /// Stores a record in the partition whose turn it is; its id there.
    pub(crate) fn append(&mut self, record: Record, turn: &mut u64) -> u64 {
        let at = self.at(*turn);
        *turn = turn.wrapping_add(1);
        self.partitions[at].append(record)
    }

    /// Stores a record in a turn of the topic's own.
    pub(crate) fn append_apart(&mut self, record: Record) {
        let at = self.at(self.partitions.iter().map(|partition| partition.next_id).sum());
        self.partitions[at].append(record);
    }

    /// Removes the record with this id from every partition; whether any had it.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        self.partitions.iter_mut().filter_map(|partition| partition.remove(id).then_some(())).count() > 0
    }

    pub(crate) fn next_ids(&self) -> Vec<u64> {
        self.partitions.iter().map(|partition| partition.next_id).collect()
    }

    /// Forgets the records but not the ids they had.
    pub(crate) fn empty(&mut self) {
        for partition in &mut self.partitions {
            *partition = Partition { next_id: partition.next_id, ..Partition::default() };
        }
    }

    /// Makes the partitions continue at these ids, which were given out before a restart.
    pub(crate) fn resume(&mut self, next_ids: &[u64]) {
        for (partition, next_id) in self.partitions.iter_mut().zip(next_ids) {
            partition.next_id = *next_id;
        }
    }

    fn at(&self, turn: u64) -> usize {
        usize::try_from(turn % self.partitions.len() as u64).unwrap_or(0)
    }
}

/// One stored message.
pub(crate) struct Record {
    pub(crate) payload: Bytes,
    pub(crate) header: Option<Bytes>,
    /// `None` for what a plain publish put here: FETCH reads by class and never sees it.
    pub(crate) priority: Option<Priority>,
    pub(crate) key: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) create_s: u64,
    /// The last second in which it is visible.
    pub(crate) last_s: Option<u64>,
}

impl Record {
    pub(crate) fn visible(&self, now_s: u64) -> bool {
        self.last_s.is_none_or(|last| now_s <= last)
    }
}

/// An append-only log with its indexes. Ids count from 0 and are never given twice.
#[derive(Default)]
pub(crate) struct Partition {
    next_id: u64,
    records: BTreeMap<u64, Record>,
    classes: [BTreeSet<u64>; 3],
    keys: HashMap<String, u64>,
    tags: BTreeMap<String, BTreeSet<u64>>,
    /// Last visible second and id of whatever expires.
    expiring: BTreeSet<(u64, u64)>,
    /// The first id of each second in which something was stored. Times never go back.
    seconds: BTreeMap<u64, u64>,
}

impl Partition {
    fn append(&mut self, record: Record) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(key) = &record.key
            && let Some(older) = self.keys.insert(key.clone(), id)
        {
            self.remove(older);
        }
        if let Some(priority) = record.priority {
            self.classes[class(priority)].insert(id);
        }
        for tag in &record.tags {
            self.tags.entry(tag.clone()).or_default().insert(id);
        }
        if let Some(last) = record.last_s {
            self.expiring.insert((last, id));
        }
        self.seconds.entry(record.create_s).or_insert(id);
        self.records.insert(id, record);
        id
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(record) = self.records.remove(&id) else { return false };
        if let Some(priority) = record.priority {
            self.classes[class(priority)].remove(&id);
        }
        if let Some(key) = record.key
            && self.keys.get(&key) == Some(&id)
        {
            self.keys.remove(&key);
        }
        for tag in record.tags {
            if let Some(ids) = self.tags.get_mut(&tag) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.tags.remove(&tag);
                }
            }
        }
        if let Some(last) = record.last_s {
            self.expiring.remove(&(last, id));
        }
        true
    }

    /// The id of the last record ever stored, kept or not; 0 when there never was one.
    pub(crate) fn last_id(&self) -> u64 {
        self.next_id.saturating_sub(1)
    }

    /// The id the next record gets.
    pub(crate) fn end(&self) -> u64 {
        self.next_id
    }

    /// The first kept record stored in this second or later.
    pub(crate) fn first_since(&self, second: u64) -> Option<u64> {
        let (_, from) = self.seconds.range(second..).next()?;
        self.records.range(from..).next().map(|(id, _)| *id)
    }

    /// The visible records of one class from `from` on.
    pub(crate) fn class_from(
        &self,
        priority: Priority,
        from: u64,
        now_s: u64,
    ) -> impl Iterator<Item = (u64, &Record)> {
        // A step in the log finds nearly every record; where it does not, a search does.
        let mut steps = self.records.range(from..);
        self.classes[class(priority)]
            .range(from..)
            .filter_map(move |id| {
                let step = steps.next().filter(|(stored, _)| *stored == id).or_else(|| {
                    steps = self.records.range(id..);
                    steps.next()
                })?;
                Some((*step.0, step.1))
            })
            .filter(move |(_, record)| record.visible(now_s))
    }

    /// Every visible record, oldest first.
    pub(crate) fn all(&self, now_s: u64) -> impl DoubleEndedIterator<Item = (u64, &Record)> {
        self.records.iter().map(|(id, record)| (*id, record)).filter(move |(_, record)| record.visible(now_s))
    }

    pub(crate) fn by_key(&self, key: &str, now_s: u64) -> Option<(u64, &Record)> {
        self.keys.get(key).and_then(|id| self.get(*id, now_s))
    }

    /// The visible records with this tag, or with one that continues it after a slash, oldest first.
    pub(crate) fn by_tag(&self, tag: &str, now_s: u64) -> impl Iterator<Item = (u64, &Record)> {
        let below = format!("{tag}/");
        let longer = self
            .tags
            .range(below.clone()..)
            .take_while(move |(name, _)| name.starts_with(&below))
            .map(|(_, ids)| ids);
        let ids: BTreeSet<u64> = self.tags.get(tag).into_iter().chain(longer).flatten().copied().collect();
        ids.into_iter().filter_map(move |id| self.get(id, now_s))
    }

    /// Drops what is no longer visible at `now_s` and what was stored before `oldest_s`.
    pub(crate) fn purge(&mut self, now_s: u64, oldest_s: u64) {
        while let Some((last, id)) = self.expiring.first().copied().filter(|(last, _)| *last < now_s) {
            self.expiring.remove(&(last, id));
            self.remove(id);
        }
        while let Some((second, _)) = self.seconds.first_key_value().filter(|(second, _)| **second < oldest_s)
        {
            let second = *second;
            self.seconds.remove(&second);
        }
        let kept_from = self.seconds.first_key_value().map_or(self.next_id, |(_, id)| *id);
        while let Some((id, _)) = self.records.first_key_value().filter(|(id, _)| **id < kept_from) {
            let id = *id;
            self.remove(id);
        }
    }

    fn get(&self, id: u64, now_s: u64) -> Option<(u64, &Record)> {
        self.records.get(&id).filter(|record| record.visible(now_s)).map(|record| (id, record))
    }
}

/// The order in which FETCH reads the classes.
pub(crate) const CLASSES: [Priority; 3] = [Priority::Critical, Priority::Urgent, Priority::Normal];

fn class(priority: Priority) -> usize {
    match priority {
        Priority::Critical => 0,
        Priority::Urgent => 1,
        Priority::Normal => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(create_s: u64) -> Record {
        Record {
            payload: Bytes::new(),
            header: None,
            priority: Some(Priority::Normal),
            key: None,
            tags: Vec::new(),
            create_s,
            last_s: None,
        }
    }

    fn ids<'a>(rows: impl Iterator<Item = (u64, &'a Record)>) -> Vec<u64> {
        rows.map(|(id, _)| id).collect()
    }

    #[test]
    fn removing_a_record_leaves_no_trace_in_any_index() {
        let mut log = Partition::default();
        let full = Record { key: Some("k".into()), tags: vec!["a".into()], last_s: Some(9), ..record(1) };
        log.append(full);
        assert!(log.remove(0));
        assert!(!log.remove(0));
        assert!(log.records.is_empty() && log.keys.is_empty() && log.tags.is_empty());
        assert!(log.expiring.is_empty() && log.classes.iter().all(BTreeSet::is_empty));
        assert_eq!((log.first_since(0), log.append(record(2))), (None, 1));
    }

    #[test]
    fn a_tag_also_finds_the_tags_below_it_but_not_its_neighbours() {
        let mut log = Partition::default();
        for tag in ["billing/x", "billing", "billing-old", "billing0"] {
            log.append(Record { tags: vec![tag.into()], ..record(1) });
        }
        assert_eq!(ids(log.by_tag("billing", 1)), [0, 1]);
    }

    #[test]
    fn purging_by_age_keeps_exactly_what_is_young_enough() {
        let mut log = Partition::default();
        for second in [5, 5, 7, 8] {
            log.append(record(second));
        }
        log.remove(2);
        log.purge(8, 7);
        assert_eq!(ids(log.all(8)), [3]);
        assert_eq!((log.first_since(0), log.last_id()), (Some(3), 3));
        log.purge(9, 9);
        assert_eq!((ids(log.all(9)), log.append(record(9))), (Vec::new(), 4));
    }
}
