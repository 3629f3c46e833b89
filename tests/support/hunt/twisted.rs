//! A proxy that tells what a server says wrongly, without a change in length: numbers become others, ids become
//! ids that were seen before. So whatever frames there are stay whole.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The proxy. Dropping it ends all its connections.
pub struct Twisted {
    port: u16,
    mind: Arc<Mind>,
    listening: AbortHandle,
}

struct Mind {
    lies: AtomicBool,
    told: AtomicU64,
    dice: Mutex<fastrand::Rng>,
    /// By the word before it: what followed that word.
    seen: Mutex<Vec<Vec<Vec<u8>>>>,
    cut: watch::Sender<u64>,
}

/// Words before numbers and ids, of both networks.
const WORDS: [&[u8]; 9] = [
    b"\"seq\":",
    b"\"msg_id\":",
    b"\"id\":\"",
    b"\"message_id\":\"",
    b"\"conversation_id\":\"",
    b"\"delivery_id\":\"",
    b"\"client_msg_id\":\"",
    b"\"sender\":\"",
    b"\"create_time\":",
];

impl Twisted {
    pub async fn before(port: u16, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let mind = Arc::new(Mind {
            lies: AtomicBool::new(true),
            told: AtomicU64::new(0),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            seen: Mutex::new(vec![Vec::new(); WORDS.len()]),
            cut: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, port, Arc::clone(&mind))).abort_handle();
        Ok(Self { port: own, mind, listening })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many lies were told.
    pub fn told(&self) -> u64 {
        self.mind.told.load(Ordering::SeqCst)
    }

    /// Tells the truth from now on, over new connections.
    pub fn repent(&self) {
        self.mind.lies.store(false, Ordering::SeqCst);
        self.mind.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Twisted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, port: u16, mind: Arc<Mind>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mind = Arc::clone(&mind);
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let mut cut = mind.cut.subscribe();
            tokio::select! {
                () = pump(from_client, to_server, None) => {}
                () = pump(from_server, to_client, Some(&mind)) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mind: Option<&Mind>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if let Some(mind) = mind {
            mind.twist(&mut buffer[..count]);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

impl Mind {
    fn twist(&self, bytes: &mut [u8]) {
        if !self.lies.load(Ordering::SeqCst) {
            return;
        }
        let (mut dice, mut seen) = (self.dice.lock().expect("no panic"), self.seen.lock().expect("no panic"));
        for (word, seen) in WORDS.iter().zip(seen.iter_mut()) {
            let mut at = 0;
            while let Some(found) = bytes[at..].windows(word.len()).position(|window| window == *word) {
                let start = at + found + word.len();
                let is_text = word.ends_with(b"\"");
                let within = |byte: &u8| if is_text { *byte != b'"' } else { byte.is_ascii_digit() };
                let end = start + bytes[start..].iter().take_while(|byte| within(byte)).count();
                at = end;
                if start == end {
                    continue;
                }
                if seen.len() < 500 {
                    seen.push(bytes[start..end].to_vec());
                }
                if dice.u8(0..6) != 0 {
                    continue;
                }
                // An id of mq9 that is still to come would be acknowledged, and with it what comes before it.
                let is_place = word.starts_with(b"\"msg_id");
                let is_apt =
                    |it: &&Vec<u8>| it.len() == end - start && (!is_place || it[..] <= bytes[start..end]);
                let same: Vec<_> = seen.iter().filter(is_apt).collect();
                if is_text || is_place || dice.bool() {
                    bytes[start..end].copy_from_slice(dice.choice(same).expect("itself at least"));
                } else {
                    // No number begins with a zero.
                    bytes[start] = b'1' + dice.u8(0..9);
                    bytes[start + 1..end].fill_with(|| b'0' + dice.u8(0..10));
                }
                self.told.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
