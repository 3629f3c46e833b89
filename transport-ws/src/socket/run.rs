//! The task that has the socket: reads, answers pings, writes acknowledgements, says goodbye.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::close_code::{CloseMeaning, meaning};
use super::dial::{GOODBYE, Greeted, Socket};
use super::session::{Action, SocketSession};
use crate::transport::shared::Shared;
use crate::wire::{ClientFrame, ServerFrame};

/// How a socket ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) meaning: CloseMeaning,
    pub(crate) how: String,
}

/// Serves a live socket until it ends, or until the attachment is over and what is settled is written.
pub(crate) async fn run(greeted: Greeted, shared: Arc<Shared>, write_within: Duration) -> Option<End> {
    let Greeted { mut socket, mut session, early, .. } = greeted;
    early.into_iter().for_each(|row| shared.arrive(row));
    loop {
        let deadline = session.deadline();
        let may_read = shared.has_room();
        let actions = tokio::select! {
            message = socket.next(), if may_read => match read(message, &mut session) {
                Ok(actions) => actions,
                Err(end) => return Some(end),
            },
            () = shared.work.notified() => {
                // Asked first: what was settled before the closing is written before the goodbye.
                let closing = shared.inner().closing;
                if let Err(end) = write_acks(&mut socket, &shared, write_within).await {
                    return Some(end);
                }
                if closing {
                    goodbye(&mut socket, 1000, "", GOODBYE_LONG).await;
                    return None;
                }
                Vec::new()
            }
            () = sleep_until(deadline) => session.on_tick(Instant::now()),
        };
        for action in actions {
            match action {
                Action::Message(row) => shared.arrive(row),
                Action::Invited => shared.invited.notify_one(),
                Action::Ping => {
                    let pinged = timeout(write_within, socket.send(Message::Ping(bytes::Bytes::new()))).await;
                    if !matches!(pinged, Ok(Ok(()))) {
                        return Some(lost("a ping cannot be written"));
                    }
                }
                Action::Close { code, reason } => {
                    goodbye(&mut socket, code, reason, GOODBYE).await;
                    return Some(lost(reason));
                }
                Action::Live { .. } | Action::Refused => {}
            }
        }
    }
}

type Read = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

fn read(message: Read, session: &mut SocketSession) -> Result<Vec<Action>, End> {
    let now = Instant::now();
    Ok(match message {
        Some(Ok(Message::Text(text))) => session.on_frame(ServerFrame::read(bytes::Bytes::from(text)), now),
        Some(Ok(Message::Binary(_))) => session.on_frame(ServerFrame::binary(), now),
        Some(Ok(Message::Pong(_))) => {
            session.on_pong(now);
            Vec::new()
        }
        Some(Ok(Message::Close(frame))) => {
            let (code, reason) =
                frame.as_ref().map_or((1005, ""), |frame| (frame.code.into(), frame.reason.as_str()));
            let how = format!("the server closed the socket with {code}");
            return Err(End { meaning: meaning(code, reason), how });
        }
        Some(Ok(_)) => {
            session.on_sign_of_life(now);
            Vec::new()
        }
        Some(Err(error)) => return Err(lost(error.to_string())),
        None => return Err(lost("the socket ended")),
    })
}

/// Writes what is settled, all of it with one flush.
async fn write_acks(socket: &mut Socket, shared: &Shared, within: Duration) -> Result<(), End> {
    let (ids, waiting) = shared.take_acks();
    if !ids.is_empty() {
        let writing = async {
            for id in ids {
                socket.feed(Message::text(ClientFrame::ack(id).to_json())).await?;
            }
            socket.flush().await
        };
        match timeout(within, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(error.to_string())),
            Err(_) => return Err(lost("acknowledgements cannot be written")),
        }
    }
    // Whoever gave up waiting does not need to hear.
    for told in waiting {
        let _ = told.send(());
    }
    Ok(())
}

/// Closes and waits for the server's own close: it has read everything before by then.
async fn goodbye(socket: &mut Socket, code: u16, reason: &'static str, within: Duration) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    let _ = timeout(within, async {
        socket.close(Some(frame)).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    })
    .await;
}

fn lost(how: impl Into<String>) -> End {
    End { meaning: CloseMeaning::Lost, how: how.into() }
}

const GOODBYE_LONG: Duration = Duration::from_secs(2);
