//! Futures that are dropped wherever they wait.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use agentchat_core::{ErrorKind, Result};

/// Polls `future` until it is ready, or has been pending `times` times: then it is dropped where it waits.
/// `Some` is what it gave.
pub async fn pending_at_most<F: Future>(times: usize, future: F) -> Option<F::Output> {
    if times == 0 {
        // Not even polled once.
        drop(future);
        return None;
    }
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            polls += 1;
            if polls >= times { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// What closing came to is told once: to the `first`, or to who does it `again` when that one was dropped.
pub fn told_once<T: std::fmt::Debug>(first: Option<&Result<T>>, again: &Result<T>) {
    let refused = again.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed);
    assert_eq!(refused, first.is_some(), "{first:?}, then {again:?}");
}

/// When a future is dropped.
#[derive(Debug, Clone, Copy)]
pub enum Cutoff {
    /// When it has been pending so often.
    Polls(usize),
    /// When so many milliseconds have passed.
    Millis(u64),
}

impl Cutoff {
    /// What `future` gave, unless it was dropped before.
    pub async fn run<F: Future>(self, future: F) -> Option<F::Output> {
        match self {
            // What waits for nothing that comes is dropped after a while, too.
            Self::Polls(times) => {
                let bounded = tokio::time::timeout(60 * super::SECOND, pending_at_most(times, future));
                bounded.await.ok().flatten()
            }
            Self::Millis(millis) => {
                tokio::time::timeout(std::time::Duration::from_millis(millis), future).await.ok()
            }
        }
    }
}

/// Runs `round` with ever later cutoffs until it says that its future came to its end: first at every poll,
/// then at every millisecond. No round leaves a task behind.
pub async fn everywhere(what: &str, mut round: impl AsyncFnMut(Cutoff) -> bool) {
    let (polls, millis) = ((0..).map(Cutoff::Polls), (0..).map(Cutoff::Millis));
    let mut at = None;
    let told = Told(what, &mut at);
    for cutoffs in [&mut polls.take(MOST) as &mut dyn Iterator<Item = Cutoff>, &mut millis.take(MOST)] {
        let mut ended = false;
        for cutoff in cutoffs {
            *told.1 = Some(cutoff);
            ended = round(cutoff).await;
            super::script::rest().await;
            assert_eq!(super::tasks(), 0, "a task is left");
            if ended {
                break;
            }
        }
        assert!(ended, "{what} does not come to its end");
    }
}

/// Says where it failed.
struct Told<'a>(&'a str, &'a mut Option<Cutoff>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} was dropped at {:?}", self.0, self.1);
        }
    }
}

/// More await points than anything here has.
const MOST: usize = 1_000;
