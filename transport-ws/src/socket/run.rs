//! The task that has the socket: reads, answers pings, writes acknowledgements, says goodbye.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::close_code::{CloseMeaning, meaning};
use super::dial::{GOODBYE, Greeted, Socket};
use super::session::{Action, News, SocketSession};
use crate::transport::Pushes;
use crate::transport::shared::Shared;
use crate::wire::{ServerFrame, ack};

/// How a socket ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) meaning: CloseMeaning,
    pub(crate) how: String,
}

/// Serves a live socket until it ends, or until the attachment is over and what is settled is written.
pub(crate) async fn run(
    mut greeted: Box<Greeted>,
    shared: Arc<Shared>,
    pushes: &Pushes,
    write_within: Duration,
) -> Option<End> {
    shared.arrive(&mut std::mem::take(&mut greeted.early));
    let Greeted { socket, session, .. } = &mut *greeted;
    let mut full_since: Option<Instant> = None;
    // Set to the deadline or before it: setting it costs more than waking once too often.
    let mut alarm = pin!(sleep_until(session.deadline()));
    let mut news = News::default();
    loop {
        let mut deadline = session.deadline();
        let mut may_read = shared.has_room();
        if may_read {
            full_since = None;
        } else if shared.acks {
            // The server holds back while nothing is read, and the reader mostly makes room soon. One that does
            // not must cost neither the connection nor what else comes over it: what finds no room then is
            // left on the server.
            let until = *full_since.get_or_insert_with(Instant::now) + HOLD;
            may_read = Instant::now() >= until;
            deadline = if may_read { deadline } else { deadline.min(until) };
        }
        if alarm.is_elapsed() || deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        let actions = tokio::select! {
            message = socket.next(), if may_read => {
                let end = read_ready(socket, message, session, &mut news).err();
                let more = news.is_full();
                news.taken();
                pushes.tell(news.pushed.drain(..));
                let unreadable = session.take_unreadable();
                if unreadable > 0 {
                    shared.counts.unreadable_frames(unreadable);
                }
                shared.arrive(&mut news.rows);
                if std::mem::take(&mut news.invited) {
                    shared.invited.notify_one();
                }
                if end.is_some() {
                    return end;
                }
                if more {
                    // The reader takes them while they are warm.
                    tokio::task::yield_now().await;
                }
                Vec::new()
            }
            () = shared.work.notified() => {
                // Asked first: what was settled before the closing is written before the goodbye.
                let (closing, doubt) = {
                    let mut inner = shared.inner();
                    (inner.closing, std::mem::take(&mut inner.suspect))
                };
                if doubt {
                    session.on_doubt(Instant::now());
                }
                if let Err(end) = write_acks(socket, &shared, write_within).await {
                    return Some(end);
                }
                if closing {
                    shared.inner().all_told = true;
                    Box::pin(goodbye(socket, 1000, "", GOODBYE_LONG)).await;
                    return None;
                }
                Vec::new()
            }
            () = alarm.as_mut() => session.on_tick(Instant::now()),
        };
        for action in actions {
            match action {
                Action::Message(row) => shared.arrive(&mut vec![row]),
                Action::Pushed(frame) => pushes.tell(std::iter::once(frame)),
                Action::Invited => shared.invited.notify_one(),
                Action::Ping => {
                    let pinged = timeout(write_within, socket.send(Message::Ping(bytes::Bytes::new()))).await;
                    if !matches!(pinged, Ok(Ok(()))) {
                        return Some(lost("a ping cannot be written"));
                    }
                }
                Action::Close { code, reason } => {
                    Box::pin(goodbye(socket, code, reason, GOODBYE)).await;
                    return Some(lost(reason));
                }
                Action::Live { .. } | Action::Refused => {}
            }
        }
    }
}

type Read = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

/// Takes in a message, and those that are ready behind it.
fn read_ready(
    socket: &mut Socket,
    message: Read,
    session: &mut SocketSession,
    news: &mut News,
) -> Result<(), End> {
    let now = Instant::now();
    read(message, session, now, news)?;
    while !news.is_full()
        && let Some(message) = socket.next().now_or_never()
    {
        read(message, session, now, news)?;
    }
    Ok(())
}

fn read(message: Read, session: &mut SocketSession, now: Instant, news: &mut News) -> Result<(), End> {
    match message {
        Some(Ok(Message::Text(text))) => {
            session.on_live_frame(ServerFrame::read_text(text), now, news);
        }
        Some(Ok(Message::Binary(_))) => session.on_live_frame(ServerFrame::binary(), now, news),
        Some(Ok(Message::Pong(_))) => session.on_pong(now),
        Some(Ok(Message::Close(frame))) => {
            let (code, reason) =
                frame.as_ref().map_or((1005, ""), |frame| (frame.code.into(), frame.reason.as_str()));
            let how = format!("the server closed the socket with {code}");
            return Err(End { meaning: meaning(code, reason), how });
        }
        Some(Ok(_)) => session.on_sign_of_life(now),
        Some(Err(error)) => return Err(lost(error.to_string())),
        None => return Err(lost("the socket ended")),
    }
    Ok(())
}

/// Writes what is settled, all of it with one flush.
async fn write_acks(socket: &mut Socket, shared: &Shared, within: Duration) -> Result<(), End> {
    let (ids, waiting) = shared.take_acks();
    if !ids.is_empty() {
        let writing = async {
            for id in ids {
                socket.feed(Message::text(ack(id.as_str()))).await?;
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

/// How long a socket is left unread for a reader that is behind.
const HOLD: Duration = Duration::from_secs(1);
const GOODBYE_LONG: Duration = Duration::from_secs(2);
