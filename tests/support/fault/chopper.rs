//! A proxy before a broker that breaks connections at a chosen frame of the NATS protocol: before it, behind
//! it, or in the middle of its bytes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Where a connection breaks.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Which frame, counted over all connections and both directions.
    pub frame: u64,
    /// How much of it goes through, in 256ths: 0 is nothing, 256 is all of it.
    pub through: usize,
    /// Whether every other connection breaks with it.
    pub all: bool,
}

/// The proxy. Dropping it ends all its connections.
pub struct Chopper {
    port: u16,
    state: Arc<Mutex<State>>,
    cut_all: watch::Sender<u64>,
    listening: AbortHandle,
}

#[derive(Default)]
struct State {
    frames: u64,
    planned: Vec<Cut>,
    done: Vec<Cut>,
}

impl Chopper {
    /// Listens before the broker at `port`.
    pub async fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let state: Arc<Mutex<State>> = Arc::default();
        let cut_all = watch::Sender::new(0);
        let pipe = Pipe { state: Arc::clone(&state), cut_all: cut_all.clone() };
        let listening = tokio::spawn(listen(listener, port, pipe)).abort_handle();
        Ok(Self { port: own, state, cut_all, listening })
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("mq9://127.0.0.1:{}", self.port)
    }

    /// Breaks a connection there.
    pub fn cut(&self, cut: Cut) {
        self.lock().planned.push(cut);
    }

    /// Breaks every connection now.
    pub fn cut_now(&self) {
        self.cut_all.send_modify(|cuts| *cuts += 1);
    }

    /// How many frames have come by.
    pub fn frames(&self) -> u64 {
        self.lock().frames
    }

    /// The cuts that were made.
    pub fn done(&self) -> usize {
        self.lock().done.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

impl Drop for Chopper {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[derive(Clone)]
struct Pipe {
    state: Arc<Mutex<State>>,
    cut_all: watch::Sender<u64>,
}

async fn listen(listener: TcpListener, port: u16, pipe: Pipe) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let pipe = pipe.clone();
                connections.spawn(async move { pipe.connect(client, port).await });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

impl Pipe {
    async fn connect(self, client: TcpStream, port: u16) -> io::Result<()> {
        let broker = TcpStream::connect(("127.0.0.1", port)).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let mut cuts = self.cut_all.subscribe();
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        // Whatever ends first takes the whole connection with it.
        tokio::select! {
            ended = self.copy(from_client, to_broker) => ended,
            ended = self.copy(from_broker, to_client) => ended,
            _ = cuts.changed() => Ok(()),
        }
    }

    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            while let Some(length) = frame(&buffer) {
                let Some(cut) = self.count() else {
                    to.write_all(&buffer[..length]).await?;
                    buffer.drain(..length);
                    continue;
                };
                to.write_all(&buffer[..length * cut.through / 256]).await?;
                if cut.all {
                    self.cut_all.send_modify(|cuts| *cuts += 1);
                }
                return Ok(());
            }
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Counts a frame, and says where to cut it.
    fn count(&self) -> Option<Cut> {
        let mut state = self.state.lock().expect("no panic while held");
        let number = state.frames;
        state.frames += 1;
        let at = state.planned.iter().position(|cut| cut.frame == number)?;
        let cut = state.planned.swap_remove(at);
        state.done.push(cut);
        Some(cut)
    }
}

/// How long the first frame is, once it is there.
fn frame(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let words = std::str::from_utf8(&bytes[..line - 2]).unwrap_or_default();
    let carries = ["PUB ", "HPUB ", "MSG ", "HMSG "].iter().any(|verb| words.starts_with(verb));
    let payload = words.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok()).filter(|_| carries);
    let length = line + payload.map_or(0, |payload| payload + 2);
    (bytes.len() >= length).then_some(length)
}
