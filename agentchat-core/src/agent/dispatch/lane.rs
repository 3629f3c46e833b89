//! The messages of one conversation.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Task;
use crate::agent::outcome::HandlerError;
use crate::agent::request::waits_for_reply;
use crate::agent::turns::Gate;
use crate::clock::after;
use crate::dedup::Mark;
use crate::delivery::Delivery;
use crate::telemetry::Digest;

/// A lane is in exactly one state: idle, ready, held or running.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) queue: VecDeque<Queued>,
    /// What runs: the head and the rest of its batch.
    pub(super) running: Option<(Queued, Vec<Queued>)>,
    /// Where it stands among the held ones.
    pub(super) held: Option<(Instant, u64)>,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) delivery: Arc<Delivery>,
    /// What it is recognised by.
    pub(super) id: Mark,
    /// Its deadline, told once when it came: a clock that is set later does not move it.
    expires: Option<Instant>,
    /// How often its handler failed.
    pub(super) failures: u32,
    pub(super) fate: Fate,
    /// How often what is done instead of handling it failed.
    tries: u32,
    /// Whether it has been let pass, so that it is not counted twice.
    passed: bool,
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Fate {
    Handle,
    Expire,
    Supersede,
    Bury { error: Arc<HandlerError>, quiet: bool },
}

impl Fate {
    /// Its name in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Expire => "expire",
            Self::Supersede => "supersede",
            Self::Bury { .. } => "bury",
        }
    }
}

impl Lane {
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_none()
    }

    /// Takes the message that waits to be handled and is the newest.
    pub(super) fn take_open(&mut self) -> Option<Queued> {
        self.queue.back().is_some_and(Queued::is_open).then(|| self.queue.pop_back()).flatten()
    }
}

impl Queued {
    pub(super) fn new(delivery: Delivery, id: Mark, now: Instant) -> Self {
        let left = delivery.deadline.map(|at| at.duration_since(delivery.received).unwrap_or_default());
        let expires = left.map(|left| after(now, left));
        let fate = Fate::Handle;
        Self { delivery: Arc::new(delivery), id, expires, failures: 0, fate, tries: 0, passed: false }
    }

    /// Whether it waits to be handled.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Handle | Fate::Expire)
    }

    /// What is to be done for it now; that may close its fate.
    pub(super) fn task(&mut self, gate: &mut Gate, now: Instant) -> Task {
        if self.is_open() && !gate.hands_expired && self.expires.is_some_and(|at| at <= now) {
            self.fate = Fate::Expire;
        } else if let Fate::Handle = self.fate
            && !self.passed
        {
            self.passed = true;
            if let Err(refusal) = gate.check(&self.delivery, now) {
                if refusal.first {
                    let conversation = self.delivery.conversation.as_ref().map(Digest);
                    tracing::warn!(
                        name: "turns.over_limit", id = %self.delivery.id,
                        conversation = conversation.map(tracing::field::display),
                        "further messages are rejected until its time is over"
                    );
                }
                self.fate = Fate::Bury { error: Arc::new(refusal.error), quiet: !refusal.first };
            }
        }
        match &self.fate {
            Fate::Handle => Task::Handle { attempt: self.failures.saturating_add(1) },
            Fate::Expire => Task::Expire,
            Fate::Supersede => Task::Supersede { tries: self.tries },
            Fate::Bury { error, quiet } => {
                let (failures, tries, quiet) = (self.failures, self.tries, *quiet);
                Task::Bury { failures, error: Arc::clone(error), quiet, tries }
            }
        }
    }

    /// Marks it as superseded; whether its sender is to be told.
    pub(super) fn supersede(&mut self) -> bool {
        self.fate = Fate::Supersede;
        waits_for_reply(&self.delivery)
    }

    /// Counts a failure of what was done for it; returns how often that has failed now.
    pub(super) fn strike(&mut self) -> u32 {
        if !self.is_open() {
            self.tries = self.tries.saturating_add(1);
            return self.tries;
        }
        self.failures = self.failures.saturating_add(1);
        if !self.delivery.redelivered {
            Arc::make_mut(&mut self.delivery).redelivered = true;
        }
        self.failures
    }
}
