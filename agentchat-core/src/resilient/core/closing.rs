//! The last words of a session.

use super::Core;
use crate::agent::Acks;

impl Core {
    /// Whether everything settled is acknowledged, when closing is all that is left to do; what was settled
    /// meanwhile goes to `acks` first. Then nothing is settled any more: an `Ok` for what nobody acknowledges
    /// would be a lie.
    pub(in crate::resilient) fn is_last_ack_sent(&mut self, acks: &mut Acks) -> bool {
        acks.extend(self.slots.take_acks());
        let sent = acks.is_empty();
        if sent {
            self.seal();
        }
        sent
    }

    /// Nothing is settled any more.
    pub(in crate::resilient) fn seal(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.sealed = true;
        }
    }
}
