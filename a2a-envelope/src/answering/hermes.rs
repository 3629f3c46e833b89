//! Answers as the Hermes plugin writes them.

use super::Answer;
use super::answer::Content;
use super::plain;
use crate::dialect::is_hermes;
use crate::envelope::Envelope;
use crate::json::{Node, quote};
use crate::task::TaskState;
use crate::view::EventView;

/// What a Hermes reply repeats of its call, as JSON text.
#[derive(Clone)]
pub(super) struct HermesCall {
    correlation_id: String,
    protocol: String,
    content_type: Option<String>,
    payload: Option<String>,
    context: Option<String>,
}

impl HermesCall {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let root = crate::view::object(body).filter(|root| is_hermes(*root))?;
        let text = |name| root.get(name).map(Node::raw).map(str::to_owned);
        Some(Self {
            correlation_id: text("correlation_id").unwrap_or_else(|| "null".to_owned()),
            protocol: text("protocol").unwrap_or_else(|| quote("a2a")),
            content_type: text("content_type"),
            payload: text("payload"),
            context: text("context"),
        })
    }

    /// The one reply, which is the last answer; `None` for those before it.
    pub(super) fn reply(&self, answer: &Answer, agent: &str) -> Option<Envelope> {
        if !answer.is_last() {
            return None;
        }
        let event = answer.json().and_then(|json| EventView::read(json.as_bytes()));
        let failed = matches!(answer.content, Content::Failure { .. })
            || matches!(
                event.as_ref().and_then(EventView::state),
                Some(TaskState::Failed | TaskState::Rejected)
            );
        let said = match (&answer.content, &event) {
            (Content::Failure { message, .. }, _) => message.clone(),
            (_, Some(event)) => event.text(),
            (_, None) => answer.json().unwrap_or_default().to_owned(),
        };
        let mut result = format!(r#"{{"mode":"a2a","summary":{}"#, quote(&summary(&said)));
        add(&mut result, if failed { "error" } else { "answer" }, &quote(&said));
        if let Some(event) = &event {
            let name = match event {
                EventView::Task(_) => "task",
                EventView::Message(_) => "message",
                EventView::Status(_) => "statusUpdate",
                EventView::Artifact(_) => "artifactUpdate",
            };
            add(&mut result, name, event.raw());
        }
        self.payload.iter().for_each(|payload| add(&mut result, "request", payload));
        self.context.iter().for_each(|context| add(&mut result, "context", context));
        result.push('}');

        let mut reply = format!(r#"{{"type":"mq9_call_reply","ok":{}"#, !failed);
        add(&mut reply, "from", &quote(agent));
        add(&mut reply, "correlation_id", &self.correlation_id);
        add(&mut reply, "protocol", &self.protocol);
        add(&mut reply, "result", &result);
        self.content_type.iter().for_each(|kind| add(&mut reply, "content_type", kind));
        answer.unix_seconds.iter().for_each(|seconds| add(&mut reply, "ts", &seconds.to_string()));
        reply.push('}');
        Some(plain(reply))
    }
}

fn add(object: &mut String, name: &str, value: &str) {
    object.push_str(",\"");
    object.push_str(name);
    object.push_str("\":");
    object.push_str(value);
}

/// The first line, cut.
fn summary(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(SUMMARY).collect()
}

/// The longest summary, in characters.
const SUMMARY: usize = 200;
