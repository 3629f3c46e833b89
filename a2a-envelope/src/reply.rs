//! What a reply is, as its header says it.

use std::fmt;

/// What a reply is, as the header `mq9-a2a-type` says it.
///
/// The mq9 facade writes A2A class names into the same header (`Task`, `TaskStatusUpdateEvent`); those are
/// not of this format and parse to `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplyType {
    /// The one answer to a request that does not stream.
    Response,
    /// One item of a stream.
    StreamResponse,
    /// The request failed; the body says why.
    Error,
    /// The stream is over and this item carries nothing else.
    End,
    /// The request is durably recorded but not yet run; its sequence number is 0.
    Ack,
}

impl ReplyType {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "Response",
            Self::StreamResponse => "StreamResponse",
            Self::Error => "Error",
            Self::End => "End",
            Self::Ack => "Ack",
        }
    }

    /// Reads a header's value, case and all.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        ALL.into_iter().find(|known| known.as_str() == value)
    }
}

impl fmt::Display for ReplyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const ALL: [ReplyType; 5] =
    [ReplyType::Response, ReplyType::StreamResponse, ReplyType::Error, ReplyType::End, ReplyType::Ack];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_from_what_it_writes() {
        for kind in ALL {
            assert_eq!(ReplyType::parse(&kind.to_string()), Some(kind));
        }
    }

    #[test]
    fn class_names_of_the_facade_and_other_cases_are_not_ours() {
        for other in ["Task", "Message", "TaskStatusUpdateEvent", "response", "ACK", "", " End"] {
            assert_eq!(ReplyType::parse(other), None, "{other}");
        }
    }
}
