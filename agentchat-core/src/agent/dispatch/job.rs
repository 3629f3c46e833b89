//! What the dispatcher asks to be done.

use std::sync::Arc;

use crate::agent::outcome::HandlerError;
use crate::delivery::Delivery;
use crate::id::ConversationId;

/// What a conversation's messages queue in; a message without one has a lane to itself, and so has one that
/// was superseded: telling its sender holds nobody up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LaneKey {
    Conversation(ConversationId),
    Lone(u64),
}

/// Something to do for a message, or for those of a batch.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lane: LaneKey,
    pub(crate) delivery: Arc<Delivery>,
    /// What follows in the same batch.
    pub(crate) rest: Vec<Arc<Delivery>>,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    /// Run the handler; `attempt` is 1 the first time.
    Handle { attempt: u32 },
    /// Its deadline has passed: answer with an error instead of running it.
    Expire,
    /// A newer one took its place: answer with an error. This failed so many times before.
    Supersede { tries: u32 },
    /// It is given up after so many failures: answer with an error (when `quiet`, only somebody who does
    /// nothing but wait), hand it to where dead letters go. This failed so many times before.
    Bury { failures: u32, error: Arc<HandlerError>, quiet: bool, tries: u32 },
}
