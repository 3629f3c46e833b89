//! A server of prepared bytes: just enough of AgentChat for one client, and no thinking between reading a
//! request and writing what was rendered before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::row::frame;
use crate::rig::{block_on, pin};

/// A listener on a thread of the first core.
pub struct Feed {
    pub url: String,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    grants_acks: bool,
    /// How long every answer takes, as over a long line.
    delay: Duration,
    out: Mutex<Vec<u8>>,
    to_write: Notify,
    acked: AtomicUsize,
    goal: AtomicUsize,
    reached: Notify,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// Pages by the cursor that asks for them.
    pages: HashMap<String, Arc<[u8]>>,
    /// The answer to the next send, and what is pushed right behind it.
    on_send: Option<(String, Vec<u8>)>,
    /// When the socket greeted, and when something was pushed last.
    hello: Option<Instant>,
    pushed: Option<Instant>,
    /// What is pushed right behind the answer to the greeting.
    welcome: Vec<u8>,
}

impl Feed {
    /// A server that grants acknowledgements, or not.
    pub fn start(grants_acks: bool) -> Self {
        Self::with_delay(grants_acks, Duration::ZERO)
    }

    /// One whose answers all take `delay`, and twice that on a new connection, for its own round trip.
    pub fn with_delay(grants_acks: bool, delay: Duration) -> Self {
        let state = Arc::new(State { grants_acks, delay, ..State::default() });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let shared = Arc::clone(&state);
        let serve = move || {
            pin(0);
            block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let _ = tell.send(listener.local_addr().expect("bound").port());
                let accepting = async {
                    loop {
                        let (stream, _) = listener.accept().await.expect("accepted");
                        stream.set_nodelay(true).expect("a socket");
                        tokio::spawn(serve(stream, Arc::clone(&shared)));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("feed".to_owned()).spawn(serve).expect("a thread");
        let port = told.recv().expect("the server starts");
        Self { url: format!("http://127.0.0.1:{port}"), state, stop: Some(stop), thread: Some(thread) }
    }

    /// Writes these frames to the socket, as fast as it takes them.
    pub fn push(&self, frames: Vec<u8>) {
        self.state.script().pushed = Some(Instant::now());
        self.state.out.lock().expect("not poisoned").extend(frames);
        self.state.to_write.notify_one();
    }

    /// Puts pages behind one another: the first is asked for without a cursor.
    pub fn store(&self, pages: Vec<(String, Vec<u8>)>) {
        self.state.script().pages = pages.into_iter().map(|(cursor, page)| (cursor, page.into())).collect();
    }

    /// Pushes this right behind the answer to the greeting.
    pub fn welcome(&self, frames: Vec<u8>) {
        self.state.script().welcome = frames;
    }

    /// Answers the next send with `row`, and pushes `frames` right behind.
    pub fn on_send(&self, row: String, frames: Vec<u8>) {
        self.state.script().on_send = Some((row, frames));
    }

    /// When the client greeted.
    pub fn greeted(&self) -> Instant {
        self.state.script().hello.expect("a greeting came")
    }

    /// When something was pushed last.
    pub fn pushed(&self) -> Instant {
        self.state.script().pushed.expect("something was pushed")
    }

    /// How many acknowledgements have come.
    pub fn acks(&self) -> usize {
        self.state.acked.load(Ordering::Acquire)
    }

    /// Waits until `count` acknowledgements have come.
    pub async fn until_acked(&self, count: usize) {
        self.state.goal.store(count, Ordering::Release);
        while self.acks() < count {
            self.state.reached.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("not poisoned")
    }
}

/// One connection: requests, one after the other, until one of them makes it a socket.
async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    let mut read = Vec::new();
    let mut delay = 2 * state.delay;
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(read.drain(..end).collect()).ok()?;
        let header = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
        };
        let length: usize = header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        while read.len() < length {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        read.drain(..length);
        tokio::time::sleep(std::mem::replace(&mut delay, state.delay)).await;
        if let Some(key) = header("sec-websocket-key") {
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.ok()?;
            return socket(stream, state).await;
        }
        let target = head.split(' ').nth(1)?.to_owned();
        let mut behind = Vec::new();
        let body: Arc<[u8]> = if target.ends_with("/agents/me") {
            (*br#"{"handle":"quokka-9","status":"active"}"#).into()
        } else if target.contains("/messages/sync?") {
            let cursor = target.split_once("after=").map_or("", |(_, after)| after);
            let cursor = cursor.split('&').next().unwrap_or_default();
            state.script().pages.get(cursor).cloned().unwrap_or_else(|| (*b"[]").into())
        } else if target.ends_with("/messages/sync/ack") {
            (*br#"{"acked":200}"#).into()
        } else if head.starts_with("POST ") && target.ends_with("/messages") {
            let (row, frames) = state.script().on_send.take().expect("a send is expected");
            behind = frames;
            row.into_bytes().into()
        } else {
            (*b"[]").into()
        };
        let status = if behind.is_empty() { "200 OK" } else { "201 Created" };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(&*body);
        stream.write_all(&answer).await.ok()?;
        if !behind.is_empty() {
            state.script().pushed = Some(Instant::now());
            state.out.lock().expect("not poisoned").extend(behind);
            state.to_write.notify_one();
        }
    }
}

/// The socket: writes what is pushed, counts acknowledgements, answers pings.
async fn socket(stream: TcpStream, state: Arc<State>) -> Option<()> {
    let (mut reader, mut writer) = stream.into_split();
    let mut read = Vec::with_capacity(PIECE);
    loop {
        tokio::select! {
            taken = reader.read_buf(&mut read) => {
                if taken.ok()? == 0 {
                    return None;
                }
                let answers = take_frames(&mut read, &state)?;
                if !answers.is_empty() {
                    tokio::time::sleep(state.delay).await;
                    writer.write_all(&answers).await.ok()?;
                }
            }
            () = state.to_write.notified() => {
                let bytes = std::mem::take(&mut *state.out.lock().expect("not poisoned"));
                // Acknowledgements are read meanwhile, or both sides could wait for each other.
                let mut writing = std::pin::pin!(writer.write_all(&bytes));
                loop {
                    tokio::select! {
                        written = &mut writing => {
                            written.ok()?;
                            break;
                        }
                        taken = reader.read_buf(&mut read) => {
                            if taken.ok()? == 0 {
                                return None;
                            }
                            take_frames(&mut read, &state)?;
                        }
                    }
                }
            }
        }
    }
}

/// Takes the whole frames of a client off `read`, and says what to answer; nothing at its end.
fn take_frames(read: &mut Vec<u8>, state: &State) -> Option<Vec<u8>> {
    let (mut at, mut acks, mut answers) = (0, 0, Vec::new());
    while let Some([first, second]) = read.get(at..at + 2) {
        let (mut length, mut begin) = (usize::from(second & 0x7f), at + 2);
        if length == 126 {
            let Some([high, low]) = read.get(begin..begin + 2) else { break };
            (length, begin) = (usize::from(u16::from_be_bytes([*high, *low])), begin + 2);
        }
        let opcode = first & 0x0f;
        let Some(masked) = read.get(begin..begin + 4 + length) else { break };
        let (mask, payload) = masked.split_at(4);
        let payload: Vec<u8> =
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        at = begin + 4 + length;
        match opcode {
            1 if has(&payload, br#""hello""#) => {
                let granted = if state.grants_acks { r#","capabilities":["ack"]"# } else { "" };
                answers.extend(frame(&format!(r#"{{"type":"hello.ok"{granted}}}"#)));
                let mut script = state.script();
                script.hello = Some(Instant::now());
                answers.extend(std::mem::take(&mut script.welcome));
            }
            1 if has(&payload, br#""ack""#) => acks += 1,
            8 => return None,
            9 => answers.extend([0x8a, 0]),
            _ => {}
        }
    }
    read.drain(..at);
    if acks > 0 {
        let before = state.acked.fetch_add(acks, Ordering::AcqRel);
        let goal = state.goal.load(Ordering::Acquire);
        if before < goal && before + acks >= goal {
            state.reached.notify_one();
        }
    }
    Some(answers)
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

const PIECE: usize = 256 * 1024;
