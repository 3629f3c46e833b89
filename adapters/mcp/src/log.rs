//! Logs to stderr: stdout is the protocol's.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Logs what this project's crates say, from `level` on. What others say may quote messages, and is left out.
pub(crate) fn to_stderr(level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::WARN);
    // There is none before: this is the program.
    let _ = tracing::subscriber::set_global_default(ToStderr { level });
}

struct ToStderr {
    level: LevelFilter,
}

struct Line(String);

impl Subscriber for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = OURS.iter().any(|name| metadata.target().starts_with(name));
        ours && metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}:", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        line.0.push('\n');
        // Nobody reads it, then.
        let _ = std::io::stderr().lock().write_all(line.0.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

const OURS: [&str; 4] = ["agentchat", "transport_", "mq9_client", "a2a_envelope"];
