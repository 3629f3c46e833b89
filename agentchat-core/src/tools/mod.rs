//! Tools for models: one neutral form, which an adapter turns into that of its framework.
//!
//! A [`ToolSpec`] is a name, a description, a closed schema of its arguments, hints, and what it does. Its
//! [`call`](ToolSpec::call) takes JSON and always gives an answer, never an error or a panic: arguments are
//! checked before anything is done, every call ends by a deadline, and a failure says in the answer what the
//! model can do about it. A [`ToolSet`] holds the tools in a stable order.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
//! use agentchat_core::tools::{ToolCall, ToolContext, ToolSet, ToolSpec};
//! use agentchat_core::{Agent, Body, Loopback, Outbound, tool_args};
//!
//! /// Arguments are a type; its schema follows from it. The crate `schemars` is a dependency of yours.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Say {
//!     /// The name of whoever is to hear it.
//!     #[schemars(length(min = 1, max = 30))]
//!     to: String,
//!     /// What is to be said.
//!     #[schemars(length(min = 1, max = 2_000))]
//!     text: String,
//! }
//! tool_args!(Say);
//!
//! let network = Loopback::new();
//! let agent = Agent::builder(network.connector("alice")?).start().await?;
//! let bob = Agent::builder(network.connector("bob")?).start().await?;
//! let say = ToolSpec::new("say", "Says something to somebody.", move |say: Say, call: ToolCall| {
//!     let agent = agent.clone();
//!     async move {
//!         let to = agentchat_core::Address::of("loopback", &say.to)?;
//!         let message = Outbound::new(to, Body::text(say.text)).with_id(call.client_msg_id());
//!         agent.send(&message).await?;
//!         Ok(std::collections::BTreeMap::from([("said_to", say.to)]))
//!     }
//! })?;
//! let tools = ToolSet::new([say])?;
//!
//! let context = ToolContext::new().with_call_id("conversation 7", "call_1");
//! let answer = tools.call("say", r#"{"to":"bob","text":"hello"}"#, context).await;
//! assert!(answer.is_ok() && answer.as_json().contains(r#""ok":true"#));
//! let answer = tools.call("say", r#"{"to":"bob"}"#, ToolContext::new()).await;
//! assert!(answer.as_json().contains("VALIDATION_ERROR"), "and nothing was sent");
//! # drop(bob);
//! # Ok(()) }
//! ```

mod answer;
mod args;
mod closed;
mod context;
mod explain;
#[cfg(feature = "conformance")]
pub mod samples;
mod schema;
mod set;
mod spec;

pub use answer::ToolAnswer;
pub use args::ToolArgs;
pub use context::{ToolCall, ToolContext};
pub use schema::ToolSchema;
pub use set::ToolSet;
pub use spec::ToolSpec;
