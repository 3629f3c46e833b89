//! How a writer turns events into numbered replies and saves.

use std::time::Duration;

use super::super::error::StreamError;
use super::super::line::{Belongs, Line};
use super::super::options::WriterOptions;
use super::{StreamWriter, WriterAction};
use crate::error::Result as EnvelopeResult;
use crate::json::quote;
use crate::json_text::JsonText;
use crate::reply::ReplyType;
use crate::task::{Artifact, Event, Task};

impl StreamWriter {
    pub(super) fn take(&mut self) -> Vec<WriterAction> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn take_event(
        &mut self,
        event: &Event,
        spelled: Option<JsonText>,
        now: Duration,
    ) -> Result<Vec<WriterAction>, StreamError> {
        self.check_open()?;
        self.flush(false, now)?;
        if let Event::Artifact { artifact, .. } = event {
            self.began(&artifact.id);
        }
        self.write(event, spelled, now)?;
        Ok(self.take())
    }

    pub(super) fn check_open(&self) -> Result<(), StreamError> {
        if self.ended { Err(StreamError::Ended) } else { Ok(()) }
    }

    pub(super) fn flush_due(&mut self, now: Duration) -> Result<(), StreamError> {
        let due = self.gathered.as_ref().is_some_and(|gathered| gathered.is_due(now, &self.options.coalesce));
        if due { self.flush(false, now) } else { Ok(()) }
    }

    pub(super) fn flush(&mut self, last_chunk: bool, now: Duration) -> Result<(), StreamError> {
        let Some(gathered) = self.gathered.take() else { return Ok(()) };
        let append = !self.began(&gathered.artifact);
        let artifact = Artifact::new(gathered.artifact.as_str()).with_part(gathered.part());
        self.write(&Event::Artifact { artifact, append, last_chunk }, None, now)
    }

    /// Whether this is the first mention of an artifact.
    fn began(&mut self, artifact: &str) -> bool {
        let new = !self.begun.iter().any(|known| known == artifact);
        if new {
            self.begun.push(artifact.to_owned());
        }
        new
    }

    fn write(&mut self, event: &Event, spelled: Option<JsonText>, now: Duration) -> Result<(), StreamError> {
        // The caller of a lone message never hears of the task.
        if !matches!(event, Event::Message(_) | Event::Task(_)) && self.wants_announcing() {
            self.announce()?;
        }
        let generation = self.task.apply(event, now)?;
        self.task.set_answer_by(self.options.question.answer_by(now));
        if event.ends_request() {
            return self.write_last(event, spelled, now);
        }
        let at_once = matches!(event, Event::Status { .. } | Event::Task(_))
            || matches!(event, Event::Artifact { last_chunk: true, .. });
        if at_once {
            self.save(now);
        } else {
            self.unsaved = true;
            self.make_room(now);
        }
        let response =
            spelled.unwrap_or_else(|| event.to_stream_response(self.task.id(), self.task.context_id()));
        self.announced |= matches!(event, Event::Task(_));
        self.send(&response, false)?;
        self.retained.push(generation, response);
        if self.unsaved && now >= self.saved_at.saturating_add(self.options.save_every) {
            self.save(now);
        }
        Ok(())
    }

    /// The end: what the caller will read is stored before it is told.
    fn write_last(
        &mut self,
        event: &Event,
        spelled: Option<JsonText>,
        now: Duration,
    ) -> Result<(), StreamError> {
        self.ended = true;
        self.task.settle_numbers(self.line.seq() + 1);
        self.save_as_it_is(now);
        let response =
            spelled.unwrap_or_else(|| event.to_stream_response(self.task.id(), self.task.context_id()));
        let subscribers = std::mem::take(&mut self.subscribers);
        let mut line = self.line.clone();
        self.send_last(&mut line, self.streams, event, &response)?;
        self.line = line;
        for mut line in subscribers {
            self.send_last(&mut line, true, event, &response)?;
        }
        Ok(())
    }

    fn send_last(
        &mut self,
        line: &mut Line,
        streams: bool,
        event: &Event,
        response: &JsonText,
    ) -> Result<(), StreamError> {
        let alone = matches!(event, Event::Message(_));
        let belongs = if alone { Belongs::nowhere() } else { self.belongs() };
        let made = match event {
            Event::Failure { error, .. } => line.failure_with(error, belongs)?,
            _ if streams => line.result(ReplyType::StreamResponse, response, true, belongs)?,
            Event::Message(_) | Event::Task(_) => {
                line.result(ReplyType::Response, response, true, belongs)?
            }
            _ => line.result(ReplyType::Response, &self.whole(), true, belongs)?,
        };
        self.out.extend(made.map(WriterAction::Send));
        Ok(())
    }

    fn send(&mut self, response: &JsonText, last: bool) -> EnvelopeResult<()> {
        let belongs = belongs(&self.task, self.task.generation(), &self.options);
        if self.streams {
            let made = self.line.result(ReplyType::StreamResponse, response, last, belongs)?;
            self.out.extend(made.map(WriterAction::Send));
        }
        for line in &mut self.subscribers {
            let made = line.result(ReplyType::StreamResponse, response, last, belongs)?;
            self.out.extend(made.map(WriterAction::Send));
        }
        Ok(())
    }

    pub(super) fn wants_announcing(&self) -> bool {
        self.streams && !self.announced
    }

    /// Tells the caller of the task. Who subscribed has been told.
    pub(super) fn announce(&mut self) -> EnvelopeResult<()> {
        self.announced = true;
        if self.streams {
            let whole = self.whole();
            let belongs = belongs(&self.task, self.task.generation(), &self.options);
            let made = self.line.result(ReplyType::StreamResponse, &whole, false, belongs)?;
            self.out.extend(made.map(WriterAction::Send));
        }
        Ok(())
    }

    /// No number is used that the store does not know to be reserved.
    fn make_room(&mut self, now: Duration) {
        if self.line.seq() >= self.reserved_seq || self.task.generation() > self.reserved_generation {
            self.save(now);
        }
    }

    pub(super) fn save(&mut self, now: Duration) {
        let reserve = self.options.reserve.max(1);
        self.reserved_seq = self.line.seq() + reserve;
        self.reserved_generation = self.task.generation() + reserve;
        self.task.reserve(self.reserved_seq, self.reserved_generation);
        self.save_as_it_is(now);
    }

    fn save_as_it_is(&mut self, now: Duration) {
        let task = Box::new(self.task.clone());
        self.out.push(WriterAction::Save { task, expected: self.stored });
        self.stored = self.task.generation();
        self.saved_at = now;
        self.unsaved = false;
    }

    pub(super) fn whole(&self) -> JsonText {
        JsonText::trusted(format!("{{\"task\":{}}}", self.task.to_json()))
    }

    pub(super) fn belongs(&self) -> Belongs<'_> {
        self.belongs_at(self.task.generation())
    }

    pub(super) fn belongs_at(&self, generation: u64) -> Belongs<'_> {
        belongs(&self.task, generation, &self.options)
    }

    /// What the agent says, as an A2A message.
    pub(super) fn say(&self, text: &str) -> JsonText {
        said_of(&self.task, text)
    }
}

/// What the agent of a task says next, as an A2A message.
pub(in crate::stream) fn said_of(task: &Task, text: &str) -> JsonText {
    let id = format!("{}.{}", task.id(), task.generation() + 1);
    JsonText::trusted(format!(
        "{{\"messageId\":{},\"taskId\":{},\"contextId\":{},\"role\":\"ROLE_AGENT\",\"parts\":[{{\"text\":{}}}]}}",
        quote(&id),
        quote(task.id()),
        quote(task.context_id()),
        quote(text)
    ))
}

fn belongs<'a>(task: &'a Task, generation: u64, options: &'a WriterOptions) -> Belongs<'a> {
    Belongs::to_task(task.id(), task.context_id(), generation)
        .with_task_inbox(options.task_inbox.as_deref())
        .with_answer_by(task.answer_by())
}
