//! The task that reads one reply inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::acks::Acks;
use super::aside::Aside;
use super::calls::Calls;
use crate::address::Address;
use crate::clock::{FAR, after};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::options::SubscribeOptions;
use crate::telemetry::Hole;
use crate::transport::{Event, EventStream, Transport};

/// Reads one reply inbox until it ends, and hands each reply to its call.
///
/// A reply is settled once its call has it; one that no call waits for is settled and dropped, since
/// nothing would ever read it. A call that does not read stops nobody: what does not fit into its own
/// queue is set aside here, unsettled, as long as the subscription's bound allows. Before that is used
/// up, a call that reads nothing while others wait for the same inbox is ended, and told so.
pub(crate) struct ReplyReader {
    calls: Arc<Calls>,
    inbox: Address,
    acks: Acks,
    aside: Aside,
    max_messages: usize,
    max_bytes: usize,
    congested: Arc<AtomicBool>,
}

impl ReplyReader {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        calls: Arc<Calls>,
        inbox: Address,
        options: &SubscribeOptions,
        congested: Arc<AtomicBool>,
    ) -> Self {
        Self {
            calls,
            inbox,
            acks: Acks::new(transport),
            aside: Aside::default(),
            max_messages: options.max_unsettled,
            max_bytes: options.max_unsettled_bytes,
            congested,
        }
    }

    pub(crate) async fn run(mut self, mut events: EventStream, room: Arc<Notify>) {
        let mut check_at = None;
        loop {
            let congested = self.is_filling();
            self.congested.store(congested, Ordering::Relaxed);
            check_at = congested.then(|| check_at.unwrap_or_else(|| Instant::now() + CHECK));
            let check = check_at.unwrap_or_else(|| after(Instant::now(), FAR));
            let full = self.aside.len() + self.acks.len() >= self.max_messages
                || self.aside.bytes() >= self.max_bytes;
            tokio::select! {
                event = events.next(), if !full => match event {
                    Some(Ok(Event::Message(reply))) => self.route(reply),
                    Some(Ok(Event::CaughtUp)) => {}
                    Some(Ok(hole)) => {
                        tracing::warn!(name: "reply.hole", hole = %Hole(&hole), "replies are missing");
                    }
                    Some(Err(error)) => return self.calls.lose(&self.inbox, &error),
                    None => {
                        let ended = Error::new(ErrorKind::Closed, "call", "the reply inbox was closed");
                        return self.calls.lose(&self.inbox, &ended);
                    }
                },
                () = self.acks.work() => {}
                () = room.notified() => self.acks.extend(self.aside.hand_over()),
                () = tokio::time::sleep_until(check) => {
                    check_at = None;
                    let others_wait = self.calls.share(&self.inbox);
                    self.acks.extend(self.aside.relieve(Instant::now(), others_wait));
                }
            }
        }
    }

    fn route(&mut self, reply: Delivery) {
        match self.calls.find(&self.inbox, &reply) {
            Some(call) => self.acks.extend(self.aside.offer(call, reply)),
            None => self.acks.extend([self.calls.late(&reply)]),
        }
    }

    /// Whether what is set aside takes up half of what the subscription allows.
    fn is_filling(&self) -> bool {
        self.aside.len() >= self.max_messages.div_ceil(2) || self.aside.bytes() >= self.max_bytes.div_ceil(2)
    }
}

/// How often it is checked whether a call holds up others.
pub(crate) const CHECK: Duration = Duration::from_secs(1);
