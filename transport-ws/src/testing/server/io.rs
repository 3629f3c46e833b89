//! A connection that can be stalled, cut and made to drip.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::Host;

/// What is to happen to what is written next.
#[derive(Default)]
pub(crate) struct Writing {
    state: Mutex<State>,
}

#[derive(Default, Clone, Copy)]
struct State {
    left: Option<u64>,
    drip: Option<(usize, Duration)>,
}

/// A connection under the faults of its server.
pub(crate) struct Wire {
    stream: TcpStream,
    host: Arc<Host>,
    writing: Arc<Writing>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Writing {
    /// Ends the connection after so many further bytes.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.state().left = Some(bytes);
    }

    pub(crate) fn drip(&self, drip: Option<(usize, Duration)>) {
        self.state().drip = drip;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, host: Arc<Host>, writing: Arc<Writing>) -> Self {
        Wire { stream, host, writing, pause: None }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.host.script.reads.poll_pass(cx));
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        ready!(wire.host.script.writes.poll_pass(cx));
        let State { left, drip } = *wire.writing.state();
        if left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut length = buf.len();
        if let Some(left) = left {
            length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if let Some((bytes, every)) = drip {
            let pause = wire.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            ready!(pause.as_mut().poll(cx));
            length = length.min(bytes);
        }
        let written = ready!(Pin::new(&mut wire.stream).poll_write(cx, &buf[..length]))?;
        wire.pause = None;
        if let Some(left) = &mut wire.writing.state().left {
            *left = left.saturating_sub(written as u64);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
