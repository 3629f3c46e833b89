//! One request to many targets.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::call_mode::{Score, Wanted};
use super::{Agent, CallMode, CallRequest, FanOut, Reply, TargetEnd, TargetOutcome};
use crate::address::Address;
use crate::clock::after;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::id::{ClientMsgId, CorrelationId};
use crate::options::at_least_one;

impl Agent {
    /// Asks each of `targets` the same, and says what became of each one. The request's timeout is that of
    /// the whole: nothing is waited for longer. Only last replies are kept; for progress, use
    /// [`Agent::call`].
    ///
    /// Each target is asked under an id and a correlation id of its own, derived from the request's and the
    /// target's address, so the same call made again is handled once by each: as with one call that is
    /// repeated, see [`CallRequest::with_id`]. Which answers are waited for, and how many targets at a time,
    /// is in `mode`.
    ///
    /// Dropping the future gives every call up; any of the requests may have been sent.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where there is no network, [`Closed`](ErrorKind::Closed) after
    /// [`Agent::close`], and [`Invalid`](ErrorKind::Invalid) for a mode with no target at a time. A target that
    /// fails is no error here: see [`FanOut::into_chosen`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
    /// use agentchat_core::agent::CallMode;
    /// use agentchat_core::{Agent, Body, CallRequest, Loopback, Request, ServeOptions};
    ///
    /// let network = Loopback::new();
    /// let mut workers = Vec::new();
    /// for name in ["ann", "bob"] {
    ///     let answer = move |request: Request| async move {
    ///         request.reply(Body::text(format!("done by {name}"))).await?;
    ///         Ok(())
    ///     };
    ///     let worker = Agent::builder(network.connector(name)?).serve(answer, ServeOptions::default());
    ///     workers.push(worker.start().await?);
    /// }
    /// let asker = Agent::builder(network.connector("asker")?).start().await?;
    /// let targets: Vec<_> = workers.iter().map(|worker| worker.address().clone()).collect();
    /// let request = CallRequest::new(Body::text("do it"));
    /// let answers = asker.call_many(&targets, request, CallMode::all()).await?;
    /// assert_eq!(answers.answers().count(), 2);
    /// # Ok(()) }
    /// ```
    pub async fn call_many(
        &self,
        targets: &[Address],
        request: CallRequest,
        mode: CallMode,
    ) -> Result<FanOut> {
        let each = targets.iter().map(|target| Ok((target.clone(), derived(&request, target)?)));
        self.call_each(each.collect::<Result<Vec<_>>>()?, mode).await
    }

    /// Asks each target something of its own, as [`Agent::call_many`] does, under the ids that its request has.
    /// The longest timeout is that of the whole. Of two requests to one target the first one counts.
    ///
    /// # Errors
    /// As [`Agent::call_many`].
    pub async fn call_each(&self, requests: Vec<(Address, CallRequest)>, mode: CallMode) -> Result<FanOut> {
        self.check_calls("call_many")?;
        at_least_one("call_many", "parallel", mode.parallel)?;
        let timeout = requests.iter().map(|(_, request)| request.timeout).max().unwrap_or_default();
        let end = after(Instant::now(), timeout);
        let mut known = HashSet::new();
        let requests = requests.into_iter().filter(|(target, _)| known.insert(target.clone()));
        let targets = requests.map(|(target, request)| Target::new(target, request));
        let targets = targets.collect::<Result<Vec<_>>>()?;
        let turns = targets.len().div_ceil(mode.parallel).max(1);
        let patience = timeout / u32::try_from(turns).unwrap_or(u32::MAX);
        let places = Semaphore::new(mode.parallel.min(Semaphore::MAX_PERMITS));
        let asking = Asking { agent: self, places: &places, patience, end };
        let mut under_way: FuturesUnordered<_> = targets
            .iter()
            .enumerate()
            .map(|(number, target)| Box::pin(async move { (number, asking.ask(target).await) }))
            .collect();
        let mut ended: Vec<Option<Result<Reply>>> = targets.iter().map(|_| None).collect();
        let mut first = None;
        while let Some((number, answer)) = under_way.next().await {
            let wins = answer.is_ok() && matches!(mode.wanted, Wanted::First);
            ended[number] = Some(answer);
            if wins {
                first = Some(number);
                break;
            }
        }
        drop(under_way);
        let outcomes: Vec<_> =
            targets.into_iter().zip(ended).map(|(target, end)| target.outcome(end)).collect();
        let chosen = match &mode.wanted {
            Wanted::All => None,
            Wanted::First => first,
            Wanted::Best(score) => best(&outcomes, score),
        };
        Ok(FanOut { outcomes, chosen })
    }
}

/// One target, and how far it has been asked.
struct Target {
    address: Address,
    request: CallRequest,
    correlation_id: CorrelationId,
    asked: Mutex<Reached>,
}

/// What all the calls share.
#[derive(Clone, Copy)]
struct Asking<'a> {
    agent: &'a Agent,
    places: &'a Semaphore,
    /// How long a target that does not answer keeps its place.
    patience: Duration,
    end: Instant,
}

impl Target {
    fn new(address: Address, request: CallRequest) -> Result<Self> {
        let correlation_id = match &request.correlation_id {
            Some(id) => id.clone(),
            None => CorrelationId::new(request.client_msg_id.as_str())?,
        };
        Ok(Self { address, request, correlation_id, asked: Mutex::new(Reached::No) })
    }

    fn mark(&self, asked: Reached) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn outcome(self, ended: Option<Result<Reply>>) -> TargetOutcome {
        let asked = self.asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let end = match ended {
            Some(Ok(reply)) => TargetEnd::Answered(reply),
            Some(Err(error)) => TargetEnd::Failed(error),
            None => TargetEnd::GivenUp(asked),
        };
        let Self { address: target, request, correlation_id, .. } = self;
        TargetOutcome { target, client_msg_id: request.client_msg_id, correlation_id, end }
    }
}

impl Asking<'_> {
    async fn ask(self, target: &Target) -> Result<Reply> {
        let place = timeout_at(self.end, self.places.acquire()).await;
        // Nobody closes the semaphore: an error means that the time is over.
        let Ok(Ok(place)) = place else {
            let what = "the time was over before it was this target's turn";
            return Err(Error::new(ErrorKind::Timeout, "call_many", what).with_reached(Reached::No));
        };
        let mut answer = pin!(self.answer(target));
        tokio::select! {
            answer = &mut answer => return answer,
            () = sleep(self.patience) => drop(place),
        }
        answer.await
    }

    async fn answer(self, target: &Target) -> Result<Reply> {
        let request = CallRequest {
            timeout: self.end.saturating_duration_since(Instant::now()),
            correlation_id: Some(target.correlation_id.clone()),
            ..target.request.clone()
        };
        target.mark(Reached::Unknown);
        let call = self.agent.call(&target.address, request).await?;
        target.mark(Reached::Yes);
        call.response().await
    }
}

/// The request under ids of its own for one target.
fn derived(request: &CallRequest, target: &Address) -> Result<CallRequest> {
    let derived = |scope: &str| ClientMsgId::derived(scope, target.as_str());
    let client_msg_id = derived(request.client_msg_id.as_str());
    let correlation_id = match &request.correlation_id {
        Some(id) => CorrelationId::new(derived(id.as_str()).as_str())?,
        None => CorrelationId::new(client_msg_id.as_str())?,
    };
    Ok(request.clone().with_id(client_msg_id).with_correlation_id(correlation_id))
}

/// The answer with the highest score; the earlier one of equal ones.
fn best(outcomes: &[TargetOutcome], score: &Score) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (number, outcome) in outcomes.iter().enumerate() {
        let Some(answer) = outcome.answer() else { continue };
        let score = score(answer);
        let better = best.is_none_or(|(_, highest)| score > highest);
        if better && !score.is_nan() {
            best = Some((number, score));
        }
    }
    best.map(|(number, _)| number)
}
