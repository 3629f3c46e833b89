//! The meeting place of all connections of one broker: who is there, who subscribed, who gets what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::due::Reply;
use super::encode;
use super::frame::{Publish, Subscribe};
use super::hello::Wishes;
use super::outbox::{Kind, Outbox};
use super::router::{ConnectionId, Recipient, Router};
use super::subject::is_literal;

/// Shared by all connections. No method waits.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    router: Router,
    peers: HashMap<ConnectionId, Peer>,
    inboxes: Inboxes,
}

struct Peer {
    outbox: Arc<Outbox>,
    wishes: Wishes,
}

/// RobustMQ's table from exact `_INBOX.` subjects to sids, one for the whole server.
#[derive(Default)]
struct Inboxes {
    sids: HashMap<String, (ConnectionId, String)>,
}

impl Hub {
    pub(crate) fn join(&self, id: ConnectionId, outbox: Arc<Outbox>, wishes: Wishes) {
        self.lock().peers.insert(id, Peer { outbox, wishes });
    }

    pub(crate) fn leave(&self, id: ConnectionId) {
        let mut state = self.lock();
        state.peers.remove(&id);
        state.router.disconnect(id);
        state.inboxes.sids.retain(|_, (owner, _)| *owner != id);
    }

    pub(crate) fn set_wishes(&self, id: ConnectionId, wishes: Wishes) {
        if let Some(peer) = self.lock().peers.get_mut(&id) {
            peer.wishes = wishes;
        }
    }

    /// `false`: the connection has too many subscriptions.
    pub(crate) fn subscribe(&self, id: ConnectionId, wanted: Subscribe) -> bool {
        let mut state = self.lock();
        let room = state.inboxes.sids.len() < MAX_INBOXES;
        if room && wanted.subject.starts_with(INBOX) && is_literal(&wanted.subject) {
            state.inboxes.sids.insert(wanted.subject.clone(), (id, wanted.sid.clone()));
        }
        state.router.subscribe(id, wanted)
    }

    pub(crate) fn unsubscribe(&self, id: ConnectionId, sid: &str, max: Option<u64>) {
        let mut state = self.lock();
        state.router.unsubscribe(id, sid, max);
        // Observed: every connection's inbox under that sid goes, not only the caller's.
        state.inboxes.sids.retain(|_, (_, other)| other != sid);
    }

    /// Delivers a message to its subscribers. Returns to how many.
    pub(crate) fn publish(&self, from: ConnectionId, message: &Publish) -> usize {
        let mut state = self.lock();
        let echo = state.peers.get(&from).is_none_or(|peer| peer.wishes.echo);
        let recipients = state.router.route(&message.subject, (!echo).then_some(from));
        state.deliver(&recipients, message);
        recipients.len()
    }

    /// Delivers a reply of the broker's own to whoever subscribed to its subject.
    pub(crate) fn reply(&self, reply: Reply) {
        let mut state = self.lock();
        let recipients = state.router.route(&reply.to, None);
        let message = Publish { subject: reply.to, reply: None, header: None, payload: reply.body };
        state.deliver(&recipients, &message);
    }

    /// Delivers a reply as RobustMQ does: to the connection that asked, subscribed or not.
    pub(crate) fn reply_to_requester(&self, id: ConnectionId, reply: &Reply) {
        let state = self.lock();
        let sid = state.inboxes.sids.get(&reply.to).map_or("0", |(_, sid)| sid);
        if let Some(peer) = state.peers.get(&id) {
            peer.outbox.push(encode::reply(&reply.to, sid, &reply.body), Kind::Reply);
        }
    }

    /// Tells a requester that nobody serves its subject, if it wants to know.
    pub(crate) fn no_responders(&self, id: ConnectionId, reply: &str) {
        let mut state = self.lock();
        let State { router, peers, .. } = &mut *state;
        if let Some(peer) = peers.get(&id).filter(|peer| peer.wishes.no_responders) {
            for Recipient { sid, .. } in router.route_within(id, reply) {
                peer.outbox.push(encode::no_responders(reply, &sid), Kind::Reply);
            }
        }
    }

    /// Runs `action` on the outgoing queue of every connection there is.
    pub(crate) fn for_each_outbox(&self, action: impl Fn(&Outbox)) {
        for peer in self.lock().peers.values() {
            action(&peer.outbox);
        }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.lock().peers.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&self, recipients: &[Recipient], message: &Publish) {
        for Recipient { connection, sid } in recipients {
            if let Some(peer) = self.peers.get(connection) {
                peer.outbox.push(encode::message(sid, message, peer.wishes.headers), Kind::Reply);
            }
        }
    }
}

const INBOX: &str = "_INBOX.";
/// Only bounds memory: a client may name any number of inboxes under one sid.
const MAX_INBOXES: usize = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inboxes_are_bounded_and_go_with_their_connection() {
        let hub = Hub::default();
        for number in 0..=MAX_INBOXES {
            let subject = format!("{INBOX}{number}");
            assert!(hub.subscribe(1, Subscribe { subject, queue: None, sid: "1".into() }));
        }
        assert_eq!(hub.lock().inboxes.sids.len(), MAX_INBOXES);
        hub.leave(1);
        assert_eq!(hub.lock().inboxes.sids.len(), 0);
    }
}
