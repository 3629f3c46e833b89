//! Requests for tests of handlers, without a network.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::AgentShared;
use super::request::Request;
use crate::address::Address;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::{Delivery, Receipt, SendOutcome};
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, Result};
use crate::id::{AckTag, MessageId};
use crate::message::Outbound;
use crate::options::{CloseMode, SubscribeOptions};
use crate::transport::{Subscription, Transport};

/// What a handler under test has answered; see [`Request::rehearsal`].
#[derive(Clone)]
pub struct Rehearsal(Arc<Stage>);

impl Rehearsal {
    /// The replies so far, in order, as they would have gone to the network.
    pub fn replies(&self) -> Vec<Outbound> {
        self.0.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Request {
    /// A request for the test of a handler: `delivery` as if it came the `attempt`th time (from 1), with
    /// replies that go nowhere and can be looked at.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
    /// use agentchat_core::{AckTag, Address, Body, CorrelationId, Delivery, HandlerResult, MessageId, Request};
    ///
    /// async fn echo(request: Request) -> HandlerResult {
    ///     request.reply(request.body().clone()).await?;
    ///     Ok(())
    /// }
    ///
    /// let mut delivery = Delivery::new(MessageId::new("1")?, AckTag::new("1")?, Body::text("hello"));
    /// delivery.reply_to = Some(Address::parse("loopback://asker")?);
    /// delivery.correlation_id = Some(CorrelationId::new("call-1")?);
    /// let (request, rehearsal) = Request::rehearsal(delivery, 1);
    /// echo(request).await.expect("it answers");
    /// assert_eq!(rehearsal.replies()[0].body.as_str(), Some("hello"));
    /// # Ok(()) }
    /// ```
    pub fn rehearsal(delivery: Delivery, attempt: u32) -> (Self, Rehearsal) {
        let stage = Arc::new(Stage::new());
        let transport: Arc<dyn Transport> = Arc::clone(&stage) as _;
        let request = Self::new(
            Arc::new(delivery),
            attempt.max(1),
            Arc::new(AgentShared::new(transport, Arc::default())),
        );
        (request, Rehearsal(stage))
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal").field("replies", &self.replies().len()).finish()
    }
}

/// Takes replies and does nothing else.
#[derive(Debug)]
struct Stage {
    address: Address,
    capabilities: Capabilities,
    sent: Mutex<Vec<Outbound>>,
}

impl Stage {
    fn new() -> Self {
        Self {
            address: Address::parse("loopback://rehearsal").expect("a scheme and a name"),
            capabilities: Capabilities::none(SCHEMES),
            sent: Mutex::default(),
        }
    }
}

#[async_trait]
impl Transport for Stage {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        &self.address
    }

    async fn register(&self, _: &AgentCard) -> Result<()> {
        Err(absent("register"))
    }

    async fn unregister(&self) -> Result<()> {
        Err(absent("unregister"))
    }

    async fn report(&self, _: &Heartbeat) -> Result<()> {
        Err(absent("report"))
    }

    async fn discover(&self, _: &Query) -> Result<Discovered> {
        Err(absent("discover"))
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(message.clone());
        let id = MessageId::new(sent.len().to_string())?;
        Ok(Receipt::new(SendOutcome::Accepted(id)))
    }

    async fn subscribe(&self, _: SubscribeOptions) -> Result<Subscription> {
        Err(absent("subscribe"))
    }

    async fn ack(&self, _: &[AckTag]) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _: CloseMode) -> Result<()> {
        Ok(())
    }
}

fn absent(operation: &'static str) -> Error {
    Error::unsupported(operation, "a rehearsal has no network")
}

/// Every network a message under test may be said to come from.
const SCHEMES: &[&str] = &["loopback", "mq9", "mq9s", "agentchat"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CorrelationId, MessageId};
    use crate::message::Body;

    #[tokio::test]
    async fn a_handler_is_tested_without_a_network() {
        let id = |text| MessageId::new(text).expect("an id");
        let mut delivery = Delivery::new(id("1"), AckTag::new("1").expect("a tag"), Body::text("hello"));
        let (request, rehearsal) = Request::rehearsal(delivery.clone(), 0);
        assert_eq!((request.attempt(), request.wants_reply()), (1, false));
        assert!(rehearsal.replies().is_empty());

        delivery.reply_to = Some(Address::parse("mq9://host/asker").expect("an address"));
        delivery.correlation_id = Some(CorrelationId::new("call-1").expect("an id"));
        let (request, rehearsal) = Request::rehearsal(delivery, 3);
        assert!(request.wants_reply() && request.attempt() == 3);
        request.progress(Body::text("half")).await.expect("taken");
        request.reply(Body::text("all of it")).await.expect("taken");
        let again = request.reply(Body::text("more")).await.expect("known");
        assert!(matches!(again.outcome, SendOutcome::Duplicate(_)), "the last one has gone");
        let replies = rehearsal.replies();
        let bodies: Vec<_> = replies.iter().map(|reply| reply.body.as_str()).collect();
        assert_eq!(bodies, [Some("half"), Some("all of it")]);
        assert!(replies.iter().all(|reply| reply.to.as_str() == "mq9://host/asker"));
    }
}
