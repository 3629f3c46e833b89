//! What an application gives to a server: a handler of turns, and how it fails.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::turn_handle::TurnHandle;

/// What a handler returns. `Ok` completes the task, unless it has been ended or parked already.
pub type TurnResult = Result<(), TurnError>;

/// Why a task failed.
///
/// Any error turns into one by `?`. Its text is for the owner, by [`A2aObserver::handler_failed`]; the caller is
/// told that the task failed.
/// What a caller is to read is said by [`TurnError::told`].
///
/// [`A2aObserver::handler_failed`]: super::A2aObserver::handler_failed
pub struct TurnError {
    why: Box<dyn StdError + Send + Sync>,
    told: bool,
}

impl TurnError {
    /// A failure with a reason for the caller.
    #[must_use]
    pub fn told(reason: impl Into<String>) -> Self {
        Self { why: reason.into().into(), told: true }
    }

    /// What the caller is told.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.told { self.why.to_string() } else { "the task failed".to_owned() }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for TurnError {
    fn from(error: E) -> Self {
        Self { why: error.into(), told: false }
    }
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl fmt::Debug for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnError").field("why", &self.why).field("told", &self.told).finish()
    }
}

/// Works on tasks.
///
/// [`run`](Self::run) is entered for each request of a task: its first message, and every answer to a question
/// it asked by [`TurnHandle::ask`]. It may be entered by another worker, and again after a crash, with the task
/// as it was stored; what it did beside the task itself it must be able to repeat. Closures
/// `Fn(TurnHandle) -> impl Future<Output = TurnResult>` are handlers.
pub trait A2aHandler: Send + Sync + 'static {
    /// Works on one request. A panic fails the task. The future is dropped when the task is called off.
    fn run(&self, turn: TurnHandle) -> impl Future<Output = TurnResult> + Send;
}

impl<F, T> A2aHandler for F
where
    F: Fn(TurnHandle) -> T + Send + Sync + 'static,
    T: Future<Output = TurnResult> + Send,
{
    fn run(&self, turn: TurnHandle) -> impl Future<Output = TurnResult> + Send {
        self(turn)
    }
}

/// A handler of a closure from text to text: what it returns is the task's artifact `answer`.
pub fn text_handler<F, T>(answer: F) -> impl A2aHandler
where
    F: Fn(String) -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, TurnError>> + Send,
{
    TextHandler(answer)
}

struct TextHandler<F>(F);

impl<F, T> A2aHandler for TextHandler<F>
where
    F: Fn(String) -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, TurnError>> + Send,
{
    async fn run(&self, turn: TurnHandle) -> TurnResult {
        let text = (self.0)(turn.request_text()).await?;
        turn.text("answer", &text).await?;
        Ok(())
    }
}

/// A handler behind a pointer.
pub(crate) trait AnyHandler: Send + Sync {
    fn run_boxed(&self, turn: TurnHandle) -> Pin<Box<dyn Future<Output = TurnResult> + Send + '_>>;
}

impl<H: A2aHandler> AnyHandler for H {
    fn run_boxed(&self, turn: TurnHandle) -> Pin<Box<dyn Future<Output = TurnResult> + Send + '_>> {
        Box::pin(self.run(turn))
    }
}
