//! What may go wrong with frames the server sends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::testing::engine::SocketId;

/// What happens to one frame that is pushed. `hello.ok` does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushFault {
    /// Nothing.
    Pass,
    /// It is written twice.
    Duplicate,
    /// It is lost. The server believes it was written.
    Drop,
    /// It is written after so many further frames of its socket.
    Late(usize),
    /// It waits for [`Faults::release_pushes`](super::Faults::release_pushes).
    Hold,
    /// It, and all that follows on its socket, is written so much later.
    Delay(Duration),
}

/// What to do with a socket's queue.
pub(crate) enum Write {
    Text(Arc<str>),
    Pause(Duration),
}

/// Something that ends a socket when a frame is reached.
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

#[derive(Default)]
pub(crate) struct PushScript {
    plan: VecDeque<PushFault>,
    late: HashMap<SocketId, Vec<(usize, Arc<str>)>>,
    held: Vec<(SocketId, Arc<str>)>,
    ends: Vec<(u64, End)>,
    shuffle: Option<fastrand::Rng>,
    pub(crate) swallow_hellos: u64,
    pub(crate) hello_delay: Duration,
}

impl PushScript {
    pub(crate) fn plan(&mut self, faults: impl IntoIterator<Item = PushFault>) {
        self.plan.extend(faults);
    }

    pub(crate) fn planned(&self) -> usize {
        self.plan.len() + self.ends.len()
    }

    pub(crate) fn shuffle(&mut self, seed: u64) {
        self.shuffle = Some(fastrand::Rng::with_seed(seed));
    }

    pub(crate) fn end_after(&mut self, frames: u64, end: End) {
        self.ends.push((frames, end));
    }

    pub(crate) fn take_held(&mut self) -> Vec<(SocketId, Arc<str>)> {
        let mut held = std::mem::take(&mut self.held);
        for (socket, late) in self.late.drain() {
            held.extend(late.into_iter().map(|(_, text)| (socket, text)));
        }
        held
    }

    /// What is written in place of the answer to authentication.
    pub(crate) fn hello(&mut self, text: Arc<str>) -> Vec<Write> {
        if self.swallow_hellos > 0 {
            self.swallow_hellos -= 1;
            return Vec::new();
        }
        match self.hello_delay {
            Duration::ZERO => vec![Write::Text(text)],
            delay => vec![Write::Pause(delay), Write::Text(text)],
        }
    }

    /// What is written in place of a frame, and whether its socket ends then.
    pub(crate) fn push(&mut self, socket: SocketId, text: Arc<str>) -> (Vec<Write>, Option<End>) {
        let fault = self.plan.pop_front().unwrap_or_else(|| self.shuffled());
        let mut writes = Vec::new();
        let mut later = None;
        match fault {
            PushFault::Pass => writes.push(Write::Text(text)),
            PushFault::Duplicate => writes.extend([Write::Text(Arc::clone(&text)), Write::Text(text)]),
            PushFault::Drop => {}
            PushFault::Late(frames) => later = Some((frames, text)),
            PushFault::Hold => self.held.push((socket, text)),
            PushFault::Delay(delay) => writes.extend([Write::Pause(delay), Write::Text(text)]),
        }
        if let Some(waiting) = self.late.get_mut(&socket) {
            for (frames, text) in std::mem::take(waiting) {
                match frames.saturating_sub(1) {
                    0 => writes.push(Write::Text(text)),
                    left => waiting.push((left, text)),
                }
            }
        }
        if let Some(later) = later {
            self.late.entry(socket).or_default().push(later);
        }
        for (left, _) in &mut self.ends {
            *left = left.saturating_sub(1);
        }
        let reached = self.ends.iter().position(|(left, _)| *left == 0);
        (writes, reached.map(|position| self.ends.remove(position).1))
    }

    fn shuffled(&mut self) -> PushFault {
        match self.shuffle.as_mut().map(|random| random.u8(0..8)) {
            Some(0) => PushFault::Duplicate,
            Some(1) => PushFault::Late(1),
            Some(2) => PushFault::Late(3),
            _ => PushFault::Pass,
        }
    }
}
