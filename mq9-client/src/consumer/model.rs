//! The broker's mailbox semantics in memory, for tests: one offset for three classes, classes read one
//! after the other, `latest` and `from_id` as they really behave.

use std::collections::{BTreeMap, HashMap};

use crate::message::{Headers, MsgId, Priority, Received};
use crate::options::{DeliverPolicy, FetchOptions};

use super::coverage::{CLASSES, class_of};

/// A row with a payload and a store time that follow from its id.
pub(crate) fn row(id: u64, priority: Priority) -> Received {
    Received {
        id: MsgId::new(id),
        payload: format!("message {id}").into_bytes().into(),
        headers: Headers::new(),
        priority: Some(priority),
        create_time: 1_700_000_000 + id / 4,
    }
}

/// One mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) rows: BTreeMap<u64, Received>,
    pub(crate) offsets: HashMap<String, u64>,
    pub(crate) next: u64,
}

/// A FETCH part of whose classes have been read.
#[derive(Debug)]
pub(crate) struct Cursor {
    from: u64,
    num: usize,
    class: usize,
    rows: Vec<Received>,
}

impl Mailbox {
    pub(crate) fn send(&mut self, priority: Priority) -> u64 {
        let id = self.next;
        self.next += 1;
        self.rows.insert(id, row(id, priority));
        id
    }

    pub(crate) fn send_many(&mut self, count: usize) {
        for _ in 0..count {
            self.send(Priority::Normal);
        }
    }

    /// Resolves the position, as the broker does when the command arrives.
    pub(crate) fn begin(&self, options: &FetchOptions) -> Cursor {
        let stored = options.group.as_ref().and_then(|group| self.offsets.get(group.as_str()));
        let first = self.rows.keys().next().copied().unwrap_or(0);
        let last = self.rows.keys().next_back().copied().unwrap_or(0);
        let from = stored.copied().unwrap_or_else(|| match options.deliver {
            DeliverPolicy::Earliest => first,
            DeliverPolicy::Latest => last,
            DeliverPolicy::FromId(id) => id.get().min(last),
            DeliverPolicy::FromTime(time) => {
                self.rows.values().find(|row| row.create_time >= time).map_or(first, |row| row.id.get())
            }
        });
        let num = options.num_msgs.map_or(100, |num| num as usize);
        Cursor { from, num, class: 0, rows: Vec::new() }
    }

    /// Reads the next class; gives the reply after the last one.
    pub(crate) fn read_class(&self, cursor: &mut Cursor) -> Option<Vec<Received>> {
        let of_class = self.rows.range(cursor.from..).map(|(_, row)| row);
        let of_class = of_class.filter(|row| class_of(row) == cursor.class);
        cursor.rows.extend(of_class.take(cursor.num).cloned());
        cursor.class += 1;
        let done = cursor.class == CLASSES || cursor.rows.len() >= cursor.num;
        done.then(|| std::mem::take(&mut cursor.rows))
    }

    /// A FETCH with nothing in between.
    pub(crate) fn fetch(&self, options: &FetchOptions) -> Vec<Received> {
        let mut cursor = self.begin(options);
        loop {
            if let Some(reply) = self.read_class(&mut cursor) {
                return reply;
            }
        }
    }

    pub(crate) fn ack(&mut self, group: &str, up_to: u64) {
        self.offsets.insert(group.to_owned(), up_to.wrapping_add(1));
    }
}
