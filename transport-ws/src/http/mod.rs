//! One thin HTTP client: an honest attempt, and the retries above it.

mod answer;
mod attempt;
mod call;
mod client;
mod connections;
mod error;
mod hooks;
mod path;
mod retry;
mod retry_after;

pub(crate) use answer::Answer;
pub(crate) use call::{Call, Verb};
pub(crate) use client::{HttpClient, Manner};
pub use error::{ApiError, AwaitingReply, Backlogged, Failure};
pub use hooks::{HttpHooks, RequestSeen, ResponseSeen};
pub(crate) use path::{handle, path};
pub use retry::RetryPolicy;
