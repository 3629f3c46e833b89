//! Things that go wrong on purpose.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::wire::hub::Hub;
use super::wire::outbox::Kind;
use super::wire::{Credentials, MQ9_PREFIX, encode};

/// The faults of one [`Broker`](super::Broker): each call takes effect at once, and lasts as long as it
/// says. Cheap to clone; all clones act on the same broker, across its restarts.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Arc<Hub>,
    script: Mutex<Script>,
    stalled: watch::Sender<Stall>,
}

#[derive(Default)]
struct Script {
    cut_next_after: VecDeque<u64>,
    drops: HashMap<String, u64>,
    slow: Duration,
    refuse: bool,
    expired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    No,
    Until(Instant),
    UntilReleased,
}

impl Faults {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let stalled = watch::Sender::new(Stall::No);
        Faults { shared: Arc::new(Shared { hub, script: Mutex::default(), stalled }) }
    }

    /// Cuts every connection there is. What was accepted stays accepted; replies on their way are lost.
    pub fn cut_all(&self) {
        self.shared.hub.for_each_outbox(|outbox| outbox.cut());
    }

    /// Cuts the next connection to be made once so many bytes of replies and messages were written to it,
    /// in the middle of a frame if it so falls. With 0, where its first reply would begin. The handshake,
    /// pings and errors do not count. Call it again for the connection after that, at most 1024 times.
    pub fn cut_after_bytes(&self, bytes: u64) {
        let mut script = self.script();
        if script.cut_next_after.len() < MAX_ARMED {
            script.cut_next_after.push_back(bytes);
        }
    }

    /// As [`Faults::cut_after_bytes`], but for every connection there is, counted from now.
    pub fn cut_open_after_bytes(&self, bytes: u64) {
        self.shared.hub.for_each_outbox(|outbox| outbox.cut_after(bytes));
    }

    /// Reads nothing from any connection for so long, as a server that hangs: no reply, no `PONG`. What
    /// was read before is finished; nothing is lost.
    pub fn stall(&self, duration: Duration) {
        self.shared.stalled.send_replace(Stall::Until(Instant::now() + duration));
    }

    /// As [`Faults::stall`], until [`Faults::release`].
    pub fn stall_until_released(&self) {
        self.shared.stalled.send_replace(Stall::UntilReleased);
    }

    /// Ends a stall.
    pub fn release(&self) {
        self.shared.stalled.send_replace(Stall::No);
    }

    /// Waits so long before each mq9 command. Zero ends it.
    pub fn slow(&self, per_command: Duration) {
        self.script().slow = per_command;
    }

    /// Carries out the next `count` commands of that name, then drops their replies. Names are the
    /// subject's, without address: `MSG.SEND` or `SEND`, `MAILBOX.CREATE` or `CREATE`, `AGENT.REGISTER`
    /// and so on. A second call for a name replaces the first; 0 ends it.
    ///
    /// # Panics
    ///
    /// If there is no such command: a fault that never strikes would make a test pass for nothing.
    pub fn drop_replies(&self, command: &str, count: u64) {
        let known = COMMANDS.iter().find(|known| names(known, command));
        let known = known.unwrap_or_else(|| panic!("there is no mq9 command named {command:?}"));
        self.script().drops.insert((*known).to_owned(), count);
    }

    /// Accepts no connection while on: each one made is closed before the first byte.
    pub fn refuse(&self, on: bool) {
        self.script().refuse = on;
    }

    /// Lets every login expire while on: each open connection is told so and closed, and no credentials
    /// are good, as if the broker asked for others.
    pub fn expire_logins(&self, on: bool) {
        self.script().expired = on;
        if on {
            self.shared.hub.for_each_outbox(|outbox| {
                outbox.push(encode::error("User Authentication Expired"), Kind::Control);
                outbox.finish();
            });
        }
    }

    /// Ends every fault that is still to come.
    pub fn clear(&self) {
        *self.script() = Script::default();
        self.release();
    }

    pub(crate) fn refuses(&self) -> bool {
        self.script().refuse
    }

    /// What a client has to log in with now. Nobody has what expired logins are replaced by.
    pub(crate) fn credentials(&self, usual: Option<&Credentials>) -> Option<Credentials> {
        match self.script().expired {
            true => Some(Credentials { user: String::new(), password: fastrand::u128(..).to_string() }),
            false => usual.cloned(),
        }
    }

    pub(crate) fn take_cut_after(&self) -> Option<u64> {
        self.script().cut_next_after.pop_front()
    }

    /// Returns once nothing is stalled. Cancel-safe.
    pub(crate) async fn pass(&self) {
        let mut stalled = self.shared.stalled.subscribe();
        loop {
            let stall = *stalled.borrow_and_update();
            match stall {
                Stall::No => return,
                Stall::Until(end) if Instant::now() >= end => return,
                Stall::Until(end) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(end) => {}
                        // The sender lives in `self`, so this cannot fail.
                        _ = stalled.changed() => {}
                    }
                }
                Stall::UntilReleased => {
                    let _ = stalled.changed().await;
                }
            }
        }
    }

    pub(crate) fn slowness(&self) -> Duration {
        self.script().slow
    }

    /// Whether the reply to the command just carried out is to be dropped; counts it if so.
    pub(crate) fn drops_reply(&self, subject: &str) -> bool {
        let mut script = self.script();
        if script.drops.is_empty() {
            return false;
        }
        let left = command_of(subject).and_then(|command| script.drops.get_mut(command));
        left.filter(|left| **left > 0).map(|left| *left -= 1).is_some()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = self.script();
        f.debug_struct("Faults")
            .field("stalled", &*self.shared.stalled.borrow())
            .field("slow", &script.slow)
            .field("refuse", &script.refuse)
            .field("expired", &script.expired)
            .field("cut_next_after", &script.cut_next_after)
            .field("drops", &script.drops)
            .finish()
    }
}

/// The command a subject names, if it names one.
fn command_of(subject: &str) -> Option<&'static str> {
    let rest = subject.strip_prefix(MQ9_PREFIX)?.strip_prefix('.')?;
    COMMANDS.into_iter().find(|command| {
        rest.strip_prefix(command).is_some_and(|address| address.is_empty() || address.starts_with('.'))
    })
}

fn names(command: &str, given: &str) -> bool {
    command == given || command.split_once('.').is_some_and(|(_, verb)| verb == given)
}

const COMMANDS: [&str; 10] = [
    "MAILBOX.CREATE",
    "MSG.SEND",
    "MSG.FETCH",
    "MSG.ACK",
    "MSG.QUERY",
    "MSG.DELETE",
    "AGENT.REGISTER",
    "AGENT.UNREGISTER",
    "AGENT.REPORT",
    "AGENT.DISCOVER",
];
const MAX_ARMED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_replies_are_counted_by_command() {
        let faults = Faults::new(Arc::default());
        faults.drop_replies("SEND", 2);
        faults.drop_replies("AGENT.REGISTER", 1);
        assert!(!faults.drops_reply("$mq9.AI.MSG.FETCH.a"));
        assert!(faults.drops_reply("$mq9.AI.MSG.SEND.a"));
        assert!(faults.drops_reply("$mq9.AI.MSG.SEND.b.c"));
        assert!(!faults.drops_reply("$mq9.AI.MSG.SEND.a"));
        assert!(!faults.drops_reply("$mq9.AI.AGENT.UNREGISTER"));
        assert!(faults.drops_reply("$mq9.AI.AGENT.REGISTER"));
    }

    #[test]
    #[should_panic(expected = "no mq9 command")]
    fn a_fault_for_an_unknown_command_is_refused() {
        Faults::new(Arc::default()).drop_replies("SENT", 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_ends_by_time_or_release() {
        let faults = Faults::new(Arc::default());
        let begin = Instant::now();
        faults.stall(Duration::from_secs(5));
        faults.pass().await;
        assert_eq!(begin.elapsed().as_secs(), 5);

        faults.stall_until_released();
        let releaser = faults.clone();
        let release = async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            releaser.release();
        };
        tokio::join!(faults.pass(), release);
        assert_eq!(begin.elapsed().as_secs(), 65);
    }
}
