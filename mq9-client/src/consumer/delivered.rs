//! A message as a consumer hands it out.

use std::fmt;

use crate::message::{MsgId, Received};

/// A message and how often it was handed out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The message.
    pub message: Received,
    /// 1 at first, one more each time it is handed out again after a retry. The broker keeps no such
    /// count: a message that an earlier process failed begins at 1.
    pub attempt: u32,
}

impl Delivered {
    pub(crate) fn new(message: Received, attempt: u32) -> Self {
        Self { message, attempt }
    }

    /// The message's number in its mailbox: what [`Acker`](super::Acker) wants to know.
    pub fn id(&self) -> MsgId {
        self.message.id
    }

    /// Whether this consumer handed it out before.
    pub fn redelivered(&self) -> bool {
        self.attempt > 1
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivered").field("message", &self.message).field("attempt", &self.attempt).finish()
    }
}
