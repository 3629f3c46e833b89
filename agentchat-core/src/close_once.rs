//! Closing an attachment once, for everybody who asks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::error::{Error, ErrorKind, Result};
use crate::options::CloseMode;

/// What a transport remembers of its end, so that [`Transport::close`](crate::Transport::close) keeps its word:
/// it is done once, told to everybody who asked before it was over, taken up by the next one where it was given
/// up, and refused as [`Closed`](ErrorKind::Closed) afterwards.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use agentchat_core::{CloseMode, CloseOnce, ErrorKind};
///
/// let end = CloseOnce::new();
/// let hang_up = |_mode| async { Ok(()) };
/// assert!(end.close(CloseMode::Detach, hang_up).await.is_ok());
/// let again = end.close(CloseMode::Detach, hang_up).await.expect_err("it is over");
/// assert_eq!(again.kind(), ErrorKind::Closed);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct CloseOnce {
    done: OnceCell<Done>,
    /// Those under way that want to retire.
    retiring: AtomicUsize,
}

impl CloseOnce {
    /// Nothing is closed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is closed. It is not while somebody is at it.
    pub fn is_done(&self) -> bool {
        self.done.initialized()
    }

    /// Closes by `closing`, or waits for who is at it already, and gives the result. Whatever that is, the
    /// attachment counts as closed then. `closing` is handed the mode to close in: [`Retire`](CloseMode::Retire)
    /// when any of those wants it who ask together. A network on which both are the same passes
    /// [`Detach`](CloseMode::Detach).
    ///
    /// Dropping the future gives `closing` up where it is, and the next one begins it anew: it must be able to
    /// go on from there. Who waits for it then begins its own. It takes two polls at least, so that those who
    /// ask in the same breath are in time.
    ///
    /// # Errors
    /// That of `closing`; the cause stays with who ran it. [`Closed`](ErrorKind::Closed) when it was over before,
    /// and for retiring what has been detached meanwhile. [`Timeout`](ErrorKind::Timeout) after 30 seconds of
    /// waiting for another closing, perhaps one that nobody polls; `closing` itself must end by its own deadline.
    pub async fn close<F, Fut>(&self, mode: CloseMode, closing: F) -> Result<()>
    where
        F: FnOnce(CloseMode) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        if let Some(done) = self.done.get() {
            return Err(closed_before("attachment", left_behind(done.mode, mode)));
        }
        let _wish = (mode == CloseMode::Retire).then(|| Wish::new(&self.retiring));
        let mut failed = None;
        let begun = AtomicBool::new(false);
        let (failure, begins) = (&mut failed, &begun);
        let run = || async move {
            begins.store(true, Ordering::Relaxed);
            yield_now().await;
            let wanted = self.retiring.load(Ordering::Acquire) > 0;
            let mode = if wanted { CloseMode::Retire } else { mode };
            *failure = closing(mode).await.err();
            Done { mode, failed: failure.as_ref().map(Error::copy) }
        };
        let done = tokio::select! {
            biased;
            done = self.done.get_or_init(run) => done,
            () = waited_long(&begun) => {
                let what = "an earlier closing of the attachment is still under way";
                return Err(Error::new(ErrorKind::Timeout, "close", what));
            }
        };
        match failed.or_else(|| done.failed.as_ref().map(Error::copy)) {
            Some(error) => Err(error),
            None if left_behind(done.mode, mode) => Err(closed_before("attachment", true)),
            None => Ok(()),
        }
    }
}

/// Returns when it was waited for too long for another who closes; never for who is at it.
async fn waited_long(begun: &AtomicBool) {
    // Who is alone needs no timer.
    if !begun.load(Ordering::Relaxed) {
        sleep(PATIENCE).await;
    }
    if begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// How it ended.
#[derive(Debug)]
struct Done {
    mode: CloseMode,
    failed: Option<Error>,
}

/// Somebody waits who wants to retire.
struct Wish<'a>(&'a AtomicUsize);

impl<'a> Wish<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether what was closed in the mode `done` leaves a registration that closing in `asked` would have ended.
pub(crate) fn left_behind(done: CloseMode, asked: CloseMode) -> bool {
    (done, asked) == (CloseMode::Detach, CloseMode::Retire)
}

/// The answer to who closes what was closed before. With `registered`, to detach, and retiring was asked for.
pub(crate) fn closed_before(what: &str, registered: bool) -> Error {
    let but =
        if registered { ": the agent was detached, and is still registered if it was before" } else { "" };
    Error::new(ErrorKind::Closed, "close", format!("the {what} was already closed{but}"))
}

/// How long one closing waits for another.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use CloseMode::{Detach, Retire};
    use futures_util::FutureExt;

    use super::*;
    use crate::error::{Advice, Reached};

    async fn ends(_: CloseMode) -> Result<()> {
        Ok(())
    }

    async fn fails(_: CloseMode) -> Result<()> {
        Err(Error::new(ErrorKind::Timeout, "close", "nobody answered").with_source("a cause"))
    }

    fn is_refused(answer: Result<()>, words: &[&str]) {
        let error = answer.expect_err("it was closed before");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"));
        assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No));
        for word in words {
            assert!(error.to_string().contains(word), "{error} lacks {word}");
        }
    }

    #[tokio::test]
    async fn who_comes_after_the_end_is_refused_and_told_of_what_was_left() {
        let end = CloseOnce::new();
        assert!(!end.is_done());
        end.close(Detach, ends).await.expect("closed");
        assert!(end.is_done());
        is_refused(end.close(Detach, ends).await, &["already closed"]);
        is_refused(end.close(Retire, ends).await, &["already closed", "detached", "still registered"]);
        let end = CloseOnce::new();
        end.close(Retire, ends).await.expect("closed");
        for mode in [Detach, Retire] {
            let error = end.close(mode, ends).await.expect_err("closed before");
            assert!(!error.to_string().contains("registered"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_waited_and_to_nobody_else() {
        use std::error::Error as _;
        let end = CloseOnce::new();
        let (one, two) = tokio::join!(end.close(Detach, fails), end.close(Detach, fails));
        let (one, two) = (one.expect_err("it failed"), two.expect_err("it failed"));
        assert_eq!((one.kind(), two.kind()), (ErrorKind::Timeout, ErrorKind::Timeout));
        assert!(one.source().is_some() && two.source().is_none(), "who ran it has the cause");
        is_refused(end.close(Detach, fails).await, &["already closed"]);
    }

    #[tokio::test]
    async fn all_who_ask_together_are_served_and_retired_when_one_wants_that() {
        let end = CloseOnce::new();
        let seen = Cell::new(None);
        let close = async |mode| {
            let closing = |mode| {
                assert_eq!(seen.replace(Some(mode)), None, "it is done once");
                yield_now().map(Ok)
            };
            end.close(mode, closing).await
        };
        let (one, two, three) = tokio::join!(close(Detach), close(Retire), close(Detach));
        one.and(two).and(three).expect("closed");
        assert_eq!(seen.get(), Some(Retire));
    }

    #[tokio::test]
    async fn who_wants_to_retire_what_is_being_detached_is_not_deceived() {
        let end = CloseOnce::new();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let mut detaching = std::pin::pin!(end.close(Detach, |_| gone.map(|_| Ok(()))));
        assert!(detaching.as_mut().now_or_never().is_none());
        assert!(detaching.as_mut().now_or_never().is_none(), "it is detaching now");
        let mut retiring = std::pin::pin!(end.close(Retire, ends));
        assert!(retiring.as_mut().now_or_never().is_none());
        go.send(()).expect("it waits");
        detaching.await.expect("detached");
        is_refused(retiring.await, &["detached", "still registered"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_held_and_not_polled_holds_nobody_up_for_ever() {
        let end = CloseOnce::new();
        let begun = tokio::time::Instant::now();
        let mut slow = Box::pin(end.close(Detach, |_| async {
            sleep(10 * PATIENCE).await;
            Ok(())
        }));
        assert!(slow.as_mut().now_or_never().is_none());
        let error = end.close(Detach, ends).await.expect_err("it is not known how it ends");
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, PATIENCE));
        slow.await.expect("who is at it has its own time");
        is_refused(end.close(Detach, ends).await, &["already closed"]);
    }

    #[test]
    fn who_closes_alone_needs_no_runtime() {
        let end = CloseOnce::new();
        let mut closing = std::pin::pin!(end.close(Detach, ends));
        assert!(closing.as_mut().now_or_never().is_none());
        closing.now_or_never().expect("it is over").expect("closed");
    }

    #[tokio::test]
    async fn one_that_was_given_up_is_taken_up_by_who_waits_or_comes_next() {
        let end = CloseOnce::new();
        for mode in [Detach, Retire] {
            let given_up = end.close(mode, |_| std::future::pending());
            assert!(tokio::time::timeout(Duration::from_millis(1), given_up).await.is_err());
        }
        assert!(!end.is_done());
        let mut first = Box::pin(end.close(Detach, |_| std::future::pending()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = std::pin::pin!(end.close(Detach, |mode| async move {
            assert_eq!(mode, Detach, "who wanted to retire is gone");
            Ok(())
        }));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await.expect("closed");
        is_refused(end.close(Detach, ends).await, &["already closed"]);
    }
}
