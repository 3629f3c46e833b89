//! The mq9 broker double as a listener in this process.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::wire::connection::{Shared, Workers, serve};
use super::wire::hub::Hub;
use super::wire::{Credentials, WireProfile, due};
use super::{EngineHost, EngineProfile, Faults};

/// An mq9 broker listening on 127.0.0.1, with no external binary: the double's engine behind the NATS
/// protocol. TLS and other logins than user and password are left to a real NATS server with a
/// [`Responder`](super::Responder).
///
/// Dropping it ends everything at once.
pub struct Broker {
    config: BrokerBuilder,
    host: EngineHost,
    hub: Arc<Hub>,
    faults: Faults,
    port: u16,
    started: Instant,
    next_id: Arc<AtomicU64>,
    state: State,
}

/// What a [`Broker`] is made of. [`BrokerBuilder::start`] makes it.
#[derive(Clone)]
#[must_use = "a builder does nothing before it is started"]
pub struct BrokerBuilder {
    engine: EngineProfile,
    wire: WireProfile,
    host: Option<EngineHost>,
    data_dir: Option<PathBuf>,
    credentials: Option<Credentials>,
    port: u16,
    max_payload: usize,
    max_pending: usize,
}

impl Broker {
    /// A broker with RobustMQ's engine as built by default, standard NATS on the wire, everything in
    /// memory, no credentials, and a free port.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder {
            engine: EngineProfile::robustmq(),
            wire: WireProfile::Standard,
            host: None,
            data_dir: None,
            credentials: None,
            port: 0,
            max_payload: DEFAULT_MAX_PAYLOAD,
            max_pending: DEFAULT_MAX_PENDING,
        }
    }

    /// Where clients connect, without credentials: `mq9://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mq9://127.0.0.1:{}", self.port)
    }

    /// The same for a plain NATS client: `nats://127.0.0.1:PORT`.
    #[must_use]
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port; the same for the broker's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The engine at work. After [`Broker::restart`] with a data directory this is another one.
    #[must_use]
    pub fn host(&self) -> &EngineHost {
        &self.host
    }

    /// What can be made to go wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.hub.connections()
    }

    /// Stops listening, cuts all connections, and returns when nothing of them is left.
    ///
    /// # Panics
    ///
    /// If one of the broker's tasks did; a panic in one connection ends the whole broker.
    pub async fn stop(mut self) {
        self.halt().await;
    }

    /// Cuts all connections, forgets what is in memory, opens the data directory again and listens on the
    /// same port. Without a data directory the engine is kept: only the connections are lost.
    ///
    /// # Errors
    ///
    /// If the data directory cannot be read, a clone of its [`Broker::host`] still has it open
    /// ([`io::ErrorKind::WouldBlock`]), or the port was taken meanwhile. The broker is then down.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.down().await?;
        if let Some(dir) = &self.config.data_dir {
            // The old engine goes first, so that two never have the same files open.
            self.host = EngineHost::in_memory(self.config.engine.clone());
            self.host = EngineHost::with_data_dir(self.config.engine.clone(), dir)?;
        }
        self.up().await
    }

    /// Stops listening and cuts all connections. The engine lives on, and the port stays reserved: clients
    /// are refused until [`Broker::up`]. Nothing happens if it is down already.
    ///
    /// # Errors
    ///
    /// If another process took the port in the moment between.
    pub async fn down(&mut self) -> io::Result<()> {
        if matches!(self.state, State::Up(_)) {
            self.halt().await;
            self.state = State::Reserved(bind_again(self.port).await?);
        }
        Ok(())
    }

    /// Listens again on the same port. Nothing happens if it is up already.
    ///
    /// # Errors
    ///
    /// If the port was taken meanwhile.
    pub async fn up(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.state, State::Down) {
            State::Up(running) => {
                self.state = State::Up(running);
                return Ok(());
            }
            State::Reserved(socket) => socket,
            State::Down => bind_again(self.port).await?,
        };
        self.state = State::Up(self.run(socket.listen(BACKLOG)?));
        Ok(())
    }

    fn run(&self, listener: TcpListener) -> Running {
        let (due_sender, due_receiver) = due::channel();
        let shared = Arc::new(Shared {
            profile: self.config.wire,
            credentials: self.config.credentials.clone(),
            port: self.port,
            max_payload: self.config.max_payload,
            max_pending: self.config.max_pending,
            started: self.started,
            host: self.host.clone(),
            hub: Arc::clone(&self.hub),
            faults: self.faults.clone(),
            due: due_sender,
            workers: Workers::new(),
        });
        let mut tasks = JoinSet::new();
        let hub = Arc::clone(&self.hub);
        let deliver = move |reply| {
            hub.reply(reply);
            std::future::ready(())
        };
        tasks.spawn(due::deliver_when_due(self.host.clone(), due_receiver, deliver));
        let (stop, stopped) = oneshot::channel();
        let mut accept = JoinSet::new();
        accept.spawn(accept_all(listener, shared, Arc::clone(&self.next_id), stopped));
        Running { stop, accept, tasks }
    }

    async fn halt(&mut self) {
        if let State::Up(mut running) = std::mem::replace(&mut self.state, State::Down) {
            // Fails only if the task is gone, which is what is wanted.
            let _ = running.stop.send(());
            while let Some(ended) = running.accept.join_next().await {
                surface(ended);
            }
            running.tasks.abort_all();
            while let Some(ended) = running.tasks.join_next().await {
                surface(ended);
            }
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("port", &self.port)
            .field("wire", &self.config.wire)
            .field("up", &matches!(self.state, State::Up(_)))
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

impl BrokerBuilder {
    /// What the engine answers.
    pub fn engine(mut self, profile: EngineProfile) -> Self {
        self.engine = profile;
        self
    }

    /// How the connection behaves.
    pub fn wire(mut self, profile: WireProfile) -> Self {
        self.wire = profile;
        self
    }

    /// Uses this engine, for instance one shared with another listener. Then neither
    /// [`BrokerBuilder::engine`] nor [`BrokerBuilder::data_dir`] has a say.
    pub fn host(mut self, host: EngineHost) -> Self {
        self.host = Some(host);
        self
    }

    /// Keeps mailboxes, messages, offsets and agents in this directory, which is made if need be.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Asks clients for this user and password.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// Listens on this port; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The largest payload in bytes, headers included, that `INFO` advertises; 1 MiB by default.
    /// [`WireProfile::Standard`] enforces it; [`WireProfile::RobustMq`] takes 8 MiB whatever it says.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Cuts a client for which more than so many bytes wait to be written; 64 MiB by default.
    pub fn max_pending(mut self, bytes: usize) -> Self {
        self.max_pending = bytes;
        self
    }

    /// Opens the engine and listens. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// If the port is taken, the data directory cannot be used, or both an engine and a data directory
    /// were given.
    pub async fn start(mut self) -> io::Result<Broker> {
        let host = match (self.host.take(), &self.data_dir) {
            (Some(_), Some(_)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a data directory cannot be given to an engine that exists already",
                ));
            }
            (Some(host), None) => host,
            (None, Some(dir)) => EngineHost::with_data_dir(self.engine.clone(), dir)?,
            (None, None) => EngineHost::in_memory(self.engine.clone()),
        };
        let socket = bind(self.port)?;
        let port = socket.local_addr()?.port();
        let hub = Arc::new(Hub::default());
        let mut broker = Broker {
            config: self,
            host,
            faults: Faults::new(Arc::clone(&hub)),
            hub,
            port,
            started: Instant::now(),
            next_id: Arc::new(AtomicU64::new(1)),
            state: State::Reserved(socket),
        };
        broker.up().await?;
        Ok(broker)
    }
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder")
            .field("wire", &self.wire)
            .field("port", &self.port)
            .field("credentials", &self.credentials.is_some())
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

enum State {
    Up(Running),
    /// Bound and not listening: connections are refused, yet nobody else is given the port.
    Reserved(TcpSocket),
    Down,
}

/// Dropping it aborts the tasks, and with the accepting one all connections.
struct Running {
    stop: oneshot::Sender<()>,
    accept: JoinSet<()>,
    tasks: JoinSet<()>,
}

async fn accept_all(
    listener: TcpListener,
    shared: Arc<Shared>,
    next_id: Arc<AtomicU64>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(ended) = connections.join_next() => surface(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if !shared.faults.refuses() && connections.len() < MAX_CONNECTIONS {
                        let id = next_id.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(serve(stream, id, Arc::clone(&shared)));
                    }
                }
                // Out of descriptors, most likely: some connection has to end first.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Passes a panic on to whoever waits for the task, so that no test goes on with half a broker.
pub(super) fn surface(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(super) fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections of the life before may still be dying on this port.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// [`bind`] to a port that was ours until now. Another connection may have been given it in between, and gives
/// it back.
pub(super) async fn bind_again(port: u16) -> io::Result<TcpSocket> {
    let mut tries = 0;
    loop {
        match bind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => tries += 1,
            bound => return bound,
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

const DEFAULT_MAX_PAYLOAD: usize = 1024 * 1024;
const DEFAULT_MAX_PENDING: usize = 64 * 1024 * 1024;
const MAX_CONNECTIONS: usize = 10_000;
const BACKLOG: u32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const PORT_TRIES: u32 = 200;
