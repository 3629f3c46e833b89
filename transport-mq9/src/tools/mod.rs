//! What a model does on mq9, as tools over an [`Agent`]: `mq9_register`, `mq9_discover`, `mq9_call`,
//! `mq9_serve` and `mq9_report`.
//!
//! They are here and not in core because of what they are called and how they name mailboxes; they do nothing
//! that another network with a directory and reply inboxes could not do. Arguments are checked before
//! anything is sent, every call ends by its deadline, and a failure is an answer.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
//! use agentchat_core::tools::ToolContext;
//! use agentchat_core::Agent;
//! use transport_mq9::Mq9ConnectorBuilder;
//! use transport_mq9::tools::tools;
//!
//! let connector = Mq9ConnectorBuilder::from_env()?.map(|builder| builder.build()).transpose()?;
//! let agent = Agent::builder(connector).start().await?;
//! let found = tools(&agent)?.call("mq9_discover", r#"{"tag":"code"}"#, ToolContext::new()).await;
//! println!("{}", found.as_json());
//! # Ok(()) }
//! ```

mod call;
mod directory;
mod status;
mod words;

use agentchat_core::tools::ToolSet;
use agentchat_core::{Agent, Result};

/// The tools of `agent`. They keep it alive: it stops when they are dropped too, or by [`Agent::close`].
///
/// # Errors
/// None that can come; tools are made as all others are.
pub fn tools(agent: &Agent) -> Result<ToolSet> {
    ToolSet::new([
        directory::register(agent)?,
        directory::discover(agent)?,
        call::call(agent)?,
        status::serve(agent)?,
        status::report(agent)?,
    ])
}
