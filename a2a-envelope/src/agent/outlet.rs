//! How replies leave, and how tasks are kept: each tried again for a while, and never for ever.

use std::future::Future;
use std::time::Duration;

use agentchat_core::agent::REPLY_LAST;
use agentchat_core::{Body, ClientMsgId, ErrorKind, Outbound};
use tokio::time::Instant;

use super::asker::Asker;
use super::note::Note;
use super::oversize::smaller;
use super::server::Shared;
use super::{mapping, snapshots};
use crate::call::is_stale;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::stream::Snapshot;
use crate::task::{StoreFuture, Task, TaskError};

impl Shared {
    /// Sends one reply of a task's line: the same number is the same message, however often it is sent.
    pub(crate) async fn deliver(&self, asker: &mut Asker, reply: &Envelope) {
        self.deliver_as(asker, reply, false).await;
    }

    /// Sends one reply to this message alone: an acknowledgement, a refusal, an answer said again.
    pub(crate) async fn deliver_apart(&self, asker: &mut Asker, reply: &Envelope) {
        self.deliver_as(asker, reply, true).await;
    }

    /// A reply that is too large goes out in less words, so that nobody waits for it in vain.
    async fn deliver_as(&self, asker: &mut Asker, reply: &Envelope, apart: bool) {
        if !self.deliver_form(asker, reply, apart, 0).await {
            return;
        }
        let forms = smaller(reply, self.agent.capabilities().max_body);
        for (at, form) in forms.iter().enumerate() {
            if !self.deliver_form(asker, form, apart, at + 1).await {
                if !reply.is_last() && form.is_last() {
                    // Its line has ended: nothing of what follows would be read.
                    asker.to = None;
                }
                return;
            }
        }
    }

    /// Sends a reply in one of its forms. Whether it is too large for the network.
    async fn deliver_form(&self, asker: &mut Asker, reply: &Envelope, apart: bool, form: usize) -> bool {
        let Some(to) = asker.to.clone() else { return false };
        let correlation = reply.headers.get(crate::names::CORRELATION_ID).unwrap_or_default().to_owned();
        let seq = reply.seq().ok().flatten();
        let mut note = Note {
            name: "reply.sent",
            correlation: Some(&correlation),
            seq,
            bytes: Some(reply.body.len()),
            generation: reply.generation().ok().flatten(),
            ..Note::default()
        };
        let written = match asker.write(reply, self.clock.now().as_secs()) {
            Ok(Some(written)) => written,
            Ok(None) => return false,
            Err(error) => {
                let why = error.to_string();
                self.tell(&Note { name: "reply.unsent", why: Some(&why), ..note });
                return matches!(error, Error::Limit { .. });
            }
        };
        let mut message = Outbound::new(to.clone(), Body::json(""));
        mapping::put(&mut message, &written);
        let scope = format!("{correlation}\n{to}");
        let via = if apart { asker.via.as_str() } else { "" };
        let mut key = format!("{} {via}", seq.unwrap_or_default());
        if form > 0 {
            // The network may remember what it refused.
            key.push_str(&format!(" {form}"));
        }
        message.client_msg_id = ClientMsgId::derived(&scope, &key);
        message.correlation_id = agentchat_core::CorrelationId::new(correlation.as_str()).ok();
        message.conversation.clone_from(&asker.conversation);
        // What is said of an old copy of a request does not end the call that sent it again.
        let last = if reply.is_last() && !is_stale(reply) { "true" } else { "false" };
        message.headers.insert(REPLY_LAST, last);
        if let Err(error) = self.send(&message).await {
            if error.kind() == ErrorKind::NotFound {
                // Nobody reads there any more.
                asker.to = None;
            }
            let why = error.to_string();
            note = Note { name: "reply.unsent", why: Some(&why), ..note };
            self.tell(&note);
            return error.kind() == ErrorKind::TooLarge;
        }
        self.tell(&note);
        false
    }

    async fn send(&self, message: &Outbound) -> agentchat_core::Result<()> {
        let end = Instant::now() + self.options.patience;
        let mut wait = FIRST_WAIT;
        loop {
            match self.agent.send(message).await {
                Ok(_) => return Ok(()),
                // The first one under this number stays.
                Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
                Err(error) if error.is_retryable() && Instant::now() + wait < end => {
                    tokio::time::sleep(error.retry_after().unwrap_or(wait).min(LONGEST_WAIT)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps a task in place of its generation `expected`, and publishes its snapshot.
    pub(crate) async fn save(&self, task: &Task, expected: u64) -> Result<(), TaskError> {
        self.stored(|| self.tasks.put(task, expected)).await?;
        if let Some(due) = task.due() {
            self.deadlines.met(due);
        }
        self.publish(task).await;
        Ok(())
    }

    /// Asks a store, again while only its storage fails.
    pub(crate) async fn stored<'a, T, F>(&self, ask: F) -> Result<T, TaskError>
    where
        F: Fn() -> StoreFuture<'a, T>,
    {
        let end = Instant::now() + self.options.patience;
        let mut wait = FIRST_WAIT;
        loop {
            match ask().await {
                Err(TaskError::Storage(_)) if Instant::now() + wait < end => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(error) => {
                    let why = error.public_text();
                    self.tell(&Note { name: "store.failed", why: Some(&why), ..Note::default() });
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// What callers read of a task without its worker. It is news, not memory: one that fails is left out.
    async fn publish(&self, task: &Task) {
        self.tell(&Note {
            name: "task.state",
            task: Some(task.id()),
            state: Some(task.state().as_str()),
            generation: Some(task.generation()),
            ..Note::default()
        });
        if !self.agent.capabilities().keyed_state {
            return;
        }
        let key = Snapshot::key(task.id());
        let put = self.agent.put_state(&key, snapshots::body_of(task));
        let why = match within(self.options.patience, put).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "there was no answer in time".to_owned(),
        };
        let (task, why) = (Some(task.id()), Some(why.as_str()));
        self.tell(&Note { name: "snapshot.unpublished", task, why, ..Note::default() });
    }
}

async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(time, future).await.ok()
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
