//! Consumer groups: one position per group, topic and partition, for all three priority classes at once.

use std::collections::HashMap;

/// Every group's positions.
#[derive(Default)]
pub(crate) struct Groups(HashMap<String, HashMap<String, Position>>);

struct Position {
    /// Per partition, the id at which the next FETCH begins.
    next: Vec<u64>,
    committed_s: u64,
}

impl Groups {
    /// Whether the group has a position anywhere. The broker asks only this before it ignores `deliver`.
    pub(crate) fn exists(&self, group: &str) -> bool {
        self.0.contains_key(group)
    }

    pub(crate) fn next(&self, group: &str, topic: &str, partition: usize) -> Option<u64> {
        self.0.get(group)?.get(topic)?.next.get(partition).copied()
    }

    /// Overwrites the group's positions in one topic.
    pub(crate) fn commit(&mut self, group: &str, topic: &str, next: Vec<u64>, now_s: u64) {
        let position = Position { next, committed_s: now_s };
        if let Some(topics) = self.0.get_mut(group) {
            match topics.get_mut(topic) {
                Some(old) => *old = position,
                None => {
                    topics.insert(topic.to_owned(), position);
                }
            }
        } else {
            self.0.insert(group.to_owned(), HashMap::from([(topic.to_owned(), position)]));
        }
    }

    /// Forgets positions last committed before `oldest_s`.
    pub(crate) fn forget_idle(&mut self, oldest_s: u64) {
        self.retain(|_, position| position.committed_s >= oldest_s);
    }

    /// Forgets every group's position in a topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.retain(|name, _| name != topic);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn retain(&mut self, keep: impl Fn(&str, &Position) -> bool) {
        self.0.retain(|_, topics| {
            topics.retain(|topic, position| keep(topic, position));
            !topics.is_empty()
        });
    }
}
