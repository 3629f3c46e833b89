//! Stable names for what is told in fields.

use serde::{Serialize, Serializer};

use crate::agent::HandlerError;
use crate::error::{Error, ErrorKind, Reached};

impl ErrorKind {
    /// Its name in snake case, as in spans and events. Names never change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Backpressure => "backpressure",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
            Self::Unsupported => "unsupported",
            Self::Protocol => "protocol",
            Self::Handler => "handler",
            Self::Unexpected => "unexpected",
        }
    }
}

impl HandlerError {
    /// What is told of it in place of its text, which is the application's and may quote a message: the kind
    /// of the error of this crate that it passes on, else that it is a handler's.
    pub(crate) fn kind_name(&self) -> &'static str {
        self.why().downcast_ref::<Error>().map_or(ErrorKind::Handler, Error::kind).as_str()
    }
}

impl Reached {
    /// Its name in snake case, as in spans and events. Names never change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl Serialize for Reached {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}
