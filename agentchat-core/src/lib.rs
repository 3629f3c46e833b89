#![doc = include_str!("../README.md")]

mod address;
pub mod agent;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench_internals;
mod capability;
mod card;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dedup;
mod delivery;
mod directory;
mod error;
mod header;
mod id;
mod loopback;
mod media_type;
mod message;
mod numbers;
mod options;
mod resilient;
mod session;
pub mod store;
mod text;
mod transport;

pub use address::Address;
pub use agent::{Agent, Call, CallRequest, Handler, HandlerResult, Reply, Request, ServeOptions, Serving};
pub use capability::{AckGuarantee, Capabilities, OrderGuarantee};
pub use card::AgentCard;
pub use delivery::{Delivery, Receipt, SendOutcome, Warning};
pub use directory::{AgentEntry, AgentStatus, Discovered, Heartbeat, Query, SearchBy, SearchRan};
pub use error::{Advice, Error, ErrorKind, Reached, Result};
pub use header::Headers;
pub use id::{AckTag, ClientMsgId, ConversationId, CorrelationId, MessageId};
pub use loopback::{Loopback, LoopbackConnector, LoopbackFaults};
pub use media_type::MediaType;
pub use message::{Body, Outbound, Priority};
pub use options::{CloseMode, Inbox, SubscribeOptions};
pub use resilient::{
    CloseReason, Parked, Resilient, ResilientConnector, ResilientOptions, Sending, SessionState, SessionStats,
};
pub use session::{BackoffPolicy, OutboxLimits};
pub use transport::{Connector, Event, EventStream, KeyedValue, ReplayRange, Subscription, Transport};
