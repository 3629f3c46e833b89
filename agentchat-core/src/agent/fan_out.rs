//! What became of a call to many.

use super::call::Reply;
use crate::address::Address;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{ClientMsgId, CorrelationId};

/// What became of a call to many targets.
#[derive(Debug)]
#[non_exhaustive]
pub struct FanOut {
    /// What became of each target, in the order they were given; one that was given twice is here once.
    pub outcomes: Vec<TargetOutcome>,
    /// Which outcome is the first or the best answer. `None` where every answer was wanted, or none came.
    pub chosen: Option<usize>,
}

/// What became of one target.
#[derive(Debug)]
#[non_exhaustive]
pub struct TargetOutcome {
    /// The target.
    pub target: Address,
    /// The id its request had.
    pub client_msg_id: ClientMsgId,
    /// What tied its replies to the request.
    pub correlation_id: CorrelationId,
    /// How it ended.
    pub end: TargetEnd,
}

/// How the call to one target ended.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly every one is an answer")]
pub enum TargetEnd {
    /// It answered: its last reply.
    Answered(Reply),
    /// It reported a failure ([`Handler`](ErrorKind::Handler)), did not answer in time
    /// ([`Timeout`](ErrorKind::Timeout)), or could not be asked.
    Failed(Error),
    /// Another one was first. Whether the request had reached the network; a target that it reached may
    /// still work on it.
    GivenUp(Reached),
}

impl FanOut {
    /// The answers, in the order of the targets.
    pub fn answers(&self) -> impl Iterator<Item = (&Address, &Reply)> {
        self.outcomes.iter().filter_map(|outcome| Some((&outcome.target, outcome.answer()?)))
    }

    /// The outcome that was chosen.
    pub fn chosen(&self) -> Option<&TargetOutcome> {
        self.outcomes.get(self.chosen?)
    }

    /// The chosen answer.
    ///
    /// # Errors
    /// When none was chosen: of the kind, and with the source, of the first failure in the order of the
    /// targets; [`NotFound`](ErrorKind::NotFound) when nobody was asked; [`Invalid`](ErrorKind::Invalid)
    /// when every answer was wanted and none chosen.
    pub fn into_chosen(mut self) -> Result<Reply> {
        if let Some(chosen) = self.chosen.filter(|chosen| *chosen < self.outcomes.len())
            && let TargetEnd::Answered(reply) = self.outcomes.swap_remove(chosen).end
        {
            return Ok(reply);
        }
        if self.answers().next().is_some() {
            return Err(Error::new(ErrorKind::Invalid, "call_many", "no answer was to be chosen"));
        }
        let asked = self.outcomes.len();
        let failed = self.outcomes.into_iter().find_map(|outcome| match outcome.end {
            TargetEnd::Failed(error) => Some(error),
            TargetEnd::Answered(_) | TargetEnd::GivenUp(_) => None,
        });
        Err(match failed {
            Some(error) => {
                let what = format!("none of {asked} targets gave an answer; the first failure: {error}");
                Error::new(error.kind(), "call_many", what)
                    .with_advice(error.advice())
                    .with_reached(error.reached())
                    .with_source(error)
            }
            None => Error::new(ErrorKind::NotFound, "call_many", "there was nobody to ask")
                .with_reached(Reached::No),
        })
    }
}

impl TargetOutcome {
    /// The answer, if there is one.
    pub fn answer(&self) -> Option<&Reply> {
        match &self.end {
            TargetEnd::Answered(reply) => Some(reply),
            TargetEnd::Failed(_) | TargetEnd::GivenUp(_) => None,
        }
    }

    /// What failed, if something did.
    pub fn error(&self) -> Option<&Error> {
        match &self.end {
            TargetEnd::Failed(error) => Some(error),
            TargetEnd::Answered(_) | TargetEnd::GivenUp(_) => None,
        }
    }
}
