//! Answers as the mq9 facade writes them.

use super::answer::Content;
use super::{Answer, Answering, plain};
use crate::convert::Wrapping;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::names;
use crate::view::EventView;
use crate::vocabulary::{ErrorCode, Operation};

impl Answering {
    /// A bare event with its class name in a header; `None` for what the facade has no form for.
    pub(super) fn facade(&self, answer: &Answer) -> Result<Option<Envelope>> {
        // It looks at no header of these, and takes an empty object for a task nobody knows.
        if matches!(self.operation, Some(Operation::GetTask | Operation::ListTasks | Operation::CancelTask)) {
            return Ok(match &answer.content {
                Content::Failure { code, .. } if *code == ErrorCode::TaskNotFound.code() => Some(plain("{}")),
                _ => self.bare(answer).map(plain),
            });
        }
        let body = match &answer.content {
            Content::Json(json) => self.said(json, Wrapping::Bare, answer.is_last()),
            Content::Failure { message, .. } => self.failed(message),
            Content::Raw(bytes) => {
                return tell(plain(bytes.clone()), answer.json(), answer.is_last()).map(Some);
            }
            // What the facade itself sends behind a stream.
            Content::End => {
                let ended = r#"{"taskId":"","contextId":"","status":{"state":"TASK_STATE_COMPLETED"}}"#;
                self.said(ended, Wrapping::Bare, true)
            }
            Content::Ack => return Ok(None),
        };
        tell(plain(body.clone()), Some(&body), answer.is_last()).map(Some)
    }
}

fn tell(mut envelope: Envelope, json: Option<&str>, last: bool) -> Result<Envelope> {
    if let Some(event) = json.and_then(|json| EventView::read(json.as_bytes())) {
        envelope = envelope.with_header(names::TYPE, event.class_name())?;
        if let Some(id) = event.task_id() {
            envelope = envelope.with_task_id(id)?;
        }
    }
    envelope.with_last(last)
}
