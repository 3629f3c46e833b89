//! Where messages go that are given up.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use super::outcome::{HandlerError, HandlerResult};
use crate::address::Address;
use crate::delivery::Delivery;

/// A message that was given up: rejected, or failed as often as it may.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message.
    pub delivery: Delivery,
    /// How often its handler failed; 0 when it was turned away before.
    pub failures: u32,
    /// The last error: whether it was a rejection or a panic, and why.
    pub error: Arc<HandlerError>,
}

impl DeadLetter {
    /// A dead letter, for tests of hooks.
    pub fn new(delivery: Delivery, failures: u32, error: HandlerError) -> Self {
        Self { delivery, failures, error: Arc::new(error) }
    }
}

/// Takes dead letters. Closures `Fn(DeadLetter) -> impl Future<Output = HandlerResult>` are hooks.
#[async_trait]
pub trait DeadLetterHook: Send + Sync + 'static {
    /// Takes one. Only after this returned `Ok` is the message settled; after an error or a panic it is tried
    /// again after a backoff or the time the error says, and holds its conversation until then. It may
    /// be given the same letter again.
    async fn bury(&self, letter: DeadLetter) -> HandlerResult;
}

#[async_trait]
impl<F, T> DeadLetterHook for F
where
    F: Fn(DeadLetter) -> T + Send + Sync + 'static,
    T: Future<Output = HandlerResult> + Send,
{
    async fn bury(&self, letter: DeadLetter) -> HandlerResult {
        self(letter).await
    }
}

/// Where dead letters go.
#[derive(Clone)]
#[non_exhaustive]
pub enum DeadLetters {
    /// To an inbox, as messages.
    Address(Address),
    /// To a callback.
    Hook(Arc<dyn DeadLetterHook>),
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.debug_tuple("Address").field(address).finish(),
            Self::Hook(_) => f.write_str("Hook"),
        }
    }
}

/// A hook of a closure that does not wait.
pub(crate) struct SyncHook<F>(pub(crate) F);

#[async_trait]
impl<F: Fn(DeadLetter) -> HandlerResult + Send + Sync + 'static> DeadLetterHook for SyncHook<F> {
    async fn bury(&self, letter: DeadLetter) -> HandlerResult {
        (self.0)(letter)
    }
}
