//! What one streamed answer puts on the wire: sent token by token, gathered, or as snapshots of the task.

use std::time::Duration;

use a2a_envelope::stream::{Coalesce, Snapshot, StreamWriter, WriterAction, WriterOptions};
use a2a_envelope::task::{Task, TaskRequest};
use a2a_envelope::{CorrelationId, Envelope, JsonText};

use crate::rig::print;

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Every token is an event.
    PerToken,
    /// Tokens are gathered for 50 ms or 4 KiB.
    Coalesced,
    /// No events: the whole task, at every save (each 250 ms while chunks come).
    Snapshots,
}

/// What was put on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies and headers.
    pub bytes: u64,
}

/// All of it: `a2a.stream.messages_*` and `a2a.stream.bytes_*`.
pub fn traffic() {
    for (way, name) in
        [(Way::PerToken, "per_token"), (Way::Coalesced, "coalesced"), (Way::Snapshots, "snapshots")]
    {
        let Traffic { messages, bytes } = answer(way, TOKENS);
        let detail = format!(
            "one answer of {TOKENS} tokens, one each {} ms, {} bytes of text",
            EACH.as_millis(),
            text().len()
        );
        print(&format!("a2a.stream.messages_{name}"), messages as f64, "messages", &detail);
        print(&format!("a2a.stream.bytes_{name}"), bytes as f64, "bytes", "bodies and headers, unwrapped");
    }
}

/// One answer of so many tokens, written in virtual time.
pub fn answer(way: Way, tokens: usize) -> Traffic {
    let coalesce = if way == Way::PerToken { Coalesce::OFF } else { Coalesce::default() };
    let options = WriterOptions::default().with_coalesce(coalesce).with_task_inbox("worker-1.inbox");
    let id = CorrelationId::new("0198b7a2-6f1e-7c3a-9d51-3a7be0c1f2d4").expect("valid");
    let message = r#"{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"tell me"}]}"#;
    let request = TaskRequest::new(&id, JsonText::new(message).expect("valid")).with_streaming();
    let mut now = Duration::from_secs(1_763_000_000);
    let task = Task::new(
        "0198b7a2-7000-7aaa-8bbb-000000000001",
        "0198b7a2-7000-7aaa-8bbb-000000000002",
        request,
        now,
    )
    .expect("valid");
    let (mut writer, actions) = StreamWriter::open(task, options, now).expect("opens");
    let mut traffic = Traffic::default();
    traffic.count(way, actions);
    for token in words().take(tokens) {
        now += EACH;
        while let Some(due) = writer.next_deadline().filter(|due| *due <= now) {
            traffic.count(way, writer.poll(due).expect("open"));
        }
        traffic.count(way, writer.text("answer", token, now).expect("fits"));
    }
    traffic.count(way, writer.complete(now).expect("open"));
    traffic
}

impl Traffic {
    fn count(&mut self, way: Way, actions: Vec<WriterAction>) {
        for action in actions {
            match action {
                WriterAction::Send(envelope) if way != Way::Snapshots => self.add(&envelope),
                WriterAction::Save { task, .. } if way == Way::Snapshots => {
                    self.add(&Snapshot::of(&task).expect("carried"));
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, envelope: &Envelope) {
        self.messages += 1;
        self.bytes += (envelope.body.len() + envelope.headers.total_bytes()) as u64;
    }
}

/// Words of a plausible length, with the space before them, as models give them.
fn words() -> impl Iterator<Item = &'static str> {
    [" the", " answer", " to", " it", " depends", " on", " what", " was", " asked", "."].into_iter().cycle()
}

fn text() -> String {
    words().take(TOKENS).collect()
}

const TOKENS: usize = 2_000;
/// 50 tokens a second.
const EACH: Duration = Duration::from_millis(20);
