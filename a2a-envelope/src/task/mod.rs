//! Tasks that outlive a request: their states, what is stored of them, and who may change them.
//!
//! A request ends when its task is over or asks its caller something; a task that asks is parked in the
//! [`TaskStore`], and any worker goes on with it when the answer comes. Nothing here does I/O or reads a
//! clock.
//!
//! Two workers never answer one task: each says which generation its change replaces, and of two that read
//! the same one the second is refused as [`Stale`](TaskError::Stale). This keeps a worker out that is not
//! wanted any longer; who may take over an open request, and when, is decided by whoever starts workers.

mod artifact;
mod error;
mod event;
mod listing;
mod memory;
mod question_deadline;
mod record;
mod state;
mod step;
mod store;
mod stored;
mod text;
mod time;
mod turn;
mod waiting;

pub use artifact::Artifact;
pub(crate) use artifact::text_part;
pub use error::TaskError;
pub use event::Event;
pub use listing::{TaskPage, TaskQuery};
pub use memory::MemoryTaskStore;
pub use question_deadline::{AnswerBy, QuestionPolicy, Unanswered};
pub use record::Task;
pub use state::TaskState;
pub use step::Step;
pub use store::{StoreFuture, TaskStore, may_replace};
pub use text::TaskText;
#[cfg(feature = "agent")]
pub(crate) use time::iso8601;
pub use turn::{Asked, TaskRequest, Turn};
pub use waiting::{Next, Waiting};
