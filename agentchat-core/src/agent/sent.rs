//! One id, one content: a reused id with another content is an error here, because servers answer it
//! with the old message.

use std::collections::{HashMap, VecDeque};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientMsgId;
use crate::message::Outbound;
use crate::trace_context::TraceContext;

/// Fingerprints of the messages sent last, bounded by count.
#[derive(Debug, Default)]
pub(crate) struct SentIds {
    fingerprints: HashMap<ClientMsgId, Known>,
    order: VecDeque<(u64, ClientMsgId)>,
    counter: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    fingerprint: u64,
    number: u64,
    /// The trace it was sent in first: within another one it would be another message to some.
    line: Option<TraceContext>,
}

impl SentIds {
    /// Records `message`, or refuses it when its id was used for another content. Whether it was new.
    pub(crate) fn record(&mut self, message: &Outbound) -> Result<bool> {
        let fingerprint = message.fingerprint();
        match self.fingerprints.get(&message.client_msg_id) {
            Some(known) if known.fingerprint == fingerprint => Ok(false),
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                "send",
                "this client message id was used for another content; a new message needs a new id",
            )
            .with_reached(crate::error::Reached::No)),
            None => {
                self.counter += 1;
                let known = Known { fingerprint, number: self.counter, line: None };
                self.fingerprints.insert(message.client_msg_id.clone(), known);
                self.order.push_back((known.number, message.client_msg_id.clone()));
                if self.order.len() > CAPACITY
                    && let Some((number, oldest)) = self.order.pop_front()
                    && self.fingerprints.get(&oldest).is_some_and(|known| known.number == number)
                {
                    self.fingerprints.remove(&oldest);
                }
                Ok(true)
            }
        }
    }

    /// The trace that the message `id` was sent in first: `line`, if this is the first time.
    pub(crate) fn line(&mut self, id: &ClientMsgId, line: TraceContext) -> TraceContext {
        let known = self.fingerprints.get_mut(id);
        known.map_or(line, |known| *known.line.get_or_insert(line))
    }

    /// Forgets an id that certainly no server has: it may be used for another content.
    pub(crate) fn forget(&mut self, id: &ClientMsgId) {
        self.fingerprints.remove(id);
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

    #[test]
    fn a_forgotten_id_may_be_used_anew_and_is_then_kept_as_long_as_any() {
        let to = Address::parse("loopback://b").expect("valid");
        let message = Outbound::new(to.clone(), Body::text("one"));
        let other = Outbound::new(to.clone(), Body::text("two")).with_id(message.client_msg_id.clone());
        let mut sent = SentIds::default();
        assert!(sent.record(&message).expect("first"));
        sent.forget(&message.client_msg_id);
        assert!(sent.record(&other).expect("anew"));
        for _ in 0..CAPACITY - 1 {
            sent.record(&Outbound::new(to.clone(), Body::text("x"))).expect("new");
        }
        assert_eq!(sent.record(&message).expect_err("still known").kind(), ErrorKind::Conflict);
    }
}
