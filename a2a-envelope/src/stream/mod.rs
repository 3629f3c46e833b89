//! Replies that stream: written under numbers, read in their order, whole again after a loss.

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
mod writer;

pub use coalesce::Coalesce;
pub use error::StreamError;
pub use item::{ReaderItem, Reply, StreamEnd};
pub use line::{Belongs, Line};
pub use mirror::Mirror;
pub use options::WriterOptions;
pub use reader::StreamReader;
pub use reader_options::ReaderOptions;
pub use snapshot::{Snapshot, line_of, repeat_answer, subscribed_while_idle};
pub use writer::{StreamWriter, WriterAction};
