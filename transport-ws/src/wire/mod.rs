//! What travels: rows, frames and bodies, read leniently. Unknown members are kept or passed over, a member
//! of the wrong type counts as missing, and nothing that a peer sends can end more than itself.

mod account;
mod context;
mod directory;
mod error_body;
mod extra;
mod frame_in;
mod frame_out;
mod group;
mod loose;
mod page;
mod presence;
mod receipt;
mod render;
mod row;
mod row_reader;
mod row_scan;
mod span;
mod system;
pub(crate) mod time;
mod weight;

pub use account::{Agent, AgentSettings, Me};
pub use context::{Context, ContextConversation, ContextSender};
pub use directory::{DirectoryEntry, DirectoryPage};
pub(crate) use error_body::ErrorBody;
pub use extra::Extra;
pub use frame_in::{Payload, RateLimitWarning, ServerFrame, Typing, Unreadable};
pub(crate) use frame_out::{ack, hello};
pub use group::{GroupDeleted, GroupInvitation};
pub(crate) use page::rows;
pub use presence::{Presence, PresenceStatus};
pub use receipt::ReadReceipt;
pub use render::render;
pub use row::{Content, MessageKind, MessageRow};
pub use system::SystemEvent;
#[cfg(feature = "tools")]
pub(crate) use time::minute;
pub use time::parse as parse_time;
pub(crate) use time::unix_millis;

/// Readings of the timestamps that a type keeps as they were written.
macro_rules! moments {
    ($type:ty: $($member:ident),+) => {
        impl $type {
            $(
                #[doc = concat!("The moment that `", stringify!($member), "` names; nothing for what is none.")]
                pub fn $member(&self) -> Option<std::time::SystemTime> {
                    $crate::wire::parse_time(self.$member.as_deref()?)
                }
            )+
        }
    };
}
pub(crate) use moments;

pub(crate) mod lenient {
    //! `deserialize_with` functions for members of derived types.
    pub(crate) use super::loose::{list, number, object, text, truth};
}
