#![doc = include_str!("../README.md")]

mod address;
pub mod agent;
#[cfg(feature = "anchor")]
mod anchor;
mod beacon;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench_internals;
mod capability;
mod card;
mod clock;
mod close_once;
mod config_section;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dedup;
mod delivery;
mod directory;
mod disabled;
pub mod doctor;
mod env;
mod error;
#[cfg(test)]
mod fuzz;
mod header;
mod id;
#[cfg(feature = "leader-lock")]
mod leader_lock;
mod loopback;
mod media_type;
mod message;
mod numbers;
mod options;
mod resilient;
mod rows;
mod session;
pub mod store;
pub mod telemetry;
mod text;
#[cfg(feature = "tools")]
pub mod tools;
mod trace_context;
mod transport;

pub use address::Address;
pub use agent::{
    Agent, Call, CallRequest, Handler, HandlerError, HandlerResult, Reply, Request, ServeOptions,
    ServePolicy, Serving, batch_handler,
};
#[cfg(feature = "anchor")]
pub use anchor::{Anchor, AnchorChange, AnchorState};
pub use beacon::{Beacon, BeaconSight, BeaconState};
pub use capability::{AckGuarantee, Capabilities, OrderGuarantee};
pub use card::AgentCard;
pub use close_once::CloseOnce;
pub use config_section::ConfigSection;
pub use delivery::{Delivery, NetworkFacts, Receipt, SendOutcome, Warning};
pub use directory::{AgentEntry, AgentStatus, Discovered, Heartbeat, Query, SearchBy, SearchRan};
pub use env::EnvReader;
pub use error::{Advice, Error, ErrorKind, Reached, Result};
pub use header::Headers;
pub use id::{AckTag, ClientMsgId, ConversationId, CorrelationId, MessageId};
#[cfg(feature = "leader-lock")]
pub use leader_lock::{LeaderLock, LockState};
pub use loopback::{Loopback, LoopbackConnector, LoopbackFaults};
pub use media_type::MediaType;
pub use message::{Body, Outbound, Priority};
pub use options::{CloseMode, Inbox, SubscribeOptions};
pub use resilient::{
    Parked, RateScope, Resilient, ResilientConnector, ResilientOptions, Sending, SessionEvent, SessionEvents,
    SessionStats, StateEvent, Stores,
};
pub use session::{BackoffPolicy, CloseReason, OutboxLimits, Quota, RateLimits, SessionState};
pub use trace_context::TraceContext;
pub use transport::{
    ConnectionState, Connector, Event, EventStream, KeyedValue, ReplayRange, Subscription, Transport,
};
