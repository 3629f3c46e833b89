//! Why an attachment is over.

use agentchat_core::{Error, ErrorKind, Reached};

/// Why an attachment is over. Every call and subscription ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its owner closed it.
    Closed,
    /// The connection was lost.
    Lost(String),
    /// The key is not good any more: by the server's word, asked again.
    Refused(String),
}

impl Ending {
    /// The error of a call.
    pub(crate) fn error(&self, operation: &'static str, reached: Reached) -> Error {
        match self {
            Self::Closed => Error::new(ErrorKind::Closed, operation, "the attachment is closed"),
            Self::Lost(how) => {
                let what = format!("the connection is lost: {how}");
                Error::new(ErrorKind::Disconnected, operation, what).with_reached(reached)
            }
            Self::Refused(how) => {
                let what = format!("the server refuses the key: {how}");
                Error::new(ErrorKind::Unauthorized, operation, what).with_reached(reached)
            }
        }
    }
}
