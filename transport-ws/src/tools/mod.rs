//! AgentChat as tools for a model: the names that hosts of AgentChat know, over [`AgentChat`].
//!
//! [`tools`] are the 38 that have been there longest, [`more_tools`] nine that came later. Arguments are
//! checked before anything is sent, handles by their rule too. A failure is an answer: the server's code as it
//! came, and the class it belongs to. A message is sent under an id that follows from the framework's call id,
//! so that a repeated call is not a second message. Every call ends by its deadline, retries included; a
//! time to wait that the server names is never cut short, and is told when it does not fit in.
//!
//! What the server answers reaches the model as the server said it, members that are new included.
//!
//! ```no_run
//! # async fn example() -> agentchat_core::Result<()> {
//! use agentchat_core::tools::ToolContext;
//! use transport_ws::tools::{LocalThreads, more_tools, tools};
//! use transport_ws::{AgentChat, AgentChatConfig, etiquette};
//!
//! let Some(config) = AgentChatConfig::from_env()? else { return Ok(()) };
//! let client = AgentChat::new(&config)?;
//! let me = client.me().await?;
//! let tools = tools(&client, &me.handle)?.with(more_tools(&client, &me.handle, &LocalThreads::in_memory())?)?;
//! let instructions = etiquette(tools.names());
//! let answer = tools
//!     .call("agentchat_send_message", r#"{"to":"alice","text":"hello"}"#, ToolContext::new())
//!     .await;
//! println!("{instructions}\n{}", answer.as_json());
//! # Ok(()) }
//! ```

mod closed;
mod contacts;
mod conversations;
mod group_views;
mod groups;
mod kit;
mod messages;
mod mutes;
mod profile;
mod threads;
mod unread;
mod words;

use agentchat_core::Result;
use agentchat_core::tools::ToolSet;

pub use closed::{ClosedThread, LocalThreads};
pub(crate) use kit::Heard;
use kit::Kit;

use crate::api::AgentChat;
use crate::config::own;

/// The 38 tools for the account `own_handle` (with or without `@`), which `client`'s key belongs to, in the
/// order hosts of AgentChat list them in. They try again as `client` does; its call timeout gives way to the
/// deadline of each call.
///
/// `agentchat_list_contacts` pages by `offset`, as the server does, and takes no `cursor`.
/// `agentchat_send_message` takes the id of a group as `conversation_id`; a direct message is sent `to` a
/// handle.
///
/// # Errors
/// [`ErrorKind::Config`](agentchat_core::ErrorKind::Config) for a handle that cannot be one.
pub fn tools(client: &AgentChat, own_handle: &str) -> Result<ToolSet> {
    let kit = Kit::new(client, own(own_handle)?);
    let groups = [
        messages::tools(&kit)?,
        conversations::tools(&kit)?,
        contacts::tools(&kit)?,
        profile::tools(&kit)?,
        groups::tools(&kit)?,
        mutes::tools(&kit)?,
    ];
    ToolSet::new(groups.into_iter().flatten())
}

/// The nine tools that came later: threads closed for oneself, what is unread or waits for an answer, and
/// views of a group. They read and remember; nothing is sent by them.
///
/// # Errors
/// As [`tools`].
pub fn more_tools(client: &AgentChat, own_handle: &str, closed: &LocalThreads) -> Result<ToolSet> {
    let kit = Kit::new(client, own(own_handle)?);
    let groups = [threads::tools(&kit, closed)?, unread::tools(&kit)?, group_views::tools(&kit)?];
    ToolSet::new(groups.into_iter().flatten())
}
