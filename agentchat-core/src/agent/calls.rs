//! Which calls are under way.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, timeout_at};

use super::pending::Pending;
use super::replies::PeerInbox;
use super::request::is_reply;
use super::{Agent, CallRequest};
use crate::address::Address;
use crate::clock::after;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{AckTag, ClientMsgId, CorrelationId};

/// The calls under way, by correlation id.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    /// Replies that no call waited for.
    late: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<CorrelationId, Waiting>,
    /// What was sent under a correlation id and is no call, by that id: the newer half and the older.
    asked: [HashSet<CorrelationId>; 2],
    closed: bool,
}

/// A call under way. It keeps its reply inbox alive; the inbox is read until no call waits on it.
#[derive(Debug)]
struct Waiting {
    inbox: Arc<PeerInbox>,
    pending: Arc<Pending>,
    /// The id of the request, which may come back to the inbox it names.
    request: ClientMsgId,
    /// Who was asked.
    peer: Address,
}

/// A call's entry; dropping it removes the entry, and its inbox when that was its own.
#[derive(Debug)]
pub(crate) struct Registered {
    correlation_id: CorrelationId,
    calls: Arc<Calls>,
    pub(crate) pending: Arc<Pending>,
    /// Whether the replies are behind messages that nobody has settled.
    pub(crate) crowded: Arc<AtomicBool>,
}

impl Agent {
    /// Sends the request of a call that is under way once more: under the call's correlation id, which `request`
    /// has, and with the call's own reply inbox to answer to. What is answered comes to that call, whose deadline
    /// stays. For a peer that tells repetitions by something in the request: under the id of the first time the
    /// network may take it for that message and deliver nothing, so give it another one.
    ///
    /// Its timeout is that of the sending. Dropping the future may leave it sent.
    ///
    /// # Errors
    /// As [`Agent::call`]; [`NotFound`](ErrorKind::NotFound) when no call under this correlation id is under way.
    pub async fn call_again(&self, peer: &Address, request: CallRequest) -> Result<()> {
        self.check_calls("call")?;
        let (deadline, end) = (request.deadline(), after(Instant::now(), request.timeout));
        let correlation_id = request.correlation()?;
        let content = request.content(peer, correlation_id.clone(), self.capabilities())?;
        let Some(inbox) = self.shared.replies.calls.repeat(&correlation_id, &request.client_msg_id) else {
            let what = "no call under this correlation id is under way";
            return Err(Error::new(ErrorKind::NotFound, "call", what).with_reached(Reached::No));
        };
        let message = request.message(&content, inbox, deadline, self.capabilities())?;
        let sent = timeout_at(end, self.shared.transmit_once(&content, &message)).await;
        let late = || {
            let what = "the time was over before the request was with the network";
            Error::new(ErrorKind::Timeout, "call", what).with_reached(Reached::Unknown)
        };
        sent.map_err(|_| late())??;
        Ok(())
    }
}

impl Calls {
    /// Enters a call.
    ///
    /// # Errors
    /// `Conflict` when one under this correlation id is under way, `Closed` after [`Calls::close`].
    pub(crate) fn register(
        self: &Arc<Self>,
        correlation_id: CorrelationId,
        (peer, request): (&Address, ClientMsgId),
        inbox: Arc<PeerInbox>,
        pending: Pending,
    ) -> Result<Registered> {
        let mut table = self.lock();
        if table.closed {
            return Err(closed());
        }
        if table.calls.contains_key(&correlation_id) {
            let what = "a call under this correlation id is under way";
            return Err(Error::new(ErrorKind::Conflict, "call", what).with_reached(crate::Reached::No));
        }
        let pending = Arc::new(pending);
        let crowded = Arc::clone(&inbox.crowded);
        let waiting = Waiting { inbox, pending: Arc::clone(&pending), request, peer: peer.clone() };
        table.calls.insert(correlation_id.clone(), waiting);
        Ok(Registered { correlation_id, calls: Arc::clone(self), pending, crowded })
    }

    /// Where the call under this id is answered, for its request to be sent again under `request`. `None` if no
    /// such call is under way.
    fn repeat(&self, correlation_id: &CorrelationId, request: &ClientMsgId) -> Option<Address> {
        let mut table = self.lock();
        let waiting = table.calls.get_mut(correlation_id)?;
        waiting.request.clone_from(request);
        Some(waiting.inbox.address.clone())
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.lock().closed { Err(closed()) } else { Ok(()) }
    }

    /// The call that a delivery in `inbox` answers. A call is answered in its own inbox only: one peer
    /// must not be able to answer for another.
    pub(crate) fn find(&self, inbox: &Address, delivery: &Delivery) -> Option<Arc<Pending>> {
        let table = self.lock();
        let waiting = table.calls.get(delivery.correlation_id.as_ref()?)?;
        (waiting.inbox.address == *inbox).then(|| Arc::clone(&waiting.pending))
    }

    /// The call that a delivery in the agent's own inbox answers. Requests come there too, under whatever
    /// correlation id their senders chose: one that names where to answer it is no answer, unless it says so. Nor is
    /// one that the network says another agent sent: who learns a call's id must not be able to answer it.
    pub(crate) fn answered(&self, delivery: &Delivery) -> Option<Arc<Pending>> {
        let table = self.lock();
        let waiting = table.calls.get(delivery.correlation_id.as_ref()?)?;
        let own = delivery.client_msg_id.as_ref() == Some(&waiting.request);
        let answers = is_reply(delivery) || (delivery.reply_to.is_none() && !own);
        (answers && waiting.may_come_from(delivery)).then(|| Arc::clone(&waiting.pending))
    }

    /// Whether a delivery in the agent's own inbox is a reply that nobody waits for: it says that it is one,
    /// and not to something that was sent otherwise than by a call.
    pub(crate) fn is_late(&self, delivery: &Delivery) -> bool {
        let Some(correlation_id) = delivery.correlation_id.as_ref().filter(|_| is_reply(delivery)) else {
            return false;
        };
        !self.lock().asked.iter().any(|asked| asked.contains(correlation_id))
    }

    /// Something is sent under `correlation_id` that is no call: its replies are for the handler.
    pub(crate) fn ask(&self, correlation_id: &CorrelationId) {
        let [newer, older] = &mut self.lock().asked;
        if newer.len() >= ASKED {
            *older = std::mem::take(newer);
        }
        newer.insert(correlation_id.clone());
    }

    /// Counts a reply that no call waits for, and says what settles it.
    pub(crate) fn late(&self, reply: &Delivery) -> AckTag {
        self.late.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name: "reply.late", id = %reply.id, "no call waits for this reply");
        reply.tag.clone()
    }

    /// How many replies came that no call waited for.
    pub(crate) fn late_replies(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Whether any call is under way.
    pub(crate) fn any(&self) -> bool {
        !self.lock().calls.is_empty()
    }

    /// Ends every call with what `error` makes.
    pub(crate) fn fail(&self, error: impl Fn() -> Error) {
        self.take(|_| true).iter().for_each(|waiting| waiting.pending.end(error()));
    }

    /// Whether more than one call waits on `inbox`.
    pub(crate) fn share(&self, inbox: &Address) -> bool {
        self.lock().calls.values().filter(|waiting| waiting.inbox.address == *inbox).nth(1).is_some()
    }

    /// Tells every call that waits on `inbox` that no more replies will come there.
    pub(crate) fn lose(&self, inbox: &Address, error: &Error) {
        let lost = self.take(|waiting| waiting.inbox.address == *inbox);
        for waiting in lost {
            let lost = Error::new(error.kind(), "call", "the reply inbox can no longer be read")
                .with_advice(error.advice());
            waiting.pending.end(lost);
        }
    }

    /// Ends every call, and those that are just being made. Says how many were under way.
    pub(crate) fn close(&self) -> usize {
        self.lock().closed = true;
        let ended = self.take(|_| true);
        for waiting in &ended {
            waiting.pending.end(closed());
        }
        ended.len()
    }

    fn take(&self, chosen: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.lock().calls.extract_if(|_, waiting| chosen(waiting)).map(|(_, waiting)| waiting).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether the sender of a delivery, where the network names one, may answer this call. In a group any member
    /// may.
    fn may_come_from(&self, delivery: &Delivery) -> bool {
        delivery.sender.as_ref().is_none_or(|sender| may_answer(sender, &self.peer))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.pending.close();
        let mut table = self.calls.lock();
        let own = |waiting: &Waiting| Arc::ptr_eq(&waiting.pending, &self.pending);
        let removed = match table.calls.get(&self.correlation_id).is_some_and(own) {
            true => table.calls.remove(&self.correlation_id),
            false => None,
        };
        drop(table);
        drop(removed);
    }
}

/// Whether `sender` is `peer`, however that is spelled, or a member of it.
fn may_answer(sender: &Address, peer: &Address) -> bool {
    let bare = |address: &Address| {
        let name = address.name();
        name.strip_prefix('@').unwrap_or(name).to_ascii_lowercase()
    };
    peer.name().starts_with(GROUP) || bare(sender) == bare(peer)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "call", "the agent was closed")
}

/// What the names of groups begin with.
const GROUP: &str = "grp_";
/// At least so many, and at most twice as many, messages that are no calls and may be answered.
const ASKED: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_by_the_one_who_was_asked_and_in_a_group_by_any_member() {
        let address = |name: &str| Address::of("agentchat", name).expect("a name");
        for (sender, peer, may) in [
            ("bob", "bob", true),
            ("bob", "@Bob", true),
            ("mallory", "bob", false),
            ("bobby", "bob", false),
            ("bob", "grp_1", true),
        ] {
            assert_eq!(may_answer(&address(sender), &address(peer)), may, "{sender} for {peer}");
        }
    }
}
