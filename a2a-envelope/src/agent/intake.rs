//! What is done with one request, up to where its task works on it.

use std::sync::Arc;

use agentchat_core::{Address, ClientMsgId, Delivery, HandlerError, HandlerResult, Request};

use super::address;
use super::asker::Asker;
use super::mapping;
use super::note::Note;
use super::runner::{Command, Pending};
use super::server::Shared;
use super::turn_handle::lock;
use crate::call::Incoming;
use crate::correlation::CorrelationId;
use crate::dialect::Dialect;
use crate::envelope::Envelope;
use crate::error::{Error, Result as EnvelopeResult, excerpt};
use crate::idempotency::{Met, RequestError, RequestKey, RequestRecord, RequestState};
use crate::json::{self, quote};
use crate::json_text::JsonText;
use crate::received::{MessageKind, Received};
use crate::sha256::sha256_base32;
use crate::stream::{Belongs, Line};
use crate::task::{Task, TaskError, Turn};
use crate::vocabulary::Operation;

impl Shared {
    /// Takes one message of the inbox. `Ok` means that it may be settled.
    pub(crate) async fn take(self: &Arc<Self>, request: Request) -> HandlerResult {
        let delivery = request.delivery();
        if mapping::is_reply(delivery) {
            return Ok(());
        }
        let limits = &self.options.limits;
        let received =
            match Received::read(mapping::headers_of(delivery), delivery.body.bytes.clone(), limits) {
                Ok(received) => received,
                Err(error) => return self.unread(delivery, &error).await,
            };
        if received.kind == MessageKind::Reply {
            return Ok(());
        }
        let correlation = correlation_of(&received, delivery);
        let dialect = format!("{:?}", received.dialect);
        let method = received.method.as_deref().map(told_method);
        let note = Note {
            method: method.as_deref(),
            dialect: Some(&dialect),
            correlation: Some(&correlation),
            bytes: Some(received.envelope.body.len()),
            ..Note::default()
        };
        self.tell(&Note { name: "request.received", ..note });
        let to = match self.answer_address(&received, delivery) {
            Ok(to) => to,
            Err(error) => {
                // An answer would go to where the sender wants it: nobody is told.
                let why = error.to_string();
                self.tell(&Note { name: "request.rejected", why: Some(&why), ..note });
                return Ok(());
            }
        };
        let mut asker = Asker::new(&received, delivery, to, self.agent.address().name());
        let incoming = match self.incoming(&received, delivery, &correlation) {
            Ok(incoming) => incoming,
            Err(error) => {
                let why = error.to_string();
                self.tell(&Note { name: "request.rejected", why: Some(&why), ..note });
                let code = if matches!(error, Error::NotJson { .. }) { -32700 } else { -32600 };
                let made = refusal(&correlation, code, &why);
                self.deliver_made(&mut asker, made).await;
                return Ok(());
            }
        };
        if incoming.is_expired(self.clock.now()) && !self.knows(&received, delivery, &incoming, &asker) {
            self.tell(&Note { name: "request.expired", ..note });
            self.deliver_made(&mut asker, incoming.expired()).await;
            return Ok(());
        }
        self.dispatch(&received, delivery, incoming, asker).await
    }

    /// Whether this is a copy of a request that became a task: what became of it is said again, late or not.
    fn knows(&self, received: &Received, delivery: &Delivery, incoming: &Incoming, asker: &Asker) -> bool {
        let Some(key) =
            incoming.key.as_ref().filter(|_| incoming.operation.is_some_and(Operation::sends_message))
        else {
            return false;
        };
        let known = lock(&self.requests).get(&sender_of(asker, delivery), key).cloned();
        let same = known.filter(|known| known.body_hash == sha256_base32(&received.envelope.body));
        same.is_some_and(|known| {
            known.state == RequestState::Answered || lock(&self.running).contains_key(&known.task_id)
        })
    }

    async fn dispatch(
        self: &Arc<Self>,
        received: &Received,
        delivery: &Delivery,
        incoming: Incoming,
        mut asker: Asker,
    ) -> HandlerResult {
        let id = incoming.task_id.clone();
        let missing =
            |incoming: &Incoming| incoming.refused(-32602, "the request names no task", "INVALID_PARAMS");
        match incoming.operation {
            Some(Operation::SendMessage | Operation::SendStreamingMessage) => {
                self.send_message(received, delivery, incoming, asker).await
            }
            Some(Operation::GetTask) => {
                let Some(id) = id else {
                    self.deliver_made(&mut asker, missing(&incoming)).await;
                    return Ok(());
                };
                match self.tasks.get(&id).await? {
                    Some(task) => {
                        let newest = received.request().and_then(|request| request.history_length);
                        self.answer_task(&incoming, &mut asker, &task, newest).await;
                    }
                    None => self.deliver_made(&mut asker, incoming.refused_by(&TaskError::NotFound)).await,
                }
                Ok(())
            }
            Some(Operation::CancelTask | Operation::SubscribeToTask) => {
                let Some(id) = id else {
                    self.deliver_made(&mut asker, missing(&incoming)).await;
                    return Ok(());
                };
                let cancels = incoming.operation == Some(Operation::CancelTask);
                let both = Box::new((incoming, asker));
                let command = if cancels { Command::Cancel(both) } else { Command::Subscribe(both) };
                if let Err(command) = self.command(&id, command) {
                    self.idle(command).await;
                }
                Ok(())
            }
            Some(
                Operation::CreateTaskPushNotificationConfig
                | Operation::GetTaskPushNotificationConfig
                | Operation::ListTaskPushNotificationConfigs
                | Operation::DeleteTaskPushNotificationConfig,
            ) => {
                let why = "push notifications are not supported";
                let made = incoming.refused(-32003, why, "PUSH_NOTIFICATION_NOT_SUPPORTED");
                self.deliver_made(&mut asker, made).await;
                Ok(())
            }
            Some(Operation::GetExtendedAgentCard) => {
                self.extended_card(&incoming, &mut asker).await;
                Ok(())
            }
            Some(Operation::ListTasks) => self.list_tasks(received, &incoming, &mut asker).await,
            None => {
                self.other(received, &incoming, &mut asker).await;
                Ok(())
            }
        }
    }

    async fn send_message(
        self: &Arc<Self>,
        received: &Received,
        delivery: &Delivery,
        mut incoming: Incoming,
        mut asker: Asker,
    ) -> HandlerResult {
        if incoming.message.is_none() {
            match message_of(received, incoming.line.correlation().as_str()) {
                Ok(message) => incoming.message = Some(message),
                Err((code, why)) => {
                    let made = incoming.refused(code, why, "INVALID_REQUEST");
                    self.deliver_made(&mut asker, made).await;
                    return Ok(());
                }
            }
        }
        incoming.reply_to = asker.to.as_ref().map(|to| to.as_str().to_owned());
        let Some(key) = incoming.key.clone() else {
            return Err(HandlerError::reject("the request has no id"));
        };
        let sender = sender_of(&asker, delivery);
        let task_id = incoming.task_id.clone().unwrap_or_else(|| ClientMsgId::random().as_str().to_owned());
        let body = &received.envelope.body;
        let now = self.clock.now();
        let met = lock(&self.requests).meet_until(&sender, &key, body, &task_id, incoming.deadline, now);
        let correlation = incoming.line.correlation().as_str().to_owned();
        let note = Note { correlation: Some(&correlation), ..Note::default() };
        match met {
            Err(RequestError::Conflict) => {
                self.tell(&Note { name: "request.rejected", why: Some("conflict"), ..note });
                self.deliver_made(&mut asker, incoming.conflict()).await;
                Ok(())
            }
            Err(error @ RequestError::Full { .. }) => Err(HandlerError::retry(error)),
            Ok(Met::Answered(record)) => {
                self.tell(&Note { name: "request.duplicate", task: Some(&record.task_id), ..note });
                self.answer_again(&record, &incoming, &mut asker).await;
                Ok(())
            }
            Ok(Met::New(record)) => {
                let claimed = self.stored(|| self.records.claim(&record)).await;
                if !matches!(claimed, Ok(None)) {
                    lock(&self.requests).abandon(&sender, &key);
                }
                match claimed {
                    Err(error) => Err(HandlerError::retry(error)),
                    Ok(None) => self.go_on(Pending { incoming, asker, record, told: false }).await,
                    Ok(Some(known)) if known.body_hash != record.body_hash => {
                        self.tell(&Note { name: "request.rejected", why: Some("conflict"), ..note });
                        self.deliver_made(&mut asker, incoming.conflict()).await;
                        Ok(())
                    }
                    // Another worker has it, or had it.
                    Ok(Some(known)) => {
                        self.tell(&Note { name: "request.duplicate", task: Some(&known.task_id), ..note });
                        if known.state == RequestState::Answered {
                            self.answer_again(&known, &incoming, &mut asker).await;
                            return Ok(());
                        }
                        self.go_on(Pending { incoming, asker, record: known, told: false }).await
                    }
                }
            }
            Ok(Met::Running(record)) => {
                self.tell(&Note { name: "request.duplicate", task: Some(&record.task_id), ..note });
                self.go_on(Pending { incoming, asker, record, told: false }).await
            }
        }
    }

    /// Goes on with a recorded request from where the stores say it is.
    async fn go_on(self: &Arc<Self>, mut pending: Pending) -> HandlerResult {
        let id = pending.record.task_id.clone();
        let task = self.stored(|| self.tasks.get(&id)).await.map_err(HandlerError::retry)?;
        if let Some(turn) = task.as_ref().and_then(|task| turn_of(task, &pending.record)) {
            if turn.closed {
                // Its record was not closed: it is answered all the same.
                self.answer_again(&pending.record, &pending.incoming, &mut pending.asker).await;
                self.close_record(&pending.record, None).await;
                return Ok(());
            }
            if !lock(&self.running).contains_key(&id) {
                self.leave(&pending.record);
            }
            self.acknowledge(&pending.incoming, &mut pending.asker).await;
            if pending.incoming.line.correlation().as_str() != turn.request.correlation {
                if let Err(command) = self.command(&id, Command::Join(Box::new(pending))) {
                    self.idle(command).await;
                }
            }
            return Ok(());
        }
        if pending.incoming.task_id.is_some() {
            // It may wait for long: what is only in memory must not be settled.
            if lock(&self.running).contains_key(&id) {
                self.record_waiting(&mut pending).await.map_err(HandlerError::retry)?;
            }
            if let Err(Command::FollowUp(pending)) = self.command(&id, Command::FollowUp(Box::new(pending))) {
                self.follow_up(*pending, task).await;
            }
            return Ok(());
        }
        let Some(request) = request_of(&pending) else { return Err(HandlerError::reject("no message")) };
        let context = pending.incoming.context_id.clone();
        let context = context.unwrap_or_else(|| ClientMsgId::random().as_str().to_owned());
        let task = match Task::new(id, context, request, self.clock.now()) {
            Ok(task) => task,
            Err(error) => {
                self.refuse(pending, &error).await;
                return Ok(());
            }
        };
        match self.save(&task, 0).await {
            Ok(()) => {}
            // Another worker was faster.
            Err(TaskError::Stale { .. }) => {
                self.leave(&pending.record);
                return Ok(());
            }
            Err(error) => return Err(HandlerError::retry(error)),
        }
        self.acknowledge(&pending.incoming, &mut pending.asker).await;
        match self.start_task(task, pending.asker, Some(pending.record)) {
            true => Ok(()),
            false => Err(HandlerError::retry("the server stops")),
        }
    }

    /// A follow-up to a task that does not work here.
    pub(crate) async fn follow_up(self: &Arc<Self>, mut pending: Pending, task: Option<Task>) {
        let Some(mut task) = task else { return self.refuse(pending, &TaskError::NotFound).await };
        if let Some(turn) = turn_of(&task, &pending.record) {
            // It came again while it waited.
            return match turn.closed {
                true => self.answer_again(&pending.record, &pending.incoming, &mut pending.asker).await,
                false => self.leave(&pending.record),
            };
        }
        let expected = task.generation();
        let opened = match self.open_follow_up(&mut task, &pending) {
            Ok(()) => self.save(&task, expected).await,
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            // The same message, taken by another worker in the meantime, is no second answer.
            let now = self.tasks.get(task.id()).await.ok().flatten();
            if now.is_some_and(|task| turn_of(&task, &pending.record).is_some()) {
                return self.leave(&pending.record);
            }
            return self.refuse(pending, &error).await;
        }
        if !pending.told {
            self.acknowledge(&pending.incoming, &mut pending.asker).await;
        }
        let _ = self.start_task(task, pending.asker, Some(pending.record));
    }

    /// Another worker has this request; what becomes of it is in the stores.
    fn leave(&self, record: &RequestRecord) {
        if let Some(key) = RequestKey::new(&record.key) {
            lock(&self.requests).abandon(&record.sender, &key);
        }
    }

    pub(crate) fn open_follow_up(&self, task: &mut Task, pending: &Pending) -> Result<(), TaskError> {
        let request = request_of(pending).ok_or(TaskError::Id)?;
        let incoming = &pending.incoming;
        task.follow_up(request, incoming.context_id.as_deref(), incoming.if_generation, self.clock.now())
    }

    /// A message that cannot be read at all is answered in this format, where the network says whom to answer.
    async fn unread(&self, delivery: &Delivery, error: &Error) -> HandlerResult {
        let why = error.to_string();
        self.tell(&Note { name: "request.rejected", why: Some(&why), ..Note::default() });
        let correlation = delivery.correlation_id.as_ref().map(|id| id.as_str().to_owned());
        let (Some(correlation), Some(to)) = (correlation, delivery.answer_address()) else { return Ok(()) };
        if address::check(self.agent.address(), to).is_err() {
            return Ok(());
        }
        let mut headers = mapping::headers_of(delivery);
        if headers.contains(crate::names::ENVELOPE) {
            // Another format of this envelope is answered in the one known here.
            let _ = headers.set(crate::names::ENVELOPE, crate::FORMAT);
        }
        // The headers tell the dialect; of the body nothing is left to be told.
        let Ok(bare) = Received::read(headers, "{}", &self.options.limits) else { return Ok(()) };
        let mut asker = Asker::new(&bare, delivery, Some(to.clone()), self.agent.address().name());
        let code =
            if matches!(error, Error::NotJson { .. } | Error::NotUtf8 { .. }) { -32700 } else { -32600 };
        self.deliver_made(&mut asker, refusal(&correlation, code, &why)).await;
        Ok(())
    }

    /// Where the answers to a request go.
    fn answer_address(&self, received: &Received, delivery: &Delivery) -> EnvelopeResult<Option<Address>> {
        let own = self.agent.address();
        if let Some(to) = &delivery.reply_to {
            address::check(own, to)?;
            return Ok(Some(to.clone()));
        }
        if let Some(claim) = &received.answer {
            return address::resolve(own, &claim.address).map(Some);
        }
        // A sender that gives its request an id waits for an answer, wherever the id stands.
        let waits = received.correlation.is_some();
        Ok(delivery.sender.clone().filter(|to| waits && address::check(own, to).is_ok()))
    }

    fn incoming(
        &self,
        received: &Received,
        delivery: &Delivery,
        correlation: &str,
    ) -> EnvelopeResult<Incoming> {
        received.check(&self.options.limits)?;
        let mut envelope = received.envelope.clone();
        let legal = received.correlation.as_ref().is_some_and(|found| found.to_header().is_ok());
        if !legal {
            envelope = envelope.with_correlation_id(&CorrelationId::new(correlation)?)?;
        }
        let id = delivery.client_msg_id.as_ref().map(ClientMsgId::as_str);
        Incoming::read(&envelope, id, &self.options.limits)
    }
}

/// The id a request is answered under: its own where a header can carry it, else one made of what the network
/// knows it by.
fn correlation_of(received: &Received, delivery: &Delivery) -> String {
    match received.correlation.as_ref().and_then(|found| found.to_header().ok()) {
        Some(id) => id.as_str().to_owned(),
        None => {
            let id = delivery.client_msg_id.as_ref().map_or(delivery.id.as_str(), ClientMsgId::as_str);
            ClientMsgId::derived("a2a correlation", id).as_str().to_owned()
        }
    }
}

/// Whose requests a key tells apart: who the network says sent it, and where it is answered. A retry keeps both.
/// Where the network names nobody, whoever may read the answers is who asked.
fn sender_of(asker: &Asker, delivery: &Delivery) -> String {
    let to = asker.to.as_ref().map_or("", Address::as_str);
    match &delivery.sender {
        Some(sender) => format!("{sender}\n{to}"),
        None => to.to_owned(),
    }
}

/// A method as it is told: what a peer calls it, cut where it is long.
fn told_method(method: &str) -> String {
    Operation::parse(method).map_or_else(|| excerpt(method), |known| known.as_str().to_owned())
}

/// The turn that a request has become.
pub(super) fn turn_of<'a>(task: &'a Task, record: &RequestRecord) -> Option<&'a Turn> {
    task.turns().iter().rev().find(|turn| turn.is_of(record))
}

/// The message of a request that does not say it as A2A does, or why there is none.
fn message_of(received: &Received, id: &str) -> Result<JsonText, (i32, &'static str)> {
    let body = &received.envelope.body;
    if let Some(message) = received.request().and_then(|request| request.message.map(|m| m.raw.to_owned())) {
        return JsonText::new(message).map_err(|_| (-32602, "the message cannot be read"));
    }
    let text = match received.dialect {
        Dialect::Hermes => received.text(),
        Dialect::Opaque => String::from_utf8_lossy(body).into_owned(),
        _ if json::parse_body(body, &crate::limits::Limits::default()).is_err() => {
            return Err((-32700, "the body is no JSON"));
        }
        _ => return Err((-32602, "the request has no message")),
    };
    let message =
        format!(r#"{{"messageId":{},"role":"ROLE_USER","parts":[{{"text":{}}}]}}"#, quote(id), quote(&text));
    JsonText::new(message).map_err(|_| (-32602, "the message cannot be read"))
}

pub(super) fn request_of(pending: &Pending) -> Option<crate::task::TaskRequest> {
    let mut request = pending.incoming.task_request()?;
    request.key = Some(pending.record.key.clone());
    request.sender = Some(pending.record.sender.clone());
    request.asked = pending.asker.asked();
    Some(request)
}

fn refusal(correlation: &str, code: i32, why: &str) -> EnvelopeResult<Envelope> {
    let mut line = Line::new(CorrelationId::new(correlation)?, JsonText::string(correlation));
    let made = line.failure(code, why, "INVALID_REQUEST", Belongs::nowhere())?;
    Ok(made.expect("a new line has not ended"))
}
