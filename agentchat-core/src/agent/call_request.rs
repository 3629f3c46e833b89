//! What is asked of a peer.

use std::time::{Duration, SystemTime};

use crate::address::Address;
use crate::capability::Capabilities;
use crate::clock::FAR;
use crate::error::Result;
use crate::header::Headers;
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Outbound, Priority};

/// What is asked of a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallRequest {
    /// What it says.
    pub body: Body,
    /// Its id; the correlation id too, unless one is set.
    pub client_msg_id: ClientMsgId,
    /// What ties the replies to it.
    pub correlation_id: Option<CorrelationId>,
    /// What it is ordered within.
    pub conversation: Option<ConversationId>,
    /// Lines beside the body.
    pub headers: Headers,
    /// How urgent it is.
    pub priority: Priority,
    /// How long to wait for the last reply, sending included (default 60 s). The moment is carried in the
    /// message: a peer that finds it later answers with an error instead of running it. More than thirty
    /// years count as thirty, and no moment is carried then.
    pub timeout: Duration,
    /// The moment the message carries, where it is another than the end of the timeout: a caller may listen for
    /// longer than it wants its peer to begin.
    pub deadline: Option<SystemTime>,
    /// Use a reply inbox for this call alone instead of the one kept for the peer (default off). Where agents
    /// have one inbox it is used all the same.
    pub private_inbox: bool,
    /// Writes the reply inbox into the body as well, for peers that read no headers (default: it stands beside
    /// the body alone). `None` from it leaves the body as it is.
    pub reply_to_in_body: Option<fn(&Body, &Address) -> Option<Body>>,
}

impl CallRequest {
    /// A request under a fresh id, with a timeout of 60 s.
    pub fn new(body: Body) -> Self {
        Self {
            body,
            client_msg_id: ClientMsgId::random(),
            correlation_id: None,
            conversation: None,
            headers: Headers::new(),
            priority: Priority::Normal,
            timeout: Duration::from_secs(60),
            deadline: None,
            private_inbox: false,
            reply_to_in_body: None,
        }
    }

    /// Replaces the id: a repeated call under its old id is handled once. Its replies are those of the
    /// first time, in the inbox kept for the peer: without [`CallRequest::private_inbox`], and by the same
    /// agent, they are received here.
    pub fn with_id(mut self, id: ClientMsgId) -> Self {
        self.client_msg_id = id;
        self
    }

    /// Sets the correlation id.
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Sets the conversation.
    pub fn with_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    /// Sets one header line.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the priority.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long to wait for the last reply.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the moment the message carries.
    pub fn with_deadline(mut self, deadline: SystemTime) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Uses a reply inbox for this call alone.
    pub fn with_private_inbox(mut self) -> Self {
        self.private_inbox = true;
        self
    }

    /// Writes the reply inbox into the body as well. A call that is repeated under its id is the same call as
    /// long as the body it is given is the same.
    pub fn with_reply_to_in_body(mut self, write: fn(&Body, &Address) -> Option<Body>) -> Self {
        self.reply_to_in_body = Some(write);
        self
    }

    /// What ties the replies to it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is to be the request's id, which cannot be one.
    pub(super) fn correlation(&self) -> Result<CorrelationId> {
        match &self.correlation_id {
            Some(id) => Ok(id.clone()),
            None => CorrelationId::new(self.client_msg_id.as_str()),
        }
    }

    /// What is asked of `peer`, as it counts when the request is repeated: without where to answer.
    ///
    /// # Errors
    /// Those of the network for what it cannot carry.
    pub(super) fn content(
        &self,
        peer: &Address,
        correlation_id: CorrelationId,
        network: &Capabilities,
    ) -> Result<Outbound> {
        let mut content = Outbound::new(peer.clone(), self.body.clone())
            .with_id(self.client_msg_id.clone())
            .with_correlation_id(correlation_id)
            .with_priority(self.priority);
        content.headers.clone_from(&self.headers);
        content.conversation.clone_from(&self.conversation);
        network.check(&content)?;
        Ok(content)
    }

    /// `content` with where to answer, and until when it may begin to be handled.
    ///
    /// # Errors
    /// Those of the network for a body that it cannot carry.
    pub(super) fn message(
        &self,
        content: &Outbound,
        inbox: Address,
        deadline: Option<SystemTime>,
        network: &Capabilities,
    ) -> Result<Outbound> {
        let mut message = content.clone();
        if let Some(body) = self.reply_to_in_body.and_then(|write| write(&content.body, &inbox)) {
            message.body = body;
            network.check(&message)?;
        }
        message.deadline = deadline;
        Ok(message.with_reply_to(inbox))
    }

    /// The moment the message carries, unless it is too far away to matter.
    pub(crate) fn deadline(&self) -> Option<SystemTime> {
        let end = || SystemTime::now().checked_add(self.timeout).filter(|_| self.timeout <= FAR);
        self.deadline.or_else(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_carried_is_the_end_of_the_timeout_or_the_one_that_was_set() {
        let request = CallRequest::new(Body::text("x")).with_timeout(Duration::from_secs(3_600));
        let end = request.deadline().expect("it is near");
        assert!(end > SystemTime::now() + Duration::from_secs(3_500));
        let soon = SystemTime::now() + Duration::from_secs(5);
        assert_eq!(request.with_deadline(soon).deadline(), Some(soon));
    }
}
