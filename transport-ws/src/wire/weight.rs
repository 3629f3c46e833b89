//! How much memory a frame beside messages takes.

use serde_json::Value;

use super::{
    Extra, GroupDeleted, GroupInvitation, Presence, PresenceStatus, RateLimitWarning, ReadReceipt,
    ServerFrame, Typing,
};

impl ServerFrame {
    /// About how many bytes it takes, with what it keeps and does not know. That is more than it had on the wire:
    /// a number of two bytes in a list becomes a value of its own.
    pub(crate) fn weight(&self) -> usize {
        let beside = match self {
            Self::HelloOk { capabilities } => capabilities.iter().map(|it| it.len() + TEXT).sum(),
            Self::Message(row) => row.len(),
            Self::Read(receipt) => {
                let ReadReceipt { message_id, conversation_id, through_seq: _, reader, at, extra } = receipt;
                texts([message_id, conversation_id, reader, at]) + extra.weight()
            }
            Self::Presence(presence) => {
                let Presence { handle, status, custom_message, last_seen, extra } = presence;
                let status = if let PresenceStatus::Other(other) = status { other.len() } else { 0 };
                handle.len() + status + texts([custom_message, last_seen]) + extra.weight()
            }
            Self::Typing(typing) => {
                let Typing { conversation_id, sender, started: _, extra } = typing;
                conversation_id.len() + texts([sender]) + extra.weight()
            }
            Self::RateLimit(warning) => {
                let RateLimitWarning { endpoint, limit: _, remaining: _, reset_at, message, extra } = warning;
                texts([endpoint, reset_at, message]) + extra.weight()
            }
            Self::Invitation(invitation) => {
                let GroupInvitation {
                    id,
                    group_id,
                    group_name,
                    group_description,
                    group_avatar_url,
                    group_member_count: _,
                    inviter_handle,
                    created_at,
                    extra,
                } = invitation;
                let texts =
                    texts([group_name, group_description, group_avatar_url, inviter_handle, created_at]);
                id.len() + group_id.len() + texts + extra.weight()
            }
            Self::GroupDeleted(gone) => {
                let GroupDeleted { group_id, deleted_by_handle, deleted_at, extra } = gone;
                group_id.len() + texts([deleted_by_handle, deleted_at]) + extra.weight()
            }
            Self::Refused { kind, reason } => kind.len() + texts([reason]),
            Self::Unknown { kind, payload } => kind.len() + payload.json.len(),
            Self::Unreadable(_) => 0,
        };
        size_of::<Self>() + beside
    }
}

impl Extra {
    fn weight(&self) -> usize {
        members(self.iter())
    }
}

fn texts<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().flatten().map(String::len).sum()
}

fn value(it: &Value) -> usize {
    let beside = match it {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value).sum(),
        Value::Object(object) => members(object.iter()),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + beside
}

fn members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> usize {
    members.map(|(name, it)| name.len() + TEXT + value(it)).sum()
}

/// What a text takes beside its letters.
const TEXT: usize = size_of::<String>();

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(kind: &str, payload: &str) -> usize {
        let frame = ServerFrame::read(format!(r#"{{"type":"{kind}","payload":{payload}}}"#));
        assert_eq!(frame.kind(), Some(kind), "{frame:?}");
        frame.weight()
    }

    #[test]
    fn every_kind_of_frame_weighs_what_it_keeps() {
        let long = "x".repeat(10_000);
        let payloads = [
            ("message.read", r#"{"message_id":"m","reader":"X"}"#),
            ("message.read", r#"{"conversation_id":"c","through_seq":1,"at":"X"}"#),
            ("presence.update", r#"{"handle":"X"}"#),
            ("presence.update", r#"{"handle":"a","status":"X"}"#),
            ("presence.update", r#"{"handle":"a","custom_message":"X"}"#),
            ("typing.start", r#"{"conversation_id":"c","sender":"X"}"#),
            ("rate_limit.warning", r#"{"message":"X"}"#),
            ("group.invite.received", r#"{"id":"i","group_id":"g","group_description":"X"}"#),
            ("group.deleted", r#"{"group_id":"g","deleted_at":"X"}"#),
            ("error", r#"{"reason":"X"}"#),
            ("zebra", r#"{"stripes":"X"}"#),
            ("typing.stop", r#"{"conversation_id":"c","new":"X"}"#),
            ("typing.stop", r#"{"conversation_id":"c","new":{"X":1}}"#),
            ("typing.stop", r#"{"conversation_id":"c","new":[{"a":"X"}]}"#),
        ];
        for (kind, payload) in payloads {
            let (little, much) = (weight(kind, payload), weight(kind, &payload.replace('X', &long)));
            assert!((9_999..10_100).contains(&(much - little)), "{kind} {payload}: {little}, {much}");
        }
    }

    #[test]
    fn what_is_short_on_the_wire_and_long_in_memory_weighs_what_it_takes() {
        let list = format!(r#"{{"conversation_id":"c","new":[{}0]}}"#, "0,".repeat(9_999));
        assert!(weight("typing.start", &list) >= 10_000 * size_of::<Value>());
    }
}
