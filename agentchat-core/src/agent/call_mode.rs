//! What is wanted of a call to many.

use std::fmt;
use std::sync::Arc;

use super::call::Reply;

/// What [`Agent::call_many`](crate::Agent::call_many) waits for.
#[derive(Clone)]
#[must_use]
pub struct CallMode {
    pub(crate) wanted: Wanted,
    pub(crate) parallel: usize,
}

#[derive(Clone)]
pub(crate) enum Wanted {
    All,
    First,
    Best(Score),
}

pub(crate) type Score = Arc<dyn Fn(&Reply) -> f64 + Send + Sync>;

impl CallMode {
    /// Every target's answer.
    pub fn all() -> Self {
        Self::new(Wanted::All)
    }

    /// The first answer that is no failure; the other targets are given up then.
    pub fn first() -> Self {
        Self::new(Wanted::First)
    }

    /// The answer with the highest score among those that come in time. Of equal ones that of the target
    /// listed first counts; one that scores as not a number is not chosen. Waits for every target, so give
    /// the request the time that a good answer is worth.
    pub fn best(score: impl Fn(&Reply) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(Wanted::Best(Arc::new(score)))
    }

    /// Sets how many targets are waited for at a time (default 64, at least 1). A target that does
    /// not answer gives up its place, though not its chance to answer, early enough for every one after it
    /// to be asked in time. With one place, targets are asked one after the other.
    pub fn with_parallel(mut self, targets: usize) -> Self {
        self.parallel = targets;
        self
    }

    fn new(wanted: Wanted) -> Self {
        Self { wanted, parallel: PARALLEL }
    }
}

impl fmt::Debug for CallMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = match self.wanted {
            Wanted::All => "all",
            Wanted::First => "first",
            Wanted::Best(_) => "best",
        };
        write!(f, "CallMode({wanted}, {} at a time)", self.parallel)
    }
}

const PARALLEL: usize = 64;
