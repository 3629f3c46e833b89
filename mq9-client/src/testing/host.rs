//! An engine with a real clock, shared by connections, and kept on disk if wanted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::engine::{Change, Command, Engine, EngineProfile, Outcome, Verb};
use super::journal::Journal;

/// An [`Engine`] with a real clock, command counters and, if wanted, a journal. Clones share it.
///
/// Calls are carried out one at a time, in the order in which they get the lock; none of them waits for
/// anything but the lock and, with a data directory, the write to the journal.
#[derive(Clone)]
pub struct EngineHost(Arc<Mutex<State>>);

struct State {
    engine: Engine,
    journal: Option<Journal>,
    /// Set once the journal could not be written: from then on memory is ahead of the disk.
    broken: bool,
    shift: Duration,
    counts: CommandCounts,
}

/// How many commands of each kind were submitted, refused ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CommandCounts {
    /// `MAILBOX.CREATE`.
    pub creates: u64,
    /// `MSG.SEND`.
    pub sends: u64,
    /// `MSG.FETCH`.
    pub fetches: u64,
    /// `MSG.ACK`.
    pub acks: u64,
    /// `MSG.QUERY`.
    pub queries: u64,
    /// `MSG.DELETE`.
    pub deletes: u64,
    /// `AGENT.REGISTER`.
    pub registers: u64,
    /// `AGENT.UNREGISTER`.
    pub unregisters: u64,
    /// `AGENT.REPORT`.
    pub reports: u64,
    /// `AGENT.DISCOVER`.
    pub discovers: u64,
    /// Subjects that begin like mq9 and name no command.
    pub unrecognized: u64,
    /// Plain subjects.
    pub plain: u64,
}

impl EngineHost {
    /// A host whose state goes with it.
    pub fn in_memory(profile: EngineProfile) -> Self {
        let mut engine = Engine::new(profile);
        engine.tick(unix_now());
        Self::new(engine, None)
    }

    /// A host whose state lives in `dir`, which is made if it does not exist.
    ///
    /// Every change is in the journal there before its reply is returned, so it survives a killed process;
    /// it is not forced to the medium, so it may not survive a power cut. The journal only grows. A last
    /// line that was cut short is dropped; what lay in topics made by plain publishes is not kept, as on
    /// the broker.
    ///
    /// # Errors
    /// The directory cannot be used; another host has it open ([`io::ErrorKind::WouldBlock`]); the journal
    /// is damaged, of an unknown version, or of another profile ([`io::ErrorKind::InvalidData`]).
    pub fn with_data_dir(profile: EngineProfile, dir: &Path) -> io::Result<Self> {
        let (journal, mut engine) = Journal::open(dir, profile, unix_now())?;
        engine.tick(unix_now());
        Ok(Self::new(engine, Some(journal)))
    }

    /// Carries out one command now.
    ///
    /// Once the journal cannot be written, every mq9 command is answered with an error on the connection,
    /// the one that met it included.
    pub fn submit(&self, command: Command<'_>) -> Outcome {
        let mut state = self.lock();
        let verb = Verb::of(command.subject);
        state.counts.count(verb);
        if state.broken {
            return if verb == Verb::Plain { Outcome::NotMq9 } else { broken() };
        }
        let now_ms = state.now_ms();
        let (outcome, change) = state.engine.apply(now_ms, command);
        if change == Change::None {
            return outcome;
        }
        let at_ms = state.engine.now_ms();
        let written = match &mut state.journal {
            Some(journal) => journal.append(at_ms, command, &change),
            None => Ok(()),
        };
        state.broken = written.is_err();
        if state.broken && verb != Verb::Plain { broken() } else { outcome }
    }

    /// How many commands came so far.
    pub fn counts(&self) -> CommandCounts {
        self.lock().counts
    }

    /// Moves the host's clock forward, for tests of lifetimes and delays, and carries out what falls due.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.shift = state.shift.saturating_add(by);
        let now_ms = state.now_ms();
        state.engine.tick(now_ms);
    }

    /// The host's clock, in milliseconds since 1970: the real one plus what it was advanced by, and never
    /// behind what its journal has seen. [`Outcome::ReplyAt`] is in this time.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms()
    }

    /// [`Engine::next_deadline`] in the host's time.
    pub fn next_deadline(&self) -> Option<u64> {
        self.lock().engine.next_deadline()
    }

    /// [`Engine::tick`] at the host's time.
    pub fn tick(&self) {
        let mut state = self.lock();
        let now_ms = state.now_ms();
        state.engine.tick(now_ms);
    }

    pub(super) fn new(engine: Engine, journal: Option<Journal>) -> Self {
        let (shift, counts) = (Duration::ZERO, CommandCounts::default());
        Self(Arc::new(Mutex::new(State { engine, journal, broken: false, shift, counts })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere left no command half done: the engine itself does not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EngineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("EngineHost")
            .field("engine", &state.engine)
            .field("durable", &state.journal.is_some())
            .field("broken", &state.broken)
            .field("counts", &state.counts)
            .finish_non_exhaustive()
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        unix_now().saturating_add(millis(self.shift)).max(self.engine.now_ms())
    }
}

impl CommandCounts {
    fn count(&mut self, verb: Verb<'_>) {
        *match verb {
            Verb::Create => &mut self.creates,
            Verb::Send(_) => &mut self.sends,
            Verb::Fetch(_) => &mut self.fetches,
            Verb::Ack => &mut self.acks,
            Verb::Query(_) => &mut self.queries,
            Verb::Delete { .. } => &mut self.deletes,
            Verb::Register => &mut self.registers,
            Verb::Unregister => &mut self.unregisters,
            Verb::Report => &mut self.reports,
            Verb::Discover => &mut self.discovers,
            Verb::Unrecognized => &mut self.unrecognized,
            Verb::Plain => &mut self.plain,
        } += 1;
    }
}

fn broken() -> Outcome {
    Outcome::ServerError("the journal of this broker cannot be written".into())
}

fn unix_now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(host: &EngineHost, subject: &str, header: Option<&[u8]>, payload: &[u8]) -> String {
        match host.submit(Command { subject, header, payload }) {
            Outcome::Reply(body) => String::from_utf8_lossy(&body).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn advancing_the_clock_lets_mailboxes_expire_and_delayed_messages_arrive() {
        let host = EngineHost::in_memory(EngineProfile::robustmq());
        for name in ["a", "short"] {
            let body = format!(r#"{{"name":"{name}","ttl":{}}}"#, if name == "a" { 0 } else { 30 });
            submit(&host, "$mq9.AI.MAILBOX.CREATE", None, body.as_bytes());
        }
        let delay = b"NATS/1.0\r\nmq9-delay: 300\r\n\r\n";
        submit(&host, "$mq9.AI.MSG.SEND.a", Some(delay), b"later");
        let started = host.now_ms();
        assert!(host.next_deadline().is_some_and(|at| at <= started + 120_000), "the collector's next pass");
        host.advance(Duration::from_secs(301));
        assert!(host.now_ms() >= started + 301_000);
        assert_eq!(host.next_deadline(), None, "advancing carries out what fell due");
        assert!(submit(&host, "$mq9.AI.MSG.QUERY.a", None, b"").contains(r#""payload":"later""#));
        assert!(submit(&host, "$mq9.AI.MSG.SEND.short", None, b"").contains("does not exist"));
    }

    #[test]
    fn every_command_is_counted_also_by_clones() {
        let host = EngineHost::in_memory(EngineProfile::robustmq());
        let other = host.clone();
        for subject in ["$mq9.AI.MSG.SEND.a", "$mq9.AI.MSG.SEND.a", "$mq9.AI.MSG.ACK.a", "$mq9.AI.x", "y"] {
            submit(&other, subject, None, b"");
        }
        let counts = host.counts();
        assert_eq!((counts.sends, counts.acks, counts.unrecognized, counts.plain), (2, 1, 1, 1));
        assert_eq!(counts.fetches, 0);
    }
}
