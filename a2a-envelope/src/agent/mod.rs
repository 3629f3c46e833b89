//! A2A over the agents of `agentchat-core`: servers that answer, and calls that listen.

mod address;
mod answer;
mod asker;
mod call;
mod carry;
mod client;
mod clock;
mod error;
mod handler;
mod intake;
mod note;
mod options;
mod outlet;
mod recover;
mod request;
mod runner;
mod server;
mod snapshots;
mod turn;

pub use answer::A2aAnswer;
pub use call::A2aCall;
pub use client::A2aClient;
pub use error::A2aError;
pub use handler::{A2aHandler, TurnError, TurnResult, text_handler};
pub use note::{A2aObserver, JsonLines, Note};
pub use options::A2aServerOptions;
pub use request::A2aRequest;
pub use server::{A2aServer, A2aServing};
pub use turn::{TurnHandle, TurnRefusal};
