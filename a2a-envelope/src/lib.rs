#![doc = include_str!("../README.md")]

#[cfg(feature = "agent")]
pub mod agent;
mod answer_address;
mod answering;
pub mod call;
mod callback;
mod callback_plan;
mod card;
mod convert;
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
#[cfg(feature = "official-types")]
mod official;
mod received;
mod reply;
mod safety;
mod sha256;
mod sign;
pub mod stream;
pub mod task;
mod view;
mod vocabulary;
mod wrapped;

pub use answer_address::{AnswerAddress, AnswerSource, Placement, answer_address};
pub use answering::{Answer, Answering};
pub use callback::{
    Callback, CallbackField, callback_of, find_callback, with_callback, without_mailbox_callbacks,
};
pub use callback_plan::{CALLBACK_TTL, CallbackPlan};
pub use card::{
    AgentInterface, CardBuilder, CardCapabilities, CardOverride, CardView, MQ9_BINDING, RawCard,
    RegistryEntry, Skill, Tool, Toolset,
};
pub use correlation::{Correlation, CorrelationId, CorrelationSource, correlation_of};
pub use dialect::Dialect;
pub use envelope::{Envelope, FORMAT};
pub use error::{CardRule, Error, HeaderRule, MemberRule, Result};
pub use headers::Headers;
pub use json_text::JsonText;
pub use limits::{LimitKind, Limits};
pub use received::{Carriage, MessageKind, Received};
pub use reply::ReplyType;
pub use safety::{
    AddressRule, AnswerPolicy, AnswerTarget, Credentials, Origin, Reach, is_credential, origin_of,
};
pub use sign::{CardSignature, SignFailure, Signer, Verdict, Verifier};
pub use task::TaskState;
pub use view::{
    ArtifactView, EventView, MessageView, PartContent, PartView, RequestView, RpcError, RpcView, StatusView,
    TaskView, UpdateView,
};
pub use vocabulary::{A2aVersion, ErrorCode, Operation, Role};
