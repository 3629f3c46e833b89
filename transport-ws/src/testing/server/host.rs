//! The engine with its clock, its sockets and its faults.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::outbox::Outbox;
use super::webhook;
use crate::testing::clock::Clock;
use crate::testing::engine::{Effect, Engine, Moment, SocketId};
use crate::testing::faults::{Script, Write};
use crate::testing::journal::{Journal, JournalEntry};

/// What every connection of one server shares, across restarts.
pub(crate) struct Host {
    engine: Mutex<Engine>,
    pub(crate) clock: Clock,
    pub(crate) script: Script,
    pub(crate) journal: Journal,
    outboxes: Mutex<HashMap<SocketId, Arc<Outbox>>>,
    tasks: Mutex<Tasks>,
    /// Something may be due sooner than was thought.
    wake: Notify,
    /// Counts changes, for those who wait for one.
    changed: watch::Sender<u64>,
    last_socket: AtomicU64,
    names: Mutex<fastrand::Rng>,
    own: Weak<Host>,
}

#[derive(Default)]
struct Tasks {
    connections: JoinSet<()>,
    sockets: JoinSet<()>,
}

impl Host {
    pub(crate) fn new(engine: Engine, clock: Clock, seed: u64) -> Arc<Self> {
        Arc::new_cyclic(|own| Host {
            engine: Mutex::new(engine),
            clock,
            script: Script::default(),
            journal: Journal::default(),
            outboxes: Mutex::default(),
            tasks: Mutex::default(),
            wake: Notify::new(),
            changed: watch::Sender::new(0),
            last_socket: AtomicU64::new(0),
            names: Mutex::new(fastrand::Rng::with_seed(seed)),
            own: own.clone(),
        })
    }

    /// Lets the engine do something, and does what it asks for in turn.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Engine, Moment) -> R) -> R {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut engine, self.clock.now());
        // Under the lock, so that each socket gets its frames in the order in which they came about.
        self.dispatch(&mut engine);
        drop(engine);
        self.wake.notify_one();
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Looks at the engine without changing it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Engine) -> R) -> R {
        look(&self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns once that holds. Cancel-safe.
    pub(crate) async fn until(&self, holds: impl Fn(&Engine) -> bool) {
        let mut changed = self.changed.subscribe();
        while !self.look(&holds) {
            // The sender lives in `self`, so this cannot fail.
            let _ = changed.changed().await;
        }
    }

    /// Does what is due, for ever.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let woken = self.wake.notified();
            let now = self.clock.now();
            match self.look(Engine::due) {
                Some(due) if due <= now => self.with(Engine::tick),
                Some(due) => {
                    tokio::select! {
                        () = self.clock.until(due) => {}
                        () = woken => {}
                    }
                }
                None => woken.await,
            }
        }
    }

    /// Numbers a socket and gives it a queue.
    pub(crate) fn open_socket(&self) -> (SocketId, Arc<Outbox>) {
        let socket = self.last_socket.fetch_add(1, Ordering::Relaxed) + 1;
        let outbox = Arc::new(Outbox::new(self.look(|engine| engine.switches.send_buffer)));
        self.outboxes().insert(socket, Arc::clone(&outbox));
        (socket, outbox)
    }

    pub(crate) fn drop_socket(&self, socket: SocketId, code: Option<u16>) {
        if self.outboxes().remove(&socket).is_some() {
            self.journal.note(JournalEntry::Gone { socket, code });
        }
        self.with(|engine, now| engine.closed(now, socket));
    }

    /// Writes frames past all faults, where their sockets still are.
    pub(crate) fn write_now(&self, frames: Vec<(SocketId, Arc<str>)>) {
        for (socket, text) in frames {
            let outbox = self.outboxes().get(&socket).cloned();
            if let Some(outbox) = outbox {
                self.journal.note(JournalEntry::Sent { socket, text: text.to_string() });
                outbox.text(text);
            }
        }
    }

    pub(crate) fn spawn_connection(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.connections.try_join_next().is_some() {}
        tasks.connections.spawn(task);
    }

    pub(crate) fn spawn_socket(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.sockets.try_join_next().is_some() {}
        tasks.sockets.spawn(task);
    }

    /// Ends every request that is under way. Sockets stay.
    pub(crate) fn cut_requests(&self) {
        self.tasks().connections.abort_all();
    }

    pub(crate) fn cut_all(&self) {
        self.cut_requests();
        for outbox in self.outboxes().values() {
            outbox.cut();
        }
    }

    /// Everything ends at once, as when the process dies; the engine forgets its sockets in silence.
    pub(crate) fn crash(&self) {
        self.look_mut(Engine::crash);
        self.outboxes().clear();
        let mut tasks = self.tasks();
        tasks.connections.abort_all();
        tasks.sockets.abort_all();
    }

    /// A name for a request that brings none.
    pub(crate) fn request_id(&self) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = names.u128(..).to_be_bytes();
        drop(names);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn look_mut(&self, work: impl FnOnce(&mut Engine)) {
        work(&mut self.engine.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn dispatch(&self, engine: &mut Engine) {
        loop {
            let effects = engine.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out(engine, effect);
            }
        }
    }

    fn carry_out(&self, engine: &mut Engine, effect: Effect) {
        match effect {
            Effect::Frame { socket, text, hello: true } => {
                for write in self.script.hello(text) {
                    self.write(engine, socket, write);
                }
            }
            Effect::Frame { socket, text, hello: false } => {
                let (writes, end) = self.script.push(socket, text);
                for write in writes {
                    self.write(engine, socket, write);
                }
                match end {
                    Some(end) if end.code == 1006 => {
                        self.end(socket, end.code, "", |outbox| outbox.cut());
                    }
                    Some(end) => engine.close(socket, end.code, &end.reason),
                    None => {}
                }
            }
            Effect::Ping(socket) => {
                if let Some(outbox) = self.outboxes().get(&socket) {
                    outbox.ping();
                }
            }
            Effect::Close { socket, code, reason } => {
                self.end(socket, code, &reason, |outbox| outbox.close(code, &reason));
            }
            Effect::Cut(socket) => self.end(socket, 1006, "", |outbox| outbox.cut()),
            Effect::Webhook(call) => {
                let Some(host) = self.own.upgrade() else { return };
                self.spawn_socket(async move {
                    let accepted = webhook::post(&call).await;
                    host.with(|engine, now| engine.webhook_answered(now, &call.delivery, accepted));
                });
            }
        }
    }

    fn write(&self, engine: &mut Engine, socket: SocketId, write: Write) {
        let outbox = self.outboxes().get(&socket).cloned();
        let Some(outbox) = outbox else { return };
        match write {
            Write::Pause(pause) => outbox.pause(pause),
            Write::Text(text) => {
                if outbox.text(Arc::clone(&text)) {
                    self.journal.note(JournalEntry::Sent { socket, text: text.to_string() });
                } else {
                    outbox.overflow(OVERLOAD.0, OVERLOAD.1);
                    engine.close(socket, OVERLOAD.0, OVERLOAD.1);
                }
            }
        }
    }

    fn end(&self, socket: SocketId, code: u16, reason: &str, end: impl FnOnce(&Outbox)) {
        if let Some(outbox) = self.outboxes().get(&socket) {
            self.journal.note(JournalEntry::Closed { socket, code, reason: reason.to_owned() });
            end(outbox);
        }
    }

    fn outboxes(&self) -> MutexGuard<'_, HashMap<SocketId, Arc<Outbox>>> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const OVERLOAD: (u16, &str) = (1013, "overload");
