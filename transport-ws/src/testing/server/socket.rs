//! One socket, from its upgrade to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

use super::host::Host;
use super::outbox::{Item, Outbox};
use crate::testing::engine::{Incoming, SocketId};
use crate::testing::journal::JournalEntry;

/// What an upgrade request said.
pub(crate) struct Greeting {
    pub(crate) key: Option<String>,
    pub(crate) ack: bool,
    pub(crate) headers: Vec<(String, String)>,
}

/// Serves a socket until one side ends it.
pub(crate) async fn serve<S>(host: Arc<Host>, stream: S, greeting: Greeting)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (sink, stream) = socket.split();
    let (id, outbox) = host.open_socket();
    host.journal.note(JournalEntry::Opened { socket: id, headers: greeting.headers });
    // However this future ends, the engine hears of it.
    let mut gone = Gone { host: Arc::clone(&host), socket: id, code: None };
    let ending = greeting.key.as_ref().and_then(|_| host.script.closes_socket());
    host.with(|engine, now| match ending {
        Some((code, reason)) => {
            engine.opened(now, id, None, false);
            engine.close(id, code, &reason);
        }
        None => engine.opened(now, id, greeting.key.as_deref(), greeting.ack),
    });
    tokio::select! {
        () = write(&outbox, sink) => {}
        code = read(&host, id, &outbox, stream) => gone.code = code,
        () = outbox.until_cut() => {}
    }
}

/// Writes what is queued; comes back only if that fails, or some time after a close.
async fn write<S>(outbox: &Outbox, mut sink: SplitSink<WebSocketStream<S>, Message>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut written = 0;
        for item in outbox.take().await {
            let sent = match item {
                Item::Text(text) => {
                    written += text.len();
                    sink.feed(Message::text(text.as_ref())).await
                }
                Item::Ping => sink.feed(Message::Ping(Default::default())).await,
                Item::Pause(pause) => {
                    let flushed = sink.flush().await;
                    tokio::time::sleep(pause).await;
                    flushed
                }
                Item::Close { code, reason } => {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    let _ = sink.send(Message::Close(Some(frame))).await;
                    // The client ends the connection; one that does not is left behind.
                    tokio::time::sleep(GRACE).await;
                    return;
                }
            };
            if sent.is_err() {
                // Whatever it is, the reader sees it too and knows more.
                return std::future::pending().await;
            }
        }
        if sink.flush().await.is_err() {
            return std::future::pending().await;
        }
        outbox.written(written);
    }
}

/// Reads until the connection ends, and tells the code it was closed with.
async fn read<S>(
    host: &Host,
    socket: SocketId,
    outbox: &Outbox,
    mut stream: SplitStream<WebSocketStream<S>>,
) -> Option<u16>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = true;
    let mut code = None;
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => {
                // Under the engine's lock, so that whoever finds it there comes after it.
                let note = || host.journal.note(JournalEntry::Received { socket, text: text.to_string() });
                let ending = if std::mem::take(&mut first) && is_hello(&text) {
                    host.script.closes_socket()
                } else {
                    None
                };
                let swallowed = is_ack(&text) && host.script.swallows_ack();
                host.with(|engine, now| {
                    note();
                    match ending {
                        Some((code, reason)) => engine.close(socket, code, &reason),
                        None if swallowed => {}
                        None => engine.received(now, socket, &Incoming::Text(&text)),
                    }
                });
            }
            Ok(Message::Binary(_)) => {
                first = false;
                host.with(|engine, now| engine.received(now, socket, &Incoming::Binary));
            }
            Ok(Message::Pong(_)) => host.with(|engine, now| engine.ponged(now, socket)),
            Ok(Message::Close(frame)) => {
                code = frame.map(|frame| frame.code.into()).or(Some(1005));
                // It no longer counts, even while the closing handshake goes on.
                host.with(|engine, now| engine.closed(now, socket));
            }
            Ok(_) => {}
            Err(Error::Utf8(_)) => {
                host.with(|engine, now| engine.closed(now, socket));
                outbox.close(1007, "");
                // The writer ends this after a while.
                return std::future::pending().await;
            }
            Err(_) => break,
        }
    }
    code
}

/// Tells the engine that a socket is gone, however it came about.
struct Gone {
    host: Arc<Host>,
    socket: SocketId,
    code: Option<u16>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.host.drop_socket(self.socket, self.code);
    }
}

fn is_hello(text: &str) -> bool {
    type_of(text).as_deref() == Some("hello")
}

fn is_ack(text: &str) -> bool {
    type_of(text).as_deref() == Some("ack")
}

fn type_of(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    Some(value.get("type")?.as_str()?.to_owned())
}

const GRACE: Duration = Duration::from_secs(5);
