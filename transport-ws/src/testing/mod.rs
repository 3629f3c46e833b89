//! The AgentChat double: what users run with no server installed, and what this crate tests itself
//! against.
//!
//! [`AgentChatServer`] is a real HTTP and WebSocket listener of this process. Its thinking has no sockets,
//! clock or threads: requests, frames and the time go in, answers and what is to be written go out.
//!
//! Under [`Profile::Legacy`] it answers as a recorded server does, surprises included; under
//! [`Profile::Current`] as later clients expect of theirs. The recordings are replayed against it as
//! tests. [`Switches`] decide what differs or is unknown, [`Faults`] make things go wrong on purpose.

mod clock;
mod engine;
mod faults;
mod journal;
mod profile;
mod server;

pub use engine::{PauseMode, Standing};
pub use faults::{Faults, HttpFault, PushFault};
pub use journal::JournalEntry;
pub use profile::{Profile, Switches};
pub use server::{AgentChatServer, AgentChatServerBuilder};
