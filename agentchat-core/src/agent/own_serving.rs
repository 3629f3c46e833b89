//! The serving that an agent was started with.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Agent;
use super::serve_stats::ServeStats;
use super::serving::{Served, Serving};

/// The serving that belongs to an agent, and how it ended. Dropping it stops serving.
#[derive(Debug)]
pub(crate) struct OwnServing {
    outcome: watch::Sender<Option<Arc<Served>>>,
    /// Keeps the serving; there is none where messaging is disabled.
    keeper: Option<AbortHandle>,
}

impl Agent {
    /// Waits until the serving that the agent was [started with](crate::agent::AgentBuilder::serve) has
    /// ended, and says how: at the end of [`Agent::close`], or before that with the error that ended it,
    /// such as a lost attachment. `None` at once when the agent was started without a handler. It may be
    /// asked often, also afterwards, and by many. Cancel-safe; dropping the future stops nothing.
    pub async fn served(&self) -> Option<Arc<Served>> {
        let mut outcome = self.owner.own_serving()?.outcome.subscribe();
        let served = outcome.wait_for(Option::is_some).await;
        // The agent that is asked keeps the sender.
        served.ok().and_then(|served| served.clone())
    }
}

impl OwnServing {
    pub(crate) fn new(serving: Option<Serving>) -> Self {
        let outcome = watch::Sender::new(None);
        let keeper = serving.map(|serving| {
            let outcome = outcome.clone();
            let keep = async move { drop(outcome.send_replace(Some(Arc::new(serving.wait().await)))) };
            tokio::spawn(keep).abort_handle()
        });
        Self { outcome, keeper }
    }

    /// The agent has closed: what was never served ends with it.
    pub(crate) fn end_idle(&self) {
        if self.keeper.is_none() {
            let nothing = Served { error: None, ..Served::late(0, 0, ServeStats::default()) };
            self.outcome.send_if_modified(|outcome| match outcome {
                Some(_) => false,
                None => {
                    *outcome = Some(Arc::new(nothing));
                    true
                }
            });
        }
    }
}

impl Drop for OwnServing {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}
