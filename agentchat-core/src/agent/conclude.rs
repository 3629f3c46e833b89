//! What is done for a message instead of handling it.

use std::sync::Arc;

use super::AgentShared;
use super::dead_letter::{DeadLetter, DeadLetters};
use super::outcome::{HandlerError, HandlerResult};
use super::request::{Request, waits_for_reply};
use crate::address::Address;
use crate::delivery::Delivery;
use crate::id::ClientMsgId;
use crate::message::Outbound;

/// A message that is given up.
pub(super) struct Letter {
    pub(super) delivery: Arc<Delivery>,
    pub(super) failures: u32,
    pub(super) error: Arc<HandlerError>,
    /// Whether a sender that might answer is not told.
    pub(super) quiet: bool,
}

/// A request found after its deadline is answered, not run: nobody waits for its work any more. Nobody may
/// wait for the answer either, so it is settled even when it cannot be given.
pub(super) async fn expire(agent: Arc<AgentShared>, delivery: Arc<Delivery>) -> HandlerResult {
    let why = "the request's deadline had passed before it could be handled";
    tell(agent, delivery, why, LAST_TRY).await
}

/// A message that a newer one took the place of is settled once its sender knows.
pub(super) async fn supersede(agent: Arc<AgentShared>, delivery: Arc<Delivery>, tries: u32) -> HandlerResult {
    tell(agent, delivery, "superseded by a newer message of its conversation", tries).await
}

/// Gives a message up: tells its sender, then hands it to where dead letters go. Only then it is settled.
pub(super) async fn bury(
    agent: Arc<AgentShared>,
    dead_letters: Option<DeadLetters>,
    letter: Letter,
    tries: u32,
) -> HandlerResult {
    let Letter { delivery, failures, error, quiet } = letter;
    // What made a handler fail is for its owner; why it rejected is for the sender.
    let why = match error.is_reject() {
        true => format!("rejected: {error}"),
        false => format!("given up after {failures} failures"),
    };
    if !quiet || only_waits(&agent, &delivery) {
        tell(Arc::clone(&agent), Arc::clone(&delivery), &why, tries).await?;
    }
    let id = delivery.id.clone();
    match dead_letters {
        None => {}
        Some(DeadLetters::Address(address)) => send(&agent, address, &delivery, failures).await?,
        Some(DeadLetters::Hook(hook)) => {
            let delivery = Arc::unwrap_or_clone(delivery);
            hook.bury(DeadLetter { delivery, failures, error: Arc::clone(&error) }).await?;
        }
    }
    match failures {
        // Turned away before: whoever does that may do so often, and has told it.
        0 => tracing::debug!(name: "message.refused", %id, "a message was turned away"),
        _ => tracing::warn!(
            name: "dead_letter.sent", %id, failures, error_kind = error.kind_name(),
            rejected = error.is_reject(), panicked = error.is_panic(), "a message was given up"
        ),
    }
    Ok(())
}

/// Tells a sender that waits for a reply that none comes, unless the last one has been given. What may help
/// is tried again a few times; then the message is done with all the same.
async fn tell(agent: Arc<AgentShared>, delivery: Arc<Delivery>, why: &str, tries: u32) -> HandlerResult {
    if !waits_for_reply(&delivery) {
        return Ok(());
    }
    let id = delivery.id.clone();
    match Request::new(delivery, 1, agent).fail(why).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_retryable() && tries < LAST_TRY => Err(error.into()),
        Err(error) => {
            tracing::debug!(
                name: "sender.untold", %id, error_kind = error.kind().as_str(), %error,
                "a sender could not be told that no reply comes"
            );
            Ok(())
        }
    }
}

/// Whether what the sender is told comes to an inbox for replies, or to one in which replies are kept from
/// the handler. In its own inbox a handler may answer it, and so keep up what it is to end.
fn only_waits(agent: &AgentShared, delivery: &Delivery) -> bool {
    if !agent.capabilities().extra_inbox {
        return true;
    }
    let sender = delivery.sender.as_ref().map(Address::name);
    delivery.reply_to.as_ref().is_some_and(|reply_to| Some(reply_to.name()) != sender)
}

async fn send(agent: &AgentShared, to: Address, delivery: &Delivery, failures: u32) -> HandlerResult {
    let id = ClientMsgId::derived(&delivery.identity(), "dead letter");
    let mut message = Outbound::new(to, delivery.body.clone()).with_id(id);
    message.headers = delivery.headers.clone();
    message.headers.insert(DEAD_LETTER_ATTEMPTS, failures.to_string());
    message.correlation_id = delivery.correlation_id.clone();
    message.conversation = delivery.conversation.clone();
    agent.transmit(&message).await?;
    Ok(())
}

/// After so many failures a sender is told no more.
const LAST_TRY: u32 = 4;
/// On a dead letter: how often its handler failed.
const DEAD_LETTER_ATTEMPTS: &str = "agentchat-dead-letter-attempts";
