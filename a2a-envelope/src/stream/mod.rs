//! Replies that stream: written under numbers, read in their order, whole again after a loss.
//!
//! On the wire:
//!
//! - Replies to one request carry `amb-seq` 1, 2, 3, …; an `Ack` is 0, has the body `{}`, and may come again.
//!   Replies of a task carry its `amb-generation`, which grows by one with every event.
//! - A stream begins with the whole task, unless its only reply is a message. It ends with the reply that has
//!   `mq9-a2a-last`: a task that is over, or one that asks something. An `End` (body `{}`) ends a stream whose
//!   last item could not say so.
//! - A worker that takes over numbers on behind everything its predecessor may have used, and begins with the
//!   whole task. A reader that waits for the numbers between goes on from that task.
//! - The snapshot of a task is the bare A2A task with `amb-generation`, published under the key `task.<id>`
//!   before its caller is told of a state. A reader that misses something reads it and goes on after its
//!   generation.
//!
//! ```
//! use std::time::Duration;
//! use a2a_envelope::stream::{Mirror, ReaderOptions, StreamReader, StreamWriter, WriterAction, WriterOptions};
//! use a2a_envelope::task::{MemoryTaskStore, Task, TaskRequest, TaskState};
//! use a2a_envelope::{CorrelationId, JsonText};
//!
//! let now = Duration::from_secs(1_763_000_000);
//! let message = JsonText::new(r#"{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"hi"}]}"#)?;
//! let request = TaskRequest::new(&CorrelationId::new("r-1")?, message).with_streaming();
//! let store = MemoryTaskStore::new();
//! let task = Task::new("t-1", "c-1", request, now)?;
//! store.put_now(&task, 0)?;
//!
//! let (mut writer, mut actions) = StreamWriter::open(task, WriterOptions::default(), now)?;
//! actions.extend(writer.text("answer", "hello ", now)?);
//! actions.extend(writer.text("answer", "world", now)?);
//! actions.extend(writer.complete(now)?);
//!
//! let mut reader = StreamReader::new(ReaderOptions::default(), now);
//! let mut mirror = Mirror::new();
//! for action in actions {
//!     match action {
//!         WriterAction::Save { task, expected, .. } => store.put_now(&task, expected)?,
//!         WriterAction::Send(envelope) => {
//!             reader.receive(envelope, now)?.iter().for_each(|item| mirror.apply(item));
//!         }
//!         _ => {}
//!     }
//! }
//! assert_eq!(mirror.text("answer").as_deref(), Some("hello world"));
//! assert_eq!(store.get_now("t-1").unwrap().state(), &TaskState::Completed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coalesce;
mod error;
mod item;
mod line;
mod mirror;
mod options;
mod reader;
mod reader_options;
mod retained;
mod snapshot;
mod unanswered;
mod writer;

pub use coalesce::Coalesce;
pub use error::StreamError;
pub use item::{ReaderItem, Reply, StreamEnd};
pub(crate) use line::error_json;
pub use line::{Belongs, Line};
pub use mirror::Mirror;
pub use options::WriterOptions;
pub use reader::StreamReader;
pub use reader_options::ReaderOptions;
#[cfg(feature = "agent")]
pub(crate) use snapshot::under_id;
pub use snapshot::{Snapshot, line_of, repeat_answer, repeat_answer_on, subscribed_while_idle};
pub use unanswered::end_unanswered;
pub use writer::{StreamWriter, WriterAction};
