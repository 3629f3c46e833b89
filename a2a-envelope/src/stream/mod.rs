//! Replies that stream: written under numbers, read in their order, whole again after a loss.

mod coalesce;
mod error;
mod line;
mod options;
mod retained;
mod snapshot;
mod writer;

pub use coalesce::Coalesce;
pub use error::StreamError;
pub use line::{Belongs, Line};
pub use options::WriterOptions;
pub use snapshot::{Snapshot, line_of, repeat_answer, subscribed_while_idle};
pub use writer::{StreamWriter, WriterAction};
