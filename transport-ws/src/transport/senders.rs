//! The addresses of those who wrote last.

use agentchat_core::Address;

use crate::mapping::address_of;

/// Remembers addresses by handle: making one costs more than all else of a small message. Bounded.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: Vec<Address>,
    next: usize,
}

impl Senders {
    pub(super) fn address(&mut self, handle: &str) -> Option<Address> {
        if let Some(known) = self.known.iter().find(|known| known.name() == handle) {
            return Some(known.clone());
        }
        let address = address_of(handle)?;
        if self.known.len() < KNOWN {
            self.known.push(address.clone());
        } else {
            self.known[self.next] = address.clone();
            self.next = (self.next + 1) % KNOWN;
        }
        Some(address)
    }
}

/// They are looked at one by one.
const KNOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_right_however_many_there_are() {
        let mut senders = Senders::default();
        for round in 0..3 {
            for number in 0..KNOWN * 2 + 1 {
                let handle = format!("agent-{number}");
                assert_eq!(senders.address(&handle), address_of(&handle), "round {round}");
            }
        }
        assert_eq!(senders.known.len(), KNOWN);
        assert_eq!(senders.address("no handle"), None);
    }
}
