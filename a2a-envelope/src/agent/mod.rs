//! A2A over the agents of `agentchat-core`: servers that answer, and calls that listen.
//!
//! [`A2aServer`] drives the machines of this crate over one agent's inbox: a request is recorded, its task is
//! stored, the caller is told, and only then its message is settled and a [`TurnHandle`] given to the
//! [`A2aHandler`]. Replies carry ids made of their request and number, so that one that is sent again is the same
//! message. Where the network has keyed state, every save is published as the task's
//! [`Snapshot`](crate::stream::Snapshot), its generation in `metadata["amb-generation"]`.
//!
//! [`A2aClient`] calls; an [`A2aCall`] is the stream of replies and the wait for the last. Whoever asks in another
//! dialect is answered in it.
//!
//! What happens is told by `tracing` spans and events, which are listed in [`telemetry`], and to an
//! [`A2aObserver`]. A call and the work on it are one trace, and so is what a handler calls in turn.
//!
//! On a network where agents have one inbox, whoever knows a call's correlation id could answer it; it is made
//! of the `messageId`, so leave that random there.

// A request goes through `intake` to `idle` (its task does not work here) or `runner` (it does), and what is said
// leaves by `outlet`; `asker` and `address` say to whom, `mapping` turns it into a message of the core. Without a
// task answer `direct_answers`, `server_queries` and `unknown_methods`. Behind a death clean up `recover`, `sweep`
// and `question_deadlines`. The caller is `client`, `call` and `client_queries`. `wrapped_connector`, `wrapping`
// and `base64` are for bodies alone.

mod a2a_answer;
mod address;
mod asker;
mod base64;
mod call;
mod client;
mod client_queries;
mod clock;
mod direct_answers;
mod error;
mod handler;
mod idle;
mod intake;
mod mapping;
mod note;
mod options;
mod outlet;
mod oversize;
mod question;
mod question_deadlines;
mod recover;
mod request;
mod runner;
mod server;
mod server_queries;
mod snapshots;
mod sweep;
pub mod telemetry;
mod turn_handle;
mod unknown_methods;
mod waiting;
mod wrapped_connector;
mod wrapping;

pub use a2a_answer::A2aAnswer;
pub use call::A2aCall;
pub use client::A2aClient;
pub use client_queries::TaskList;
pub use error::A2aError;
pub use handler::{A2aHandler, TurnError, TurnResult, text_handler};
pub use note::{A2aObserver, JsonLines, Note};
pub use options::A2aServerOptions;
pub use question::Question;
pub use request::A2aRequest;
pub use server::{A2aServer, A2aServing};
pub use turn_handle::{TurnHandle, TurnRefusal};
pub use wrapped_connector::Wrapped;
