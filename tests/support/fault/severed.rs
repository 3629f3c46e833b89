//! A proxy that breaks connections at a chosen byte, whatever is spoken over them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// The proxy. Dropping it ends all its connections.
pub struct Severed {
    port: u16,
    state: Arc<Mutex<State>>,
    listening: AbortHandle,
}

#[derive(Default)]
struct State {
    bytes: usize,
    /// In falling order.
    planned: Vec<usize>,
    done: usize,
}

impl Severed {
    /// Listens before the server at `port`. The connection that carries one of the bytes `at` breaks before
    /// it: they are counted over all connections and both directions.
    pub async fn before(port: u16, at: impl IntoIterator<Item = usize>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let mut planned: Vec<usize> = at.into_iter().collect();
        planned.sort_unstable_by(|one, other| other.cmp(one));
        let state = Arc::new(Mutex::new(State { planned, ..State::default() }));
        let listening = tokio::spawn(listen(listener, port, Arc::clone(&state))).abort_handle();
        Ok(Self { port: own, state, listening })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many cuts were made, and how many bytes came by.
    pub fn done(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.done, state.bytes)
    }
}

impl Drop for Severed {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    /// How many of the next `count` bytes go through; fewer than all of them if the connection breaks then.
    fn through(&mut self, count: usize) -> usize {
        let through = match self.planned.last() {
            Some(&at) if at < self.bytes + count => {
                self.planned.pop();
                self.done += 1;
                at.saturating_sub(self.bytes)
            }
            _ => count,
        };
        self.bytes += through;
        through
    }
}

async fn listen(listener: TcpListener, port: u16, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            // A cut that is late in its frame must not find the rest of it sent.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                () = pump(from_client, to_server, &state) => {}
                () = pump(from_server, to_client, &state) => {}
            }
        });
    }
}

/// Ends where the connection does.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &Mutex<State>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let through = lock(state).through(count);
        if to.write_all(&buffer[..through]).await.is_err() || through < count {
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no panic while held")
}
