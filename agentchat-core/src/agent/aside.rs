//! Replies that their calls have no room for yet.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::pending::Pending;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::id::AckTag;

/// Replies set aside, unsettled, in the order of arrival: what does not fit into a call's own queue stops no
/// other call. Its bound is that of whoever reads the inbox.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    replies: VecDeque<(Arc<Pending>, Delivery)>,
    bytes: usize,
}

impl Aside {
    pub(crate) fn len(&self) -> usize {
        self.replies.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands a reply to its call, and says what is settled by that; else the reply is set aside.
    pub(crate) fn offer(&mut self, call: Arc<Pending>, reply: Delivery) -> Option<AckTag> {
        let tag = reply.tag.clone();
        let behind = self.replies.iter().any(|(other, _)| Arc::ptr_eq(other, &call));
        match if behind { Err(Box::new(reply)) } else { call.offer(reply) } {
            Ok(()) => Some(tag),
            Err(reply) => {
                self.bytes += reply.size();
                self.replies.push_back((call, *reply));
                None
            }
        }
    }

    /// Hands over what was set aside, as far as there is room now. What is settled by that.
    pub(crate) fn hand_over(&mut self) -> Vec<AckTag> {
        let mut full: Vec<Arc<Pending>> = Vec::new();
        let mut settled = Vec::new();
        for (call, reply) in std::mem::take(&mut self.replies) {
            let (tag, size) = (reply.tag.clone(), reply.size());
            let waits = full.iter().any(|other| Arc::ptr_eq(other, &call));
            match if waits { Err(Box::new(reply)) } else { call.offer(reply) } {
                Ok(()) => {
                    self.bytes -= size;
                    settled.push(tag);
                }
                Err(reply) => {
                    if !waits {
                        full.push(Arc::clone(&call));
                    }
                    self.replies.push_back((call, *reply));
                }
            }
        }
        settled
    }

    /// Ends the calls that hold up others, and hands over what can be then.
    pub(crate) fn relieve(&mut self, now: Instant, others_wait: bool) -> Vec<AckTag> {
        for (call, _) in self.replies.iter().filter(|(call, _)| call.is_stuck(now, others_wait)) {
            let what = "its replies were not read, and other calls waited behind them; the rest was dropped";
            let error = Error::new(ErrorKind::Backpressure, "call", what);
            call.end(error.with_reached(crate::Reached::Yes).with_advice(crate::Advice::Never));
        }
        self.hand_over()
    }
}
