#![doc = include_str!("../README.md")]

mod answer;
pub mod call;
mod callback;
mod card;
mod correlation;
mod dialect;
mod envelope;
mod error;
mod headers;
pub mod idempotency;
mod json;
mod json_text;
mod limits;
pub mod names;
mod reply;
mod sha256;
pub mod stream;
pub mod task;
mod wrapped;

pub use answer::{AnswerAddress, AnswerSource, Placement, answer_address};
pub use callback::{Callback, CallbackField, callback_of, find_callback, with_callback};
pub use card::{AgentInterface, CardBuilder, CardView, MQ9_BINDING, RawCard, Skill};
pub use correlation::{Correlation, CorrelationId, CorrelationSource, correlation_of};
pub use dialect::Dialect;
pub use envelope::{Envelope, FORMAT};
pub use error::{CardRule, Error, HeaderRule, MemberRule, Result};
pub use headers::Headers;
pub use json_text::JsonText;
pub use limits::{LimitKind, Limits};
pub use reply::ReplyType;
