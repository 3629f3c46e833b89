//! What a server pushes beside messages: told to whoever wants to know.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::Notify;

use crate::wire::ServerFrame;

/// Something of [`Frames`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Pushed {
    /// A frame: never a message, and no invitation, which have their own ways.
    Frame(ServerFrame),
    /// So many frames came and were not taken in time, or were too large to be kept. They are gone.
    Missed(u64),
}

/// What the server pushes beside messages, in the order it came: receipts, presence, typing, warnings,
/// groups that are gone, and frames of types that this version does not know, with their payload.
///
/// It goes on over all attachments of a connector, from when it was asked for. No server stores these frames: what
/// is pushed while there is no socket is lost. Of what is not taken the newest are kept, at most 256 of them and at
/// most 4 MiB in memory; one that takes more alone is not kept. How many are gone is told before the next one
/// that is there. Several of a connector hold the same frames once.
pub struct Frames {
    waiting: Arc<Waiting>,
}

/// Where the frames of a connector's sockets go. Cheap to clone; costs nothing while nobody ever asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pushes(Arc<OnceLock<Mutex<Vec<Weak<Waiting>>>>>);

/// What one listener has not taken. All of them keep the newest up to the same bounds, so together they hold no
/// more than one that takes nothing.
#[derive(Debug, Default)]
struct Waiting {
    kept: Mutex<Kept>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    /// With what each weighs.
    frames: VecDeque<(usize, Arc<ServerFrame>)>,
    bytes: usize,
    missed: u64,
}

impl Frames {
    /// The next one, as soon as there is one. Cancel-safe.
    pub async fn next(&mut self) -> Pushed {
        loop {
            if let Some(pushed) = self.ready() {
                return pushed;
            }
            // Whoever asks later is told of what came meanwhile: nobody else waits for it.
            self.waiting.came.notified().await;
        }
    }

    /// The next one, if there is one now.
    pub fn ready(&mut self) -> Option<Pushed> {
        self.waiting.lock().take()
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

impl Pushes {
    pub(crate) fn frames(&self) -> Frames {
        let waiting = Arc::<Waiting>::default();
        lock(self.0.get_or_init(Mutex::default)).push(Arc::downgrade(&waiting));
        Frames { waiting }
    }

    /// Tells of frames, to those who are there.
    pub(crate) fn tell(&self, frames: impl Iterator<Item = ServerFrame>) {
        let Some(listeners) = self.0.get() else { return };
        for frame in frames {
            let (weight, frame) = (frame.weight(), Arc::new(frame));
            lock(listeners).retain(|listener| {
                // Nobody listens there any more.
                let Some(waiting) = listener.upgrade() else { return false };
                waiting.lock().keep(weight, &frame);
                waiting.came.notify_one();
                true
            });
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

impl Kept {
    fn keep(&mut self, weight: usize, frame: &Arc<ServerFrame>) {
        if weight > KEPT_BYTES {
            self.missed += 1;
            return;
        }
        self.frames.push_back((weight, Arc::clone(frame)));
        self.bytes += weight;
        while self.frames.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some((weight, _)) = self.frames.pop_front() else { return };
            self.bytes -= weight;
            self.missed += 1;
        }
    }

    fn take(&mut self) -> Option<Pushed> {
        if self.missed > 0 {
            return Some(Pushed::Missed(std::mem::take(&mut self.missed)));
        }
        let (weight, frame) = self.frames.pop_front()?;
        self.bytes -= weight;
        Some(Pushed::Frame(Arc::unwrap_or_clone(frame)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames that are kept for those who do not take them.
const KEPT: usize = 256;
/// The same in bytes of memory: twice the largest frame there may be.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: usize) -> ServerFrame {
        ServerFrame::read(format!(r#"{{"type":"zebra","payload":{{"n":{number}}}}}"#))
    }

    /// One that takes about so many bytes.
    fn large(kind: &str, bytes: usize) -> ServerFrame {
        let text = "x".repeat(bytes);
        ServerFrame::read(format!(r#"{{"type":"{kind}","payload":{{"conversation_id":"{text}"}}}}"#))
    }

    fn kinds(frames: &mut Frames) -> Vec<String> {
        let of = |pushed: Pushed| match pushed {
            Pushed::Frame(frame) => frame.kind().expect("a kind").to_owned(),
            Pushed::Missed(missed) => format!("{missed} missed"),
        };
        std::iter::from_fn(|| frames.ready().map(of)).collect()
    }

    #[tokio::test]
    async fn whoever_is_slow_is_told_how_many_were_missed() {
        let pushes = Pushes::default();
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

    #[test]
    fn what_is_kept_for_whoever_is_slow_is_bounded_in_bytes_too() {
        let (pushes, most) = (Pushes::default(), 3 * KEPT_BYTES / 8);
        let (mut slow, mut other) = (pushes.frames(), pushes.frames());
        let weak = Arc::downgrade(&slow.waiting);
        for _ in 0..10 {
            pushes.tell([large("zebra", most), large("typing.start", most)].into_iter());
            let held = weak.upgrade().expect("it listens").lock().bytes;
            assert!(held <= KEPT_BYTES, "{held} bytes are held");
        }
        let expected = ["18 missed", "zebra", "typing.start"];
        assert_eq!(kinds(&mut slow), expected, "the newest are there");
        assert_eq!(kinds(&mut other), expected, "each listener takes all of it");
        assert_eq!(slow.waiting.lock().bytes, 0);
        drop(slow);
        pushes.tell([frame(0)].into_iter());
        assert!(weak.upgrade().is_none(), "nothing is kept for whoever is gone");
        assert_eq!(kinds(&mut other), ["zebra"]);
    }

    #[test]
    fn a_frame_that_takes_more_than_all_may_costs_itself_alone() {
        let pushes = Pushes::default();
        let mut frames = pushes.frames();
        pushes.tell([frame(0), large("presence", KEPT_BYTES), frame(1)].into_iter());
        assert_eq!(kinds(&mut frames), ["1 missed", "zebra", "zebra"]);
    }

    #[tokio::test]
    async fn waiting_for_a_frame_may_be_given_up_at_any_time() {
        let pushes = Pushes::default();
        let mut frames = pushes.frames();
        for number in 0..3 {
            let waiting = tokio::time::timeout(std::time::Duration::ZERO, frames.next());
            assert!(waiting.await.is_err());
            pushes.tell([frame(number)].into_iter());
            let waiting = tokio::time::timeout(std::time::Duration::from_secs(5), frames.next());
            assert!(matches!(waiting.await, Ok(Pushed::Frame(_))));
        }
    }
}
