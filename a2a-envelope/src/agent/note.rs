//! What is told of requests and replies: fixed names and fields, and no word of what they say.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Arc, Mutex};

use super::handler::TurnError;
use super::telemetry;
use super::turn_handle::lock;
use crate::json::quote;

/// One thing that happened. Fields that do not apply are `None`; no field is a body or a whole address.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Note<'a> {
    /// What happened: one of the events that [`telemetry`](super::telemetry) lists.
    pub name: &'static str,
    /// The method asked for.
    pub method: Option<&'a str>,
    /// The dialect that asks or is answered.
    pub dialect: Option<&'a str>,
    /// The correlation id.
    pub correlation: Option<&'a str>,
    /// The task.
    pub task: Option<&'a str>,
    /// The task's state.
    pub state: Option<&'a str>,
    /// The number of a reply.
    pub seq: Option<u64>,
    /// The task's generation.
    pub generation: Option<u64>,
    /// Bytes of the body.
    pub bytes: Option<usize>,
    /// Milliseconds since the request.
    pub latency_ms: Option<u64>,
    /// Why, in words without content.
    pub why: Option<&'a str>,
}

impl Note<'_> {
    /// The note as one line of JSON, without a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut line = format!("{{\"event\":{}", quote(self.name));
        let texts = [
            ("method", self.method),
            ("dialect", self.dialect),
            ("correlation", self.correlation),
            ("task", self.task),
            ("state", self.state),
            ("why", self.why),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                let _ = write!(line, ",\"{name}\":{}", quote(value));
            }
        }
        let numbers = [
            ("seq", self.seq),
            ("generation", self.generation),
            ("bytes", self.bytes.map(|bytes| bytes as u64)),
            ("latency_ms", self.latency_ms),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                let _ = write!(line, ",\"{name}\":{value}");
            }
        }
        line.push('}');
        line
    }
}

/// Hears what happens. It is called in the midst of the work and must not block for long.
pub trait A2aObserver: Send + Sync + 'static {
    /// One thing happened.
    fn note(&self, note: &Note<'_>);

    /// A handler failed, and this is what it says: the one thing that may quote a message, so it is told here
    /// and nowhere else. By default nothing is done with it.
    fn handler_failed(&self, task: &str, error: &TurnError) {
        let _ = (task, error);
    }
}

/// Writes each note as a line of JSON. A line that cannot be written is left out.
pub struct JsonLines<W>(Mutex<W>);

impl<W: Write + Send + 'static> JsonLines<W> {
    /// Writes to `sink`.
    pub fn new(sink: W) -> Self {
        Self(Mutex::new(sink))
    }
}

impl<W: Write + Send + 'static> A2aObserver for JsonLines<W> {
    fn note(&self, note: &Note<'_>) {
        let mut line = note.to_json();
        line.push('\n');
        let _ = lock(&self.0).write_all(line.as_bytes());
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines")
    }
}

/// To whom it is told: the log, and an observer if there is one.
#[derive(Clone, Default)]
pub(crate) struct Notes(Option<Arc<dyn A2aObserver>>);

impl Notes {
    pub(crate) fn to(observer: impl A2aObserver) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn tell(&self, note: &Note<'_>) {
        telemetry::tell(note);
        if let Some(observer) = &self.0 {
            observer.note(note);
        }
    }
}

impl Notes {
    /// Tells that a handler failed, and to the observer alone what it says.
    pub(crate) fn handler_failed(&self, task: &str, error: Option<&TurnError>) {
        let why = if error.is_some() { "failed" } else { "panicked" };
        self.tell(&Note { name: "handler.failed", task: Some(task), why: Some(why), ..Note::default() });
        if let (Some(observer), Some(error)) = (&self.0, error) {
            observer.handler_failed(task, error);
        }
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notes").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_note_is_one_line_of_json_with_what_applies() {
        let sink = Sink::default();
        let notes = Notes::to(JsonLines::new(sink.clone()));
        let why = Some("two\nlines");
        notes.tell(&Note { name: "reply.sent", seq: Some(3), bytes: Some(9), why, ..Note::default() });
        notes.tell(&Note { name: "stream.end", ..Note::default() });
        let text = String::from_utf8(lock(&sink.0).clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [r#"{"event":"reply.sent","why":"two\nlines","seq":3,"bytes":9}"#, r#"{"event":"stream.end"}"#]
        );
    }
}
