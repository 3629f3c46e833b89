//! The session beside its stores.

use std::time::SystemTime;

use tokio::time::Instant;

use super::{Core, Todo};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::resilient::dating::Dating;
use crate::resilient::keeping::{Keep, Kept, Loaded};

impl Core {
    /// Goes on with what the stores held.
    pub(in crate::resilient) fn restore(&mut self, loaded: Loaded, now: Instant, wall: SystemTime) {
        if let Some((queued, parked)) = loaded.sends {
            self.sends.restore(queued, parked, &self.capabilities, now, wall);
        }
        self.slots.recall(loaded.recall);
        self.dating = Some(Dating::new(wall, loaded.newest, now));
    }

    /// What to write now. When the session is closing, nothing waits for later changes.
    pub(super) fn poll_keeps(&mut self, now: Instant, todo: &mut Vec<Todo>) {
        let hurry = self.life.is_closing();
        while let Some(op) = self.sends.poll_store(now) {
            todo.push(Todo::Keep(Keep::Send(op)));
        }
        while let Some(keep) = self.slots.poll_keep(now, hurry) {
            todo.push(Todo::Keep(keep));
        }
    }

    /// Whether the stores are as they should be.
    pub(super) fn has_kept_all(&self) -> bool {
        self.sends.unwritten() == 0 && self.slots.has_kept_positions()
    }

    pub(super) fn on_kept(&mut self, kept: Kept, now: Instant) {
        match kept {
            Kept::Send(id, result) => self.sends.on_stored(&id, result, now, &mut self.rng),
            Kept::Handed { slot, round, result } => {
                self.slots.on_handed(slot, round, result, now, &mut self.rng);
            }
            Kept::Positions(results) => self.slots.on_positions(results, now, &mut self.rng),
        }
    }
}

/// What closing leaves behind, `kept` of it in the store; `unwritten` messages are in the store otherwise than
/// they should be.
pub(super) fn unsent(left: usize, kept: usize, unwritten: usize, result: Result<()>) -> Error {
    let store = match kept {
        0 => String::new(),
        _ if kept == left => "; the store keeps them for the next session".to_owned(),
        _ => format!("; the store keeps {kept} of them for the next session"),
    };
    let what = match (left, unwritten) {
        (0, _) => "the store could not be told of everything; messages may be sent again".to_owned(),
        _ => format!("{left} queued messages were not sent{store}"),
    };
    let error = Error::new(ErrorKind::Timeout, "close", what).with_advice(Advice::Never);
    let error = error.with_context("unsent", left.to_string()).with_context("kept", kept.to_string());
    match result {
        Err(cause) => error.with_source(cause),
        Ok(()) => error,
    }
}
