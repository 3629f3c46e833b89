//! A guard against agents that answer each other for ever.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::HandlerError;
use crate::delivery::Delivery;
use crate::id::ConversationId;

/// Decides whether a message is handled. Closures `Fn(&Delivery) -> Result<(), String>` are guards.
pub trait TurnGuard: Send + Sync + 'static {
    /// Asked once before a message is handed to the handler the first time. It must not block. When it
    /// panics, the message is handled.
    ///
    /// # Errors
    /// Why the message is rejected. A sender that waits for a reply in an inbox for replies, as a call does, is
    /// told it. Other senders are not: a handler there might answer that too.
    fn check(&self, message: &Delivery) -> Result<(), String>;
}

impl<F: Fn(&Delivery) -> Result<(), String> + Send + Sync + 'static> TurnGuard for F {
    fn check(&self, message: &Delivery) -> Result<(), String> {
        self(message)
    }
}

/// A guard that can be shown.
#[derive(Clone)]
pub(crate) struct Guard(pub(crate) Arc<dyn TurnGuard>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnGuard")
    }
}

/// What every message passes before it is handled.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Expired messages are for the handler to answer.
    pub(crate) hands_expired: bool,
    pub(crate) turns: Option<Turns>,
    pub(crate) guard: Option<Guard>,
}

/// A message that is not to be handled.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: HandlerError,
    /// Whether nobody was told yet that this conversation is over its limit.
    pub(crate) first: bool,
}

impl Gate {
    /// Asks whether `message` may be handled, and counts it if so.
    pub(crate) fn check(&mut self, message: &Delivery, now: Instant) -> Result<(), Refusal> {
        if let Some(Guard(guard)) = &self.guard {
            let verdict = catch_unwind(AssertUnwindSafe(|| guard.check(message))).unwrap_or_else(|_| {
                // A guard that is broken must not lose messages.
                tracing::warn!(name: "turn_guard.panicked", id = %message.id, "the turn guard panicked");
                Ok(())
            });
            verdict.map_err(|why| Refusal { error: HandlerError::reject(why), first: false })?;
        }
        match (&mut self.turns, &message.conversation) {
            (Some(turns), Some(conversation)) => turns.take(conversation, now),
            _ => Ok(()),
        }
    }
}

/// Counts the messages handled of each conversation. A conversation's window begins with a message and is
/// over after its time; the next message begins another one. Bounded: the conversation that was quiet
/// longest is forgotten first.
#[derive(Debug)]
pub(crate) struct Turns {
    most: u32,
    window: Duration,
    counts: HashMap<ConversationId, Count>,
    /// By when they were last used.
    order: BTreeMap<u64, ConversationId>,
    counter: u64,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    handled: u32,
    told: bool,
    used: u64,
}

impl Turns {
    pub(crate) fn new(most: u32, window: Duration) -> Self {
        Self { most, window, counts: HashMap::new(), order: BTreeMap::new(), counter: 0 }
    }

    fn take(&mut self, conversation: &ConversationId, now: Instant) -> Result<(), Refusal> {
        self.counter += 1;
        let used = self.counter;
        let fresh = Count { since: now, handled: 0, told: false, used };
        let count = match self.counts.get_mut(conversation) {
            Some(count) => {
                self.order.remove(&count.used);
                if now.saturating_duration_since(count.since) >= self.window {
                    *count = fresh;
                }
                count.used = used;
                count
            }
            None => {
                if self.counts.len() >= CONVERSATIONS
                    && let Some((_, quiet)) = self.order.pop_first()
                {
                    self.counts.remove(&quiet);
                }
                self.counts.entry(conversation.clone()).or_insert(fresh)
            }
        };
        self.order.insert(used, conversation.clone());
        if count.handled < self.most {
            count.handled += 1;
            return Ok(());
        }
        let first = !std::mem::replace(&mut count.told, true);
        let why = format!(
            "the conversation has had its {} messages within {:?}: it may be two agents answering each other",
            self.most, self.window
        );
        Err(Refusal { error: HandlerError::reject(why), first })
    }
}

/// Of how many conversations the messages are counted.
const CONVERSATIONS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AckTag, Body, MessageId};

    const MINUTE: Duration = Duration::from_secs(60);

    fn message(conversation: Option<&str>) -> Delivery {
        let (id, tag) = (MessageId::new("1").expect("id"), AckTag::new("t").expect("tag"));
        let mut message = Delivery::new(id, tag, Body::text("x"));
        message.conversation = conversation.map(|id| ConversationId::new(id).expect("id"));
        message
    }

    fn gate(most: u32) -> Gate {
        Gate { turns: Some(Turns::new(most, MINUTE)), ..Gate::default() }
    }

    #[test]
    fn a_conversation_has_its_turns_per_window_and_is_told_once_in_each() {
        let start = Instant::now();
        let mut gate = gate(2);
        let mut pass = |conversation, at| match gate.check(&message(Some(conversation)), start + at) {
            Ok(()) => "passes",
            Err(refusal) if refusal.first => "first refusal",
            Err(_) => "refused",
        };
        for _ in 0..2 {
            assert_eq!(pass("a", Duration::ZERO), "passes");
        }
        assert_eq!(pass("a", MINUTE / 2), "first refusal");
        assert_eq!(pass("a", MINUTE / 2), "refused");
        assert_eq!(pass("b", MINUTE / 2), "passes", "another conversation has its own");
        for _ in 0..2 {
            assert_eq!(pass("a", MINUTE), "passes", "a new window");
        }
        assert_eq!(pass("a", MINUTE * 3 / 2), "first refusal");
    }

    #[test]
    fn messages_without_a_conversation_are_not_counted() {
        let mut gate = gate(1);
        for _ in 0..10 {
            gate.check(&message(None), Instant::now()).expect("it passes");
        }
    }

    #[test]
    fn the_conversation_that_was_quiet_longest_is_forgotten_first() {
        let now = Instant::now();
        let mut gate = gate(1);
        for name in ["busy", "quiet"] {
            gate.check(&message(Some(name)), now).expect("its first");
        }
        for number in 0..CONVERSATIONS - 1 {
            gate.check(&message(Some("busy")), now).expect_err("over its limit");
            gate.check(&message(Some(&number.to_string())), now).expect("its first");
        }
        gate.check(&message(Some("busy")), now).expect_err("still known");
        gate.check(&message(Some("quiet")), now).expect("forgotten");
        let turns = gate.turns.expect("there is a limit");
        assert_eq!((turns.counts.len(), turns.order.len()), (CONVERSATIONS, CONVERSATIONS));
    }

    #[test]
    fn a_guard_of_ones_own_decides_and_its_panic_lets_pass() {
        let guard = |message: &Delivery| match message.conversation.as_ref().map(ConversationId::as_str) {
            Some("bad") => Err("no".to_owned()),
            Some("worse") => panic!("broken"),
            _ => Ok(()),
        };
        let mut gate = Gate { guard: Some(Guard(Arc::new(guard))), ..Gate::default() };
        let now = Instant::now();
        let refusal = gate.check(&message(Some("bad")), now).expect_err("refused");
        assert!(refusal.error.is_reject() && refusal.error.to_string() == "no");
        for passes in [None, Some("worse"), Some("good")] {
            gate.check(&message(passes), now).expect("it passes");
        }
    }
}
