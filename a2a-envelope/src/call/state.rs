//! One call: how far it has come.

use std::time::Duration;

use crate::stream::{Mirror, ReaderItem, Reply, StreamReader};

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallState {
    /// It is on its way, or waits for its peer to come back.
    Queued,
    /// The peer has it, durably.
    Taken,
    /// Replies have come.
    Answering,
    /// The last reply has come, or nothing more is read.
    Ended,
}

/// One call: what has come of it so far.
#[derive(Debug)]
pub struct Call {
    pub(super) state: CallState,
    pub(super) timed_out: bool,
    pub(super) deadline: Option<Duration>,
    pub(super) reader: StreamReader,
    mirror: Mirror,
    last: Option<Reply>,
    pub(super) due: Option<Duration>,
}

impl Call {
    pub(super) fn new(reader: StreamReader, deadline: Option<Duration>) -> Self {
        Self {
            state: CallState::Queued,
            timed_out: false,
            deadline,
            reader,
            mirror: Mirror::new(),
            last: None,
            due: None,
        }
    }

    /// How far it has come. A call that timed out goes on: late replies are read.
    #[must_use]
    pub fn state(&self) -> CallState {
        self.state
    }

    /// Whether its deadline passed before its end.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// The last reply that was read; after the end, the answer.
    #[must_use]
    pub fn last(&self) -> Option<&Reply> {
        self.last.as_ref()
    }

    /// What is known of the task.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The generation up to which all is known.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.reader.generation()
    }

    pub(super) fn take(&mut self, items: &[ReaderItem]) {
        for item in items {
            self.mirror.apply(item);
            self.state = match item {
                ReaderItem::Taken if self.state == CallState::Queued => CallState::Taken,
                ReaderItem::Taken | ReaderItem::ReadSnapshot => self.state,
                ReaderItem::End(_) => CallState::Ended,
                _ => CallState::Answering,
            };
            if let ReaderItem::Reply(reply) = item {
                self.last = Some(reply.clone());
            }
        }
    }
}
