//! Invitations to groups: seen, told of, and accepted where the configuration says so.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentchat_core::ErrorKind;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::api::AgentChat;
use crate::config::InvitationPolicy;
use crate::wire::GroupInvitation;

/// An invitation to a group.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Invited {
    /// The invitation.
    pub invitation: GroupInvitation,
    /// Whether it has been accepted here: the agent is in the group. One that is not waits for
    /// [`accept_invitation`](AgentChat::accept_invitation) or
    /// [`reject_invitation`](AgentChat::reject_invitation).
    pub joined: bool,
}

/// Invitations one after the other, each once, from the oldest that is remembered: the last 256. All that
/// wait for an answer are known to the server: [`AgentChat::invitations`].
#[derive(Debug)]
pub struct Invitations {
    invites: Invites,
    changed: watch::Receiver<u64>,
    /// The number of the next one to tell of.
    next: u64,
}

/// What a connector and its attachments know of invitations. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Invites(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: InvitationPolicy,
    seen: Mutex<Seen>,
    /// How many have been told of.
    told: watch::Sender<u64>,
    /// Held while the server is asked, so that nothing is accepted twice.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    invitations: VecDeque<Invited>,
    /// How many came before the first that is remembered.
    forgotten: u64,
}

impl Invitations {
    /// The next one, as soon as there is one. Cancel-safe.
    pub async fn next(&mut self) -> Invited {
        loop {
            if let Some(invited) = self.ready() {
                return invited;
            }
            if self.changed.changed().await.is_err() {
                // It holds the sender itself.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next one, if there is one now.
    pub fn ready(&mut self) -> Option<Invited> {
        let seen = self.invites.lock();
        self.next = self.next.max(seen.forgotten);
        let at = usize::try_from(self.next - seen.forgotten).ok()?;
        let invited = seen.invitations.get(at)?.clone();
        self.next += 1;
        Some(invited)
    }
}

impl Invites {
    pub(crate) fn new(policy: InvitationPolicy) -> Self {
        let (seen, told) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { policy, seen, told, asking: tokio::sync::Mutex::default() }))
    }

    pub(crate) fn told(&self) -> Invitations {
        Invitations { changed: self.0.told.subscribe(), invites: self.clone(), next: 0 }
    }

    /// Whether anybody is to be told, or anything accepted.
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.policy == InvitationPolicy::AcceptAll || self.0.told.receiver_count() > 0
    }

    /// Looks each time there may be a new one. It ends when it is dropped.
    pub(crate) async fn watch(&self, client: &AgentChat, invited: &Notify) -> Infallible {
        loop {
            invited.notified().await;
            // Boxed: what is rare must not take room beside the socket of every agent.
            Box::pin(self.look(client)).await;
        }
    }

    /// The same where nobody tells of new ones: it looks every so often, too, while anybody wants to know.
    pub(crate) async fn watch_every(
        &self,
        client: &AgentChat,
        invited: &Notify,
        every: Duration,
    ) -> Infallible {
        loop {
            let told = timeout(every, invited.notified()).await.is_ok();
            if told || self.are_wanted() {
                Box::pin(self.look(client)).await;
            }
        }
    }

    /// Asks the server once. What fails is tried at the next occasion.
    pub(crate) async fn look(&self, client: &AgentChat) {
        let _asking = self.0.asking.lock().await;
        let waiting = match client.invitations().await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::debug!(%error, "invitations to groups could not be read");
                return;
            }
        };
        for invitation in waiting {
            let joined = self.0.policy == InvitationPolicy::AcceptAll && accept(client, &invitation).await;
            self.tell(invitation, joined);
        }
    }

    /// Tells of an invitation, unless the same was told of it before.
    fn tell(&self, invitation: GroupInvitation, joined: bool) {
        let mut seen = self.lock();
        let known =
            seen.invitations.iter().any(|it| it.invitation.id == invitation.id && it.joined == joined);
        if known {
            return;
        }
        if seen.invitations.len() == REMEMBERED {
            seen.invitations.pop_front();
            seen.forgotten += 1;
        }
        seen.invitations.push_back(Invited { invitation, joined });
        drop(seen);
        self.0.told.send_modify(|told| *told += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(client: &AgentChat, invitation: &GroupInvitation) -> bool {
    // Without an idempotency key: under one the server would say a refusal again for a day, and a second
    // acceptance changes nothing.
    match client.accept_invitation(&invitation.id, None).await {
        Ok(_) => true,
        Err(error) => {
            // It has been answered elsewhere, or the group is gone.
            let gone = error.kind() == ErrorKind::NotFound;
            tracing::debug!(%error, gone, "an invitation to a group could not be accepted");
            false
        }
    }
}

const REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(id: usize) -> GroupInvitation {
        serde_json::from_str(&format!(r#"{{"id":"gri_{id}","group_id":"grp_1"}}"#)).expect("an invitation")
    }

    #[tokio::test]
    async fn each_is_told_once_from_the_oldest_that_is_remembered() {
        let invites = Invites::new(InvitationPolicy::Leave);
        assert!(!invites.are_wanted());
        invites.tell(invitation(0), false);
        let mut told = invites.told();
        assert!(invites.are_wanted());
        assert_eq!(told.ready().map(|it| it.invitation.id).as_deref(), Some("gri_0"));
        invites.tell(invitation(0), false);
        assert!(told.ready().is_none());
        invites.tell(invitation(0), true);
        assert!(told.next().await.joined);
        for id in 1..=REMEMBERED {
            invites.tell(invitation(id), false);
        }
        let mut count = 0;
        while told.ready().is_some() {
            count += 1;
        }
        assert_eq!(count, REMEMBERED);
    }
}
