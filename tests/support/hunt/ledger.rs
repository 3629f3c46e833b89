//! What processes said of the messages from one to another, and what must hold of it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::collections::{BTreeMap, BTreeSet};

/// The messages of one direction. Their ids are `m.<lane>.<round>.<number>`, and grow within a lane.
#[derive(Default)]
pub struct Ledger {
    pub tried: BTreeSet<String>,
    pub kept: BTreeSet<String>,
    /// By message: in which life of the reader it was handed out first.
    pub handed: BTreeMap<String, u64>,
    pub settled: BTreeMap<String, u64>,
    /// Those that their sender was told are given up.
    pub given_up: BTreeSet<String>,
    /// What a reader was about to settle. If it was killed then, it may have done so.
    settling: BTreeSet<String>,
    /// How many came again, and said so.
    pub flagged: usize,
    /// What came in this life of the reader.
    here: BTreeSet<String>,
    newest: BTreeMap<String, String>,
    /// Whether those that read are agents: nobody tells them when a message is settled, and another one knows
    /// nothing of what the one before it had in hand.
    agents: bool,
}

impl Ledger {
    /// What is said of messages that agents handle.
    pub fn of_agents() -> Self {
        Self { agents: true, ..Self::default() }
    }

    /// Takes in a line of the sender's.
    pub fn sent(&mut self, line: &str) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["tried", id] => drop(self.tried.insert(id.to_owned())),
            ["kept" | "accepted", id] => drop(self.kept.insert(id.to_owned())),
            ["given", id] => drop(self.given_up.insert(id.to_owned())),
            _ => panic!("the sender said {line:?}"),
        }
    }

    /// Takes in a line of the reader's, in its life of that number.
    pub fn read(&mut self, life: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["settling", ..] => self.settling.extend(words[1..].iter().map(|id| (*id).to_owned())),
            ["settled", ..] => self.settled.extend(words[1..].iter().map(|id| ((*id).to_owned(), life))),
            ["handed", id, redelivered, same] => self.handed(life, id, redelivered == "true", same == "true"),
            _ => panic!("life {life}: the reader said {line:?}"),
        }
    }

    fn handed(&mut self, life: u64, id: &str, redelivered: bool, same: bool) {
        assert!(same, "life {life}: {id} has another body");
        assert!(self.here.insert(id.to_owned()), "life {life}: {id} was handed out twice");
        let settled = self.settled.get(id);
        assert!(settled.is_none(), "life {life}: {id} was settled in life {settled:?}");
        let before = self.handed.get(id).copied();
        assert!(
            before.is_none() || redelivered || self.agents,
            "life {life}: {id} came in {before:?} and is not flagged"
        );
        self.handed.entry(id.to_owned()).or_insert(life);
        self.flagged += usize::from(before.is_some());
        let lane = id.split('.').nth(1).expect("a lane").to_owned();
        let newest = self.newest.insert(lane, id.to_owned());
        assert!(
            newest.as_ref().is_none_or(|newest| newest.as_str() < id),
            "life {life}: {id} after {newest:?}"
        );
    }

    /// An agent that read was closed, so the network knows what it had handled.
    pub fn closed(&mut self, life: u64) {
        self.settled.extend(self.here.iter().map(|id| (id.clone(), life)));
        self.buried();
    }

    /// The reader died.
    pub fn buried(&mut self) {
        self.here.clear();
        self.newest.clear();
    }

    /// Whether everything that was kept, and everything that came, is settled.
    pub fn is_complete(&self) -> bool {
        self.kept.iter().chain(self.handed.keys()).all(|id| self.is_over(id))
    }

    /// What is not yet over.
    pub fn missing(&self) -> String {
        let open = |id: &&String| !self.is_over(id);
        let kept: Vec<_> = self.kept.iter().filter(open).collect();
        let handed: Vec<_> = self.handed.keys().filter(open).collect();
        format!("kept and not settled: {kept:?}; handed out and not settled: {handed:?}")
    }

    /// That nothing came which nobody sent; what there was.
    pub fn check(&self) -> String {
        let unknown: Vec<_> = self.handed.keys().filter(|id| !self.tried.contains(*id)).collect();
        assert!(unknown.is_empty(), "nobody sent {unknown:?}");
        format!(
            "{} kept, {} handed out, {} again and flagged, {} settled, {} given up",
            self.kept.len(),
            self.handed.len(),
            self.flagged,
            self.settled.len(),
            self.given_up.len(),
        )
    }

    fn is_over(&self, id: &String) -> bool {
        let given_up = self.given_up.contains(id) && !self.handed.contains_key(id);
        given_up
            || self.settled.contains_key(id)
            || (self.settling.contains(id) && (self.agents || !self.here.contains(id)))
    }
}
