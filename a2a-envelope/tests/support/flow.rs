//! Requests, tasks and a store that carries out what a writer asks for.
#![allow(dead_code)]

use std::time::Duration;

use a2a_envelope::stream::{Snapshot, WriterAction};
use a2a_envelope::task::{MemoryTaskStore, Task, TaskError, TaskRequest};
use a2a_envelope::{CorrelationId, Envelope, JsonText, Limits};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(1_763_000_000_000 + millis)
}

pub(crate) fn correlation(id: &str) -> CorrelationId {
    CorrelationId::new(id).unwrap()
}

pub(crate) fn message(id: &str, text: &str) -> JsonText {
    JsonText::new(format!(r#"{{"messageId":"{id}","role":"ROLE_USER","parts":[{{"text":"{text}"}}]}}"#))
        .unwrap()
}

/// A request that wants every event.
pub(crate) fn request(id: &str) -> TaskRequest {
    TaskRequest::new(&correlation(id), message(&format!("m-{id}"), "go"))
        .with_key(format!("m-{id}"))
        .with_streaming()
}

pub(crate) fn new_task() -> Task {
    Task::new("t-1", "c-1", request("r-1"), ms(0)).unwrap()
}

/// Keeps what is to be kept and gives what is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) tasks: MemoryTaskStore,
    pub(crate) saves: usize,
}

impl Desk {
    pub(crate) fn with(task: &Task) -> Self {
        let desk = Self::default();
        desk.tasks.put_now(task, 0).unwrap();
        desk
    }

    pub(crate) fn carry(&mut self, actions: Vec<WriterAction>) -> Result<Vec<Envelope>, TaskError> {
        let mut sent = Vec::new();
        for action in actions {
            match action {
                WriterAction::Save { task, expected, .. } => {
                    self.saves += 1;
                    self.tasks.put_now(&task, expected)?;
                }
                WriterAction::Send(envelope) => sent.push(envelope),
                other => panic!("{other:?}"),
            }
        }
        Ok(sent)
    }

    /// The snapshot as it is published with each save.
    pub(crate) fn snapshot(&self, id: &str) -> Option<Snapshot> {
        let task = self.tasks.get_now(id)?;
        Some(Snapshot::read(&Snapshot::of(&task).unwrap(), &Limits::default()).unwrap())
    }
}

/// The number and generation of each.
pub(crate) fn numbers(sent: &[Envelope]) -> Vec<(u64, u64)> {
    sent.iter().map(|e| (e.seq().unwrap().unwrap(), e.generation().unwrap().unwrap_or(0))).collect()
}

pub(crate) fn body(envelope: &Envelope) -> &str {
    envelope.body_text().unwrap()
}
