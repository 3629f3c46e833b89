//! What becomes of a message: the outcome of its handler.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::error::Error;

/// What a handler returns. `Ok` settles the message, whether it was answered or not: silence is an outcome.
/// An error says what becomes of it; see [`HandlerError`].
pub type HandlerResult = std::result::Result<(), HandlerError>;

/// Why a message was not handled, and what becomes of it.
///
/// Any error or text turns into one by `?` or `into()`, and means [`retry`](HandlerError::retry). When it is
/// an [`Error`] of this crate that says how long to wait, the message is not tried again earlier.
///
/// ```
/// use agentchat_core::{HandlerError, HandlerResult};
/// use std::time::Duration;
///
/// fn price(text: &str) -> HandlerResult {
///     if text.is_empty() {
///         return Err(HandlerError::reject("there is nothing to price"));
///     }
///     let _amount: u32 = text.parse()?;
///     Err(HandlerError::retry_after(Duration::from_secs(60), "the market is closed"))
/// }
/// # price("x").unwrap_err();
/// ```
pub struct HandlerError {
    verdict: Verdict,
    why: Box<dyn StdError + Send + Sync>,
    at: Option<usize>,
    panicked: bool,
}

/// What becomes of a message that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is tried again after the backoff, and not before this long.
    Backoff(Duration),
    /// It is tried again after this long.
    After(Duration),
    /// It is never tried again.
    Reject,
}

impl HandlerError {
    /// The message is tried again after a backoff, as often as
    /// [`max_attempts`](crate::ServeOptions::max_attempts) allows.
    pub fn retry(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Verdict::Backoff(Duration::ZERO), why.into())
    }

    /// The message is tried again when `wait` has passed. That counts as a failure like any other.
    pub fn retry_after(wait: Duration, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Verdict::After(wait), why.into())
    }

    /// The message is settled and never tried again. It goes to where dead letters go, if to anywhere. A
    /// sender that waits for a reply and has not had the last one is told `why`: it leaves this process.
    pub fn reject(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Verdict::Reject, why.into())
    }

    /// Within a batch: this is about message `index` alone, counted from 0. Those before it were handled and
    /// are settled; those after it were not looked at and are handed over again. An index the batch does not
    /// have says nothing.
    pub fn at(mut self, index: usize) -> Self {
        self.at = Some(index);
        self
    }

    /// Whether the message is never tried again.
    pub fn is_reject(&self) -> bool {
        self.verdict == Verdict::Reject
    }

    /// Whether the handler panicked.
    pub fn is_panic(&self) -> bool {
        self.panicked
    }

    /// What went wrong.
    pub fn why(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.why
    }

    pub(crate) fn panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let why = format!("the handler panicked: {}", text.unwrap_or("no message"));
        Self { panicked: true, ..Self::retry(why) }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Which message of a batch of `len` it is about, when not about all.
    pub(crate) fn index(&self, len: usize) -> Option<usize> {
        self.at.filter(|index| *index < len)
    }

    fn new(verdict: Verdict, why: Box<dyn StdError + Send + Sync>) -> Self {
        Self { verdict, why, at: None, panicked: false }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let why = error.into();
        let asked = why.downcast_ref::<Error>().and_then(Error::retry_after);
        Self::new(Verdict::Backoff(asked.unwrap_or_default()), why)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("verdict", &self.verdict)
            .field("why", &self.why)
            .field("at", &self.at)
            .field("panicked", &self.panicked)
            .finish()
    }
}

/// Runs a handler's future; a panic in it is an error.
pub(crate) async fn contained(run: impl Future<Output = HandlerResult> + Send) -> HandlerResult {
    let outcome = AssertUnwindSafe(run).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(HandlerError::panic(&*panic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Advice, ErrorKind};

    #[test]
    fn whatever_is_an_error_means_another_try() {
        fn read(text: &str) -> HandlerResult {
            let _: u32 = text.parse()?;
            Err("text".into())
        }
        for error in [read("x"), read("1")].map(|result| result.expect_err("it fails")) {
            assert_eq!(error.verdict(), Verdict::Backoff(Duration::ZERO));
        }
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        assert_eq!(HandlerError::from(boxed).to_string(), "boxed");
    }

    #[test]
    fn the_wait_a_server_asked_for_is_kept_through_the_question_mark() {
        let wait = Duration::from_secs(30);
        let busy = || Error::new(ErrorKind::RateLimited, "send", "busy").with_advice(Advice::After(wait));
        assert_eq!(HandlerError::from(busy()).verdict(), Verdict::Backoff(wait));
        assert!(HandlerError::reject(busy()).is_reject());
    }

    #[test]
    fn an_index_outside_of_the_batch_says_nothing() {
        let error = HandlerError::retry("x").at(2);
        assert_eq!((error.index(3), error.index(2)), (Some(2), None));
    }
}
