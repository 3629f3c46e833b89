//! What waits for a task that is at work.

use std::collections::VecDeque;

use super::error::TaskError;
use super::record::Task;

/// What was sent to one task while it works: messages for its next turn in their order, and a cancel ahead of
/// all of them.
///
/// Nothing is dropped: beyond the bound a message is refused with the task's state.
#[derive(Debug)]
pub struct Waiting<T> {
    messages: VecDeque<T>,
    cancel: Option<T>,
    max: usize,
}

/// What a task does next.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next<T> {
    /// Call the task off. Whatever waited stays, and is refused next.
    Cancel(T),
    /// Go on with this message.
    Message(T),
    /// Tell the sender of this message that the task is over.
    Refuse(T, TaskError),
}

impl<T> Waiting<T> {
    /// Nothing waits; so many messages may.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { messages: VecDeque::new(), cancel: None, max }
    }

    /// How many wait, a cancel included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len() + usize::from(self.cancel.is_some())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages that wait, in their order.
    pub fn messages(&self) -> impl Iterator<Item = &T> {
        self.messages.iter()
    }

    /// Takes every message out, in their order.
    pub fn take_messages(&mut self) -> Vec<T> {
        std::mem::take(&mut self.messages).into()
    }

    /// Lets a message wait for the next turn of `task`.
    ///
    /// # Errors
    ///
    /// The message comes back with [`TaskError::Over`] if the task is over or about to be called off, and with
    /// [`TaskError::Busy`] if as many wait as may.
    pub fn message(&mut self, message: T, task: &Task) -> Result<(), (T, TaskError)> {
        let state = task.state().clone();
        if state.is_terminal() || self.cancel.is_some() {
            return Err((message, TaskError::Over { state }));
        }
        if self.messages.len() >= self.max {
            return Err((message, TaskError::Busy { state }));
        }
        self.messages.push_back(message);
        Ok(())
    }

    /// Puts a cancel ahead of everything.
    ///
    /// # Errors
    ///
    /// It comes back if the task is over, or if another cancel waits, whose outcome is its own.
    pub fn cancel(&mut self, cancel: T, task: &Task) -> Result<(), (T, TaskError)> {
        if task.state().is_terminal() || self.cancel.is_some() {
            return Err((cancel, TaskError::NotCancelable { state: task.state().clone() }));
        }
        self.cancel = Some(cancel);
        Ok(())
    }

    /// What to do now: a cancel at any time, a message when `task` takes one, refusals when it is over.
    pub fn next(&mut self, task: &Task) -> Option<Next<T>> {
        if let Some(cancel) = self.cancel.take() {
            return Some(Next::Cancel(cancel));
        }
        let state = task.state();
        if state.is_terminal() {
            let refused = TaskError::Over { state: state.clone() };
            return self.messages.pop_front().map(|message| Next::Refuse(message, refused));
        }
        if task.open_turn().is_some() || !state.is_interrupted() {
            return None;
        }
        self.messages.pop_front().map(Next::Message)
    }
}
