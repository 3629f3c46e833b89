//! One id, one content: a reused id with another content is an error here, because servers answer it
//! with the old message.

use std::collections::{HashMap, VecDeque};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;
use crate::message::Outbound;

/// Fingerprints of the messages sent last, bounded by count.
#[derive(Debug, Default)]
pub(crate) struct SentIds {
    fingerprints: HashMap<ClientMsgId, u64>,
    order: VecDeque<ClientMsgId>,
}

impl SentIds {
    /// Records `message`, or refuses it when its id was used for another content.
    pub(crate) fn record(&mut self, message: &Outbound) -> Result<()> {
        let fingerprint = message.fingerprint();
        match self.fingerprints.get(&message.client_msg_id) {
            Some(known) if *known == fingerprint => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                "send",
                "this client message id was used for another content; a new message needs a new id",
            )
            .with_reached(crate::error::Reached::No)),
            None => {
                self.fingerprints.insert(message.client_msg_id.clone(), fingerprint);
                self.order.push_back(message.client_msg_id.clone());
                if self.order.len() > CAPACITY
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.fingerprints.remove(&oldest);
                }
                Ok(())
            }
        }
    }
}

const CAPACITY: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Body};

    #[test]
    fn an_id_may_be_repeated_but_not_reused_for_another_content() {
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::text("one"));
        let mut sent = SentIds::default();
        sent.record(&message).expect("first");
        sent.record(&message).expect("repeated");
        let other = Outbound::new(to, Body::text("two")).with_id(message.client_msg_id.clone());
        assert_eq!(sent.record(&other).expect_err("reused").kind(), ErrorKind::Conflict);
    }

    #[test]
    fn the_memory_of_sent_ids_is_bounded() {
        let to = Address::parse("loopback://b").expect("valid");
        let mut sent = SentIds::default();
        for _ in 0..CAPACITY + 10 {
            sent.record(&Outbound::new(to.clone(), Body::text("x"))).expect("new");
        }
        assert_eq!((sent.order.len(), sent.fingerprints.len()), (CAPACITY, CAPACITY));
    }
}
