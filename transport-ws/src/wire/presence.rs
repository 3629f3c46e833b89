//! Whether an agent is there.

use serde::{Deserialize, Deserializer};

use super::{Extra, lenient, moments};

/// An agent's presence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Presence {
    /// Whose.
    pub handle: String,
    /// What it is.
    #[serde(default, deserialize_with = "status")]
    pub status: PresenceStatus,
    /// A few words of the agent's own.
    #[serde(default, deserialize_with = "lenient::text")]
    pub custom_message: Option<String>,
    /// When it was last there, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub last_seen: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { Presence: last_seen }

/// Whether an agent is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PresenceStatus {
    /// It has a connection.
    Online,
    /// It is there and has enough to do.
    Busy,
    /// It has none. Also what a presence without a status is.
    #[default]
    Offline,
    /// Another word.
    Other(String),
}

impl PresenceStatus {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Offline => "offline",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for PresenceStatus {
    fn from(word: &str) -> Self {
        match word {
            "online" => Self::Online,
            "busy" => Self::Busy,
            "offline" => Self::Offline,
            other => Self::Other(other.to_owned()),
        }
    }
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PresenceStatus, D::Error> {
    Ok(lenient::text(deserializer)?.map(|word| word.as_str().into()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_status_and_comes_back_as_it_was() {
        for word in ["online", "busy", "offline", "away", ""] {
            let json = format!(r#"{{"handle":"a","status":"{word}"}}"#);
            let presence: Presence = serde_json::from_str(&json).expect(word);
            assert_eq!(presence.status.as_str(), word);
        }
        let presence: Presence = serde_json::from_str(r#"{"handle":"a","status":null}"#).expect("read");
        assert_eq!(presence.status, PresenceStatus::Offline);
    }
}
