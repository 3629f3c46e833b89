//! An inbox being served, as its owner holds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::serve_stats::ServeStats;
use crate::error::{Error, ErrorKind};

/// An inbox being served. Dropping it, or the future of one of its methods, stops at once: handlers are
/// dropped, what they had not settled comes again.
#[derive(Debug)]
#[must_use = "dropping it stops serving"]
pub struct Serving {
    task: JoinHandle<Served>,
    control: Arc<Control>,
}

/// How serving ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Served {
    /// How many messages were taken in and not settled. They come again.
    pub unsettled: usize,
    /// How many deliveries were settled, but could not be acknowledged. They come again too, and whoever
    /// serves the inbox then cannot know that they were handled.
    pub unacknowledged: usize,
    /// What became of the others.
    pub stats: ServeStats,
    /// Why it ended, unless it was asked to.
    pub error: Option<Error>,
}

/// What stops a serving task, and what it left.
#[derive(Debug)]
pub(crate) struct Control {
    stop: watch::Sender<Stop>,
    unsettled: AtomicUsize,
    unacknowledged: AtomicUsize,
    stats: Mutex<ServeStats>,
    /// Whether it reads the agent's own inbox.
    pub(crate) own: bool,
}

/// How far a serving task has been stopped. It only moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// It serves.
    No,
    /// The inbox was lost: nothing is taken in, running handlers have a grace.
    Lost,
    /// Nothing is taken in, running handlers finish.
    Drain,
    /// The deadline for that has passed.
    Late,
    /// Nobody holds the agent any more.
    Gone,
}

impl Serving {
    pub(crate) fn new(task: JoinHandle<Served>, control: Arc<Control>) -> Self {
        Self { task, control }
    }

    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// What became of messages until now.
    pub fn stats(&self) -> ServeStats {
        self.control.stats()
    }

    /// Waits until serving ends, which it does when the attachment is lost, or the agent is closed or
    /// dropped. Running handlers finish first, up to [`ServeOptions::grace`](crate::ServeOptions::grace)
    /// or the deadline of closing. Dropping the future stops serving.
    pub async fn wait(mut self) -> Served {
        joined((&mut self.task).await, &self.control)
    }

    /// Stops taking messages in, lets running handlers finish and acknowledges what they settled. When
    /// `deadline` has passed the rest is dropped and comes again, and the error is
    /// [`Timeout`](ErrorKind::Timeout). Dropping the future stops at once.
    pub async fn stop(mut self, deadline: Duration) -> Served {
        self.control.stop(Stop::Drain);
        if let Ok(ended) = tokio::time::timeout(deadline, &mut self.task).await {
            return joined(ended, &self.control);
        }
        self.control.stop(Stop::Late);
        match tokio::time::timeout(LAST_WORDS, &mut self.task).await {
            Ok(ended) => joined(ended, &self.control),
            Err(_) => Served::late(0, 0, self.control.stats()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.control.stop(Stop::Late);
        self.task.abort();
    }
}

impl Served {
    pub(crate) fn late(unsettled: usize, unacknowledged: usize, stats: ServeStats) -> Self {
        let what = "not everything was done at the deadline, and the rest was dropped";
        let error = Some(Error::new(ErrorKind::Timeout, "serve", what));
        Self { unsettled, unacknowledged, stats, error }
    }
}

impl Control {
    pub(crate) fn new(own: bool) -> Self {
        let (unsettled, unacknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { stop: watch::Sender::new(Stop::No), unsettled, unacknowledged, stats: Mutex::default(), own }
    }

    pub(crate) fn publish(&self, stats: ServeStats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    fn stats(&self) -> ServeStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self, how: Stop) {
        self.stop.send_if_modified(|stop| {
            let further = how > *stop;
            *stop = how.max(*stop);
            further
        });
    }

    pub(crate) fn stopped(&self) -> Stop {
        *self.stop.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Stop> {
        self.stop.subscribe()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.stop.is_closed()
    }

    /// Waits until the task has ended.
    pub(crate) async fn ended(&self) {
        self.stop.closed().await;
    }

    pub(crate) fn leave(&self, unsettled: usize, unacknowledged: usize) {
        self.unacknowledged.store(unacknowledged, Ordering::Release);
        self.unsettled.store(unsettled, Ordering::Release);
    }

    /// How many messages the task left unsettled, and how many settled ones unacknowledged.
    pub(crate) fn left(&self) -> (usize, usize) {
        (self.unsettled.load(Ordering::Acquire), self.unacknowledged.load(Ordering::Acquire))
    }
}

fn joined(ended: Result<Served, JoinError>, control: &Control) -> Served {
    ended.unwrap_or_else(|error| Served {
        unsettled: 0,
        unacknowledged: 0,
        stats: control.stats(),
        error: Some(Error::new(ErrorKind::Unexpected, "serve", format!("the serving task died: {error}"))),
    })
}

/// What a task that was told to end at once needs for saying what it leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);
