//! What one's own sends are told to: the attachments of the same connector.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::shared::Shared;

/// The attachments that read the inbox of a client's account. A message of one's own has a number there and is
/// not pushed, so they have to know it, whoever sends. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sends(Arc<Mutex<Vec<Weak<Shared>>>>);

impl Sends {
    pub(crate) fn tell(&self, shared: &Arc<Shared>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|it| it.strong_count() > 0);
        told.push(Arc::downgrade(shared));
    }

    /// A message was given this number.
    pub(crate) fn note(&self, conversation: &str, seq: u64) {
        let told: Vec<_> = {
            let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            told.iter().filter_map(Weak::upgrade).collect()
        };
        told.iter().for_each(|shared| shared.note_own(conversation, seq));
    }
}
