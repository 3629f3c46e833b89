//! A session from its first connection to its end: how it stands, when to connect, when it is over.

#[cfg(test)]
pub(crate) mod model;
mod state;
#[cfg(test)]
mod tests;

use tokio::time::Instant;

pub use self::state::{CloseReason, SessionState};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::session::backoff::Backoff;

/// The states of a session, which begins with a connection.
///
/// Feed it what happens, take [`Lifecycle::poll`] until there is nothing, and ask again at
/// [`Lifecycle::deadline`].
///
/// | from | to | when |
/// |---|---|---|
/// | connecting | catching up, live | a connection was made |
/// | connecting, catching up, live | backing off | the attempt failed, or the connection was lost |
/// | backing off | connecting | its time has come, and it was asked |
/// | catching up, live | live, catching up | what waited is read; an inbox is opened that has more |
/// | any of these | draining | its owner closes it |
/// | any of these, draining | closed | it is ended; or it failed: see below |
///
/// - **Draining** goes on with its connections, or with making them, until everything is done. Then, or at its
///   time, it is told to finish, once; after that nothing is asked for any more. To retire takes a connection:
///   without one it waits for its time.
/// - **Failed**: the error is fatal, or the attempts are used up, or an attempt met what would only happen
///   again. A connection that was up could be made: that what ended it need not be tried again says nothing of
///   the next one.
/// - **Closed** is for good, and so is its reason. What happens after is not taken in.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    backoff: Backoff,
    link: Link,
    connects: u64,
    closing: Option<Closing>,
    ended: Option<(CloseReason, Error)>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LifecycleAction {
    /// Make a connection, and tell what came of it.
    Connect,
    /// Say the last words, and then end the session.
    Finish(CloseMode),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// One is being made, unless the session has ended.
    Down,
    Waiting(Instant),
}

#[derive(Debug)]
struct Closing {
    mode: CloseMode,
    until: Instant,
    finishing: bool,
    /// The last acknowledgements are sent.
    sealed: bool,
}

impl Lifecycle {
    /// With the first connection, made after `backoff` counted the failures before it.
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, link: Link::Up, connects: 1, closing: None, ended: None }
    }

    /// A connection was made. Returns whether it is wanted.
    pub(crate) fn on_connected(&mut self, now: Instant) -> bool {
        if self.has_ended() {
            return false;
        }
        self.backoff.connected(now);
        self.link = Link::Up;
        self.connects += 1;
        true
    }

    /// The connection was lost, or could not be made (`attempted`). Returns whether the session ends with it.
    pub(crate) fn on_lost(
        &mut self,
        error: Error,
        attempted: bool,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        if self.has_ended() {
            return false;
        }
        let advice = match error.advice() {
            Advice::Never if !attempted => Advice::Reconnect,
            advice => advice,
        };
        let again = if error.is_fatal() { None } else { self.backoff.failed(now, advice, rng) };
        match again {
            Some(at) => {
                self.link = Link::Waiting(at);
                false
            }
            None => self.end(CloseReason::failed(&error), error),
        }
    }

    /// Its owner closes it: nothing new is taken in, and it finishes at `until` at the latest. Returns whether
    /// that begins now. Who closes it again does not change the time, and may ask for more until it finishes.
    pub(crate) fn close(&mut self, mode: CloseMode, until: Instant) -> bool {
        if self.has_ended() {
            return false;
        }
        match &mut self.closing {
            None => {
                self.closing = Some(Closing { mode, until, finishing: false, sealed: false });
                return true;
            }
            Some(closing) if mode == CloseMode::Retire && !closing.finishing => closing.mode = mode,
            // Whoever asks for less has it done as well.
            Some(_) => {}
        }
        false
    }

    /// The last acknowledgements are sent: nothing is settled any more.
    pub(crate) fn seal(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.sealed = true;
        }
    }

    /// Ends it, if it has not ended. Returns whether that is news.
    pub(crate) fn end(&mut self, reason: CloseReason, why: Error) -> bool {
        if self.has_ended() {
            return false;
        }
        self.link = Link::Down;
        self.ended = Some((reason, why));
        true
    }

    /// What to do now. It is `drained` when closing has nothing more to wait for.
    pub(crate) fn poll(&mut self, now: Instant, drained: bool) -> Option<LifecycleAction> {
        if self.is_finishing() {
            return None;
        }
        if matches!(self.link, Link::Waiting(at) if at <= now) {
            self.link = Link::Down;
            return Some(LifecycleAction::Connect);
        }
        let attached = self.is_attached();
        let closing = self.closing.as_mut()?;
        let needs_connection = closing.mode == CloseMode::Retire && !attached;
        if closing.until > now && (!drained || needs_connection) {
            return None;
        }
        closing.finishing = true;
        Some(LifecycleAction::Finish(closing.mode))
    }

    /// When [`Lifecycle::poll`] has something to do though nothing happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.is_finishing() {
            return None;
        }
        let closing = self.closing.as_ref().map(|closing| closing.until);
        match (self.link, closing) {
            (Link::Waiting(at), Some(until)) => Some(at.min(until)),
            (Link::Waiting(at), None) => Some(at),
            (Link::Up | Link::Down, until) => until,
        }
    }

    /// How it stands, when what waited in the agent's own inbox is still being read (`catching_up`) or not.
    pub(crate) fn state(&self, catching_up: impl FnOnce() -> bool) -> SessionState {
        match (&self.ended, &self.closing, self.link) {
            (Some((reason, _)), ..) => SessionState::Closed(reason.clone()),
            (None, Some(_), _) => SessionState::Draining,
            (None, None, Link::Waiting(at)) => {
                SessionState::BackingOff { attempt: self.backoff.attempt(), until: at.into_std() }
            }
            (None, None, Link::Down) => SessionState::Connecting,
            (None, None, Link::Up) if catching_up() => SessionState::CatchingUp,
            (None, None, Link::Up) => SessionState::Live,
        }
    }

    /// # Errors
    /// `Closed` once nothing is taken in any more.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        let what = match (&self.ended, &self.closing) {
            (None, None) => return Ok(()),
            (None, Some(_)) => "the session is being closed".to_owned(),
            (Some((reason, _)), _) => format!("the session has ended: {reason}"),
        };
        Err(Error::new(ErrorKind::Closed, operation, what))
    }

    /// # Errors
    /// `Closed` once it has ended; closing it is not its end before the last acknowledgements are sent.
    pub(crate) fn check_ended(&self, operation: &'static str) -> Result<()> {
        if self.has_ended() || self.closing.as_ref().is_some_and(|closing| closing.sealed) {
            self.check_open(operation)
        } else {
            Ok(())
        }
    }

    /// Whether there is a connection.
    pub(crate) fn is_attached(&self) -> bool {
        self.link == Link::Up
    }

    /// Whether it was closed and has not ended.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some() && !self.has_ended()
    }

    /// In which mode it was closed, now or before its end.
    pub(crate) fn mode(&self) -> Option<CloseMode> {
        self.closing.as_ref().map(|closing| closing.mode)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The error it ended with.
    pub(crate) fn why_ended(&self) -> Option<&Error> {
        self.ended.as_ref().map(|(_, why)| why)
    }

    /// Connections made.
    pub(crate) fn connects(&self) -> u64 {
        self.connects
    }

    /// Whether nothing is asked for any more.
    fn is_finishing(&self) -> bool {
        self.has_ended() || self.closing.as_ref().is_some_and(|closing| closing.finishing)
    }
}
