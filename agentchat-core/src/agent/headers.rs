//! Header names by which replies are numbered and ended.

/// The number of a reply within its call: 1, 2, 3, … without holes.
pub const REPLY_SEQ: &str = "agentchat-reply-seq";
/// `true` on the last reply of a call.
pub const REPLY_LAST: &str = "agentchat-reply-last";
/// On a reply that reports failure: what went wrong, as one line of text.
pub const REPLY_ERROR: &str = "agentchat-reply-error";
