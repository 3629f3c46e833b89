//! From what a peer wrote, in whichever version, to the types of the official crate `a2a-lf`, which are 1.0's.
//!
//! These types keep no unknown fields: what they give back is not what came in. A body that travels on
//! stays the bytes it is.

use serde::de::DeserializeOwned;

use crate::answering::Answer;
use crate::card::RawCard;
use crate::convert::{self, Wrapping};
use crate::error::{Error, Result};
use crate::view::{EventView, MessageView, TaskView};
use crate::vocabulary::{A2aVersion, Operation};

impl TryFrom<&MessageView<'_>> for a2a::Message {
    type Error = Error;

    fn try_from(message: &MessageView<'_>) -> Result<Self> {
        parse(&convert::result(message.raw, A2aVersion::V1, Wrapping::Bare, false))
    }
}

impl TryFrom<&TaskView<'_>> for a2a::Task {
    type Error = Error;

    fn try_from(task: &TaskView<'_>) -> Result<Self> {
        parse(&convert::result(task.raw, A2aVersion::V1, Wrapping::Bare, false))
    }
}

impl TryFrom<&EventView<'_>> for a2a::StreamResponse {
    type Error = Error;

    fn try_from(event: &EventView<'_>) -> Result<Self> {
        let wrapping = Wrapping::Of(Operation::SendStreamingMessage);
        parse(&convert::result(event.raw(), A2aVersion::V1, wrapping, false))
    }
}

impl TryFrom<&RawCard> for a2a::AgentCard {
    type Error = Error;

    /// Only for cards of 1.0.
    fn try_from(card: &RawCard) -> Result<Self> {
        parse(card.as_str())
    }
}

impl TryFrom<&a2a::StreamResponse> for Answer {
    type Error = Error;

    /// An item of a stream, said in the version that asked when it is written.
    fn try_from(event: &a2a::StreamResponse) -> Result<Self> {
        serde_json::to_string(event).map(Self::item).map_err(|error| refused(&error))
    }
}

impl TryFrom<&a2a::SendMessageResponse> for Answer {
    type Error = Error;

    /// The one answer to a request that does not stream.
    fn try_from(response: &a2a::SendMessageResponse) -> Result<Self> {
        serde_json::to_string(response).map(Self::response).map_err(|error| refused(&error))
    }
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| refused(&error))
}

/// The place alone: the parser's own words may repeat what a message says.
fn refused(error: &serde_json::Error) -> Error {
    Error::NotJson { offset: error.column(), problem: "the official types do not take this" }
}
