//! Opening a socket, up to the server's word that it is live.

use std::sync::Arc;

use agentchat_core::{Error, ErrorKind};
use futures_util::StreamExt;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use super::close_code::{CloseMeaning, meaning, refused_upgrade};
use super::greeting::write_first;
use super::session::{ACK, Action, SocketSession, Times};
use crate::config::{AgentChatConfig, Handshake};
use crate::wire::{MessageRow, ServerFrame, hello};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A live socket.
pub(crate) struct Greeted {
    pub(crate) socket: Socket,
    pub(crate) session: SocketSession,
    /// The server granted acknowledgements.
    pub(crate) acks: bool,
    /// What it pushed before it said so.
    pub(crate) early: Vec<MessageRow>,
}

/// Why there is none.
pub(crate) struct DialError {
    pub(crate) meaning: CloseMeaning,
    pub(crate) error: Error,
}

/// Opens a socket and waits until it is live. Ends by the configured deadlines. Dropping the future closes
/// what was opened. What came over a socket that was never live is put into `early`.
pub(crate) async fn dial(
    config: &AgentChatConfig,
    tls: &Arc<ClientConfig>,
    early: &mut Vec<MessageRow>,
) -> Result<Greeted, DialError> {
    let request = request(config, config.handshake()).map_err(lost)?;
    let socket = open(config, tls, request).await?;
    let mut session = SocketSession::new(Times::of(config), config.handshake(), Instant::now());
    let greeted = greet(config, socket, &mut session).await;
    match greeted {
        Ok((socket, acks, early)) => Ok(Greeted { socket, session, acks, early }),
        Err(error) => {
            *early = session.take_early();
            Err(error)
        }
    }
}

/// Opens a socket as far as the upgrade and closes it again, without a key: no session begins by it, and no
/// message moves.
#[cfg(feature = "doctor")]
pub(crate) async fn reach(config: &AgentChatConfig, tls: &Arc<ClientConfig>) -> Result<(), DialError> {
    let request = request(config, Handshake::Hello).map_err(lost)?;
    let mut socket = open(config, tls, request).await?;
    let _ = timeout(GOODBYE, socket.close(None)).await;
    Ok(())
}

async fn open(
    config: &AgentChatConfig,
    tls: &Arc<ClientConfig>,
    request: Request,
) -> Result<Socket, DialError> {
    let connector = match config.base.is_tls() {
        true => Connector::Rustls(Arc::clone(tls)),
        false => Connector::Plain,
    };
    let limits = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(LARGEST_FRAME)
        .max_message_size(Some(LARGEST_FRAME))
        .max_frame_size(Some(LARGEST_FRAME));
    let opening = connect_async_tls_with_config(request, Some(limits), true, Some(connector));
    let opened = timeout(config.connect_timeout(), opening).await;
    match opened {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(answer))) => {
            let status = answer.status().as_u16();
            let what = format!("the server answers the upgrade with status {status}");
            Err(DialError { meaning: refused_upgrade(status), error: disconnected(what) })
        }
        Ok(Err(error)) => Err(lost(not_opened(error))),
        Err(_) => Err(lost(late("the socket did not open in time"))),
    }
}

/// Returns the socket, whether acknowledgements were granted, and what came before that was said.
async fn greet(
    config: &AgentChatConfig,
    mut socket: Socket,
    session: &mut SocketSession,
) -> Result<(Socket, bool, Vec<MessageRow>), DialError> {
    let by = Instant::now() + config.hello_timeout();
    if config.handshake() == Handshake::Hello {
        let key = config.key().ok_or_else(|| lost(no_key()))?;
        let frame = hello(key, &[ACK], config.client_identity());
        let sending = write_first(socket.get_mut(), &frame);
        match tokio::time::timeout_at(by, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(lost(disconnected("the greeting cannot be sent").with_source(error)));
            }
            Err(_) => return Err(lost(late("the greeting could not be sent in time"))),
        }
    }
    let mut early = Vec::new();
    let mut acks = None;
    loop {
        let deadline = session.deadline();
        let actions = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    session.on_frame(ServerFrame::read_text(text), Instant::now())
                }
                Some(Ok(Message::Binary(_))) => session.on_frame(ServerFrame::binary(), Instant::now()),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame.as_ref())),
                Some(Ok(_)) => {
                    session.on_sign_of_life(Instant::now());
                    Vec::new()
                }
                Some(Err(error)) => {
                    return Err(lost(disconnected("the socket ended before it was live").with_source(error)));
                }
                None => return Err(lost(disconnected("the socket ended before it was live"))),
            },
            () = sleep_until(deadline) => session.on_tick(Instant::now()),
        };
        for action in actions {
            match action {
                Action::Live { acks: granted } => acks = Some(granted),
                Action::Message(row) => early.push(row),
                Action::Refused => {
                    let error = disconnected("the server refuses the greeting");
                    return Err(DialError { meaning: CloseMeaning::KeyInQuestion, error });
                }
                Action::Ping | Action::Invited | Action::Pushed(_) => {}
                Action::Close { code, reason } => {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    let _ = timeout(GOODBYE, socket.close(Some(frame))).await;
                    return Err(lost(late("the greeting was not answered in time")));
                }
            }
        }
        if let Some(acks) = acks {
            return Ok((socket, acks, early));
        }
    }
}

fn request(config: &AgentChatConfig, handshake: Handshake) -> agentchat_core::Result<Request> {
    let unusable = || Error::new(ErrorKind::Config, "connect", "the socket's URL or a header cannot be used");
    let mut request = config.websocket_url().into_client_request().map_err(|_| unusable())?;
    let headers = request.headers_mut();
    let line = |text: &str| HeaderValue::from_str(text).map_err(|_| unusable());
    if let Some(agent) = config.user_agent() {
        headers.insert("user-agent", line(agent)?);
    }
    if handshake == Handshake::Header {
        let key = config.key().ok_or_else(no_key)?;
        let mut value = line(&format!("Bearer {}", key.expose()))?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
        headers.insert("x-agentchat-capabilities", HeaderValue::from_static(ACK));
        if let Some(identity) = config.client_identity() {
            headers.insert("x-agentchat-client", line(&identity.name)?);
            if let Some(version) = &identity.version {
                headers.insert("x-agentchat-client-version", line(version)?);
            }
        }
    }
    Ok(request)
}

/// What a close frame before the session was live means.
fn closed(frame: Option<&CloseFrame>) -> DialError {
    let (code, reason) = frame.map_or((1005, ""), |frame| (frame.code.into(), frame.reason.as_str()));
    let error = disconnected(format!("the server closed the socket with {code} before it was live"));
    DialError { meaning: meaning(code, reason), error }
}

fn not_opened(error: WsError) -> Error {
    match crate::tls::untrusted(&error) {
        Some((what, true)) => Error::new(ErrorKind::Config, "connect", what).with_source(error),
        Some((what, false)) => disconnected(what).with_source(error),
        None => disconnected("the socket cannot be opened").with_source(error),
    }
}

fn lost(error: Error) -> DialError {
    DialError { meaning: CloseMeaning::Lost, error }
}

fn disconnected(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Disconnected, "connect", what)
}

fn late(what: &str) -> Error {
    Error::new(ErrorKind::Timeout, "connect", what)
}

fn no_key() -> Error {
    Error::new(ErrorKind::Config, "connect", "an agent needs an API key to attach")
}

/// Many agents in one process: buffers are small.
const BUFFER: usize = 4 * 1024;
/// Rows have 33 KiB at most.
const LARGEST_FRAME: usize = 2 * 1024 * 1024;
/// How long the goodbye to a server that answers nothing may take.
pub(super) const GOODBYE: std::time::Duration = std::time::Duration::from_millis(500);
