//! What a server pushes beside messages: told to whoever wants to know.

use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::wire::ServerFrame;

/// Something of [`Frames`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Pushed {
    /// A frame: never a message, and no invitation, which have their own ways.
    Frame(ServerFrame),
    /// So many frames came and were not taken in time. They are gone.
    Missed(u64),
}

/// What the server pushes beside messages, in the order it came: receipts, presence, typing, warnings,
/// groups that are gone, and frames of types that this version does not know, with their payload.
///
/// It goes on over all attachments of a connector, from when it was asked for. No server stores these frames: what
/// is pushed while there is no socket is lost, and of what is not taken the newest 256 are kept.
#[derive(Debug)]
pub struct Frames {
    from: broadcast::Receiver<ServerFrame>,
    /// So that it does not end before its owner does.
    _pushes: Pushes,
}

/// Where the frames of a connector's sockets go. Cheap to clone; costs nothing while nobody ever asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pushes(Arc<OnceLock<broadcast::Sender<ServerFrame>>>);

impl Frames {
    /// The next one, as soon as there is one. Cancel-safe.
    pub async fn next(&mut self) -> Pushed {
        match self.from.recv().await {
            Ok(frame) => Pushed::Frame(frame),
            Err(RecvError::Lagged(missed)) => Pushed::Missed(missed),
            // It holds the sender itself.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next one, if there is one now.
    pub fn ready(&mut self) -> Option<Pushed> {
        match self.from.try_recv() {
            Ok(frame) => Some(Pushed::Frame(frame)),
            Err(TryRecvError::Lagged(missed)) => Some(Pushed::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Pushes {
    pub(crate) fn frames(&self) -> Frames {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(KEPT));
        Frames { from: sender.subscribe(), _pushes: self.clone() }
    }

    /// Tells of frames, to those who are there.
    pub(crate) fn tell(&self, frames: impl Iterator<Item = ServerFrame>) {
        let Some(sender) = self.0.get() else { return };
        for frame in frames {
            // Nobody listens any more.
            let _ = sender.send(frame);
        }
    }
}

/// Frames that are kept for those who do not take them.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_slow_is_told_how_many_were_missed() {
        let pushes = Pushes::default();
        let frame = |number| ServerFrame::read(format!(r#"{{"type":"zebra","payload":{{"n":{number}}}}}"#));
        pushes.tell([frame(0)].into_iter());
        let mut frames = pushes.frames();
        assert!(frames.ready().is_none(), "nobody had asked");
        pushes.tell((0..KEPT + 3).map(frame));
        assert!(matches!(frames.next().await, Pushed::Missed(3)));
        for number in 3..KEPT + 3 {
            let Some(Pushed::Frame(ServerFrame::Unknown { payload, .. })) = frames.ready() else { panic!() };
            assert_eq!(payload.json, format!(r#"{{"n":{number}}}"#));
        }
        assert!(frames.ready().is_none());
    }
}
