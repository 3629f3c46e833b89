//! The header lines by which a message's parts travel on mq9. Where the A2A envelope has a name, it is
//! that one.

pub(crate) use a2a_envelope::names::{CORRELATION_ID, DEADLINE, REPLY_TO};

/// The sender's id of the message.
pub(crate) const CLIENT_MSG_ID: &str = "agentchat-msg-id";
/// The sender's inbox, as a URI.
pub(crate) const SENDER: &str = "agentchat-from";
/// What the message is ordered within.
pub(crate) const CONVERSATION: &str = "agentchat-conversation";
/// What the body's bytes are.
pub(crate) const MEDIA_TYPE: &str = "content-type";

/// Lines the transport writes itself; an application's header may not take their place.
pub(crate) const RESERVED: [&str; 7] =
    [CORRELATION_ID, DEADLINE, REPLY_TO, CLIENT_MSG_ID, SENDER, CONVERSATION, MEDIA_TYPE];
