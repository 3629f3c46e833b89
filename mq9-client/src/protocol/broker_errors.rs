//! From the broker's wording to an error kind. The texts are for people and not stable, so each is
//! recognised by a part of it.

use crate::error::{Error, ErrorKind, Reached};
use crate::protocol::subjects::Command;

/// The error for a refusal with this text, the mailbox's name in it masked.
pub(crate) fn error(command: Command<'_>, text: &str) -> Error {
    let (kind, meaning) = classify(text);
    let shown = match command.mailbox() {
        Some(mailbox) => text.replace(mailbox.as_str(), &mask(mailbox.as_str())),
        None => text.to_owned(),
    };
    let error = Error::new(kind, command.operation(), meaning).with_broker_text(&shown);
    // The broker gave up on its own storage: whether the record is there, it does not say.
    if kind == ErrorKind::Broker { error.with_reached(Reached::Unknown) } else { error }
}

pub(crate) fn mask(name: &str) -> String {
    format!("{}…", name.chars().take(4).collect::<String>())
}

fn classify(text: &str) -> (ErrorKind, &'static str) {
    TABLE
        .iter()
        .find(|(part, ..)| text.contains(part))
        .map_or((ErrorKind::Broker, "the broker failed"), |(_, kind, meaning)| (*kind, *meaning))
}

/// The first row whose part occurs decides. Rows about malformed requests come first because their
/// texts repeat what the caller sent.
const TABLE: [(&str, ErrorKind, &str); 18] = [
    ("invalid type", ErrorKind::Rejected, MALFORMED),
    ("invalid value", ErrorKind::Rejected, MALFORMED),
    ("unknown variant", ErrorKind::Rejected, MALFORMED),
    ("missing field", ErrorKind::Rejected, MALFORMED),
    ("EOF while parsing", ErrorKind::Rejected, MALFORMED),
    ("key must be a string", ErrorKind::Rejected, MALFORMED),
    ("expected value", ErrorKind::Rejected, MALFORMED),
    ("payload: ", ErrorKind::Rejected, MALFORMED),
    ("invalid msg_id", ErrorKind::Rejected, MALFORMED),
    ("must not be empty", ErrorKind::Rejected, MALFORMED),
    ("may only contain", ErrorKind::Rejected, "the broker refused the name"),
    ("must start and end", ErrorKind::Rejected, "the broker refused the name"),
    ("already exists", ErrorKind::MailboxExists, "a mailbox of that name exists already"),
    ("does not exist", ErrorKind::MailboxNotFound, NO_MAILBOX),
    ("not found in broker cache", ErrorKind::MailboxNotFound, NO_MAILBOX),
    ("mailbox not found", ErrorKind::MailboxNotFound, NO_MAILBOX),
    ("message not found", ErrorKind::Rejected, "the mailbox holds no such message"),
    ("not enabled in this build", ErrorKind::Unsupported, "the broker is built without search"),
];

const MALFORMED: &str = "the broker refused the request";
const NO_MAILBOX: &str = "the mailbox does not exist, or has expired";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::MailAddress;
    use crate::error::Advice;

    /// Texts recorded from the broker, one or more for each row.
    #[test]
    fn every_recorded_text_has_its_kind() {
        use ErrorKind::*;
        let search = "Grpc call of the node failed,Grpc status was code: 'Internal error', message: \
                      \"agent search is not enabled in this build (missing the 'vector-search' feature)\"";
        for (text, kind) in [
            ("mailbox agent.translator.inbox.r1.15 already exists", MailboxExists),
            ("mailbox no.such.box does not exist", MailboxNotFound),
            ("Tenant default topic 'no.such.box' not found in broker cache", MailboxNotFound),
            ("mailbox not found: no.such", MailboxNotFound),
            (search, Unsupported),
            ("name may only contain lowercase letters, digits, and dots", Rejected),
            ("prefix must not be empty", Rejected),
            ("prefix must start and end with a lowercase letter or digit", Rejected),
            ("payload must not be empty", Rejected),
            ("agent_info must not be empty", Rejected),
            ("agent name must not be empty", Rejected),
            ("invalid msg_id: abc", Rejected),
            ("EOF while parsing a value at line 1 column 0", Rejected),
            ("key must be a string at line 1 column 2", Rejected),
            ("expected value at line 1 column 12", Rejected),
            ("missing field `group_name` at line 1 column 38", Rejected),
            ("invalid AGENT.REGISTER payload: missing field `payload` at line 1 column 89", Rejected),
            ("invalid MAILBOX.CREATE payload: duplicate field `name` at line 1 column 19", Rejected),
            (
                "invalid MAILBOX.CREATE payload: invalid type: string \"60\", expected u64 at line 1 column 30",
                Rejected,
            ),
            (
                "invalid query request: invalid value: integer `-1`, expected u64 at line 1 column 11",
                Rejected,
            ),
            (
                "unknown variant `Earliest`, expected one of `earliest`, `latest` at line 1 column 21",
                Rejected,
            ),
            ("message not found", Rejected),
            ("Failed to send Insert cmd to delay message shard 2: channel closed", Broker),
            ("Pop thread dropped before replying with key: unique_id=dc0vb7ajueqvku79e8n0", Broker),
            ("something nobody has seen before", Broker),
        ] {
            assert_eq!(classify(text).0, kind, "{text}");
        }
    }

    #[test]
    fn every_row_decides_some_text_of_its_own() {
        for (row, (part, kind, _)) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|(other, ..)| part.contains(other));
            assert_eq!(first, Some(row), "{part} is shadowed");
            assert_eq!(classify(part).0, *kind);
        }
    }

    #[test]
    fn what_the_caller_sent_does_not_decide_the_kind() {
        let text = "invalid type: string \"x already exists\", expected u64 at line 1 column 9";
        assert_eq!(classify(text).0, ErrorKind::Rejected);
    }

    #[test]
    fn the_mailbox_is_masked_in_the_brokers_text() {
        let mailbox = MailAddress::new("inbox.k3yl0ngsecret").expect("valid");
        let error = error(Command::Send(&mailbox), "mailbox inbox.k3yl0ngsecret does not exist");
        assert_eq!(error.broker_text(), Some("mailbox inbo… does not exist"));
        assert!(!format!("{error:?} {error}").contains("k3yl0ngsecret"));
    }

    #[test]
    fn a_failing_broker_may_have_stored_the_message_and_may_recover() {
        let error = error(Command::Discover, "Pop thread dropped before replying with key: x");
        assert_eq!((error.kind(), error.advice()), (ErrorKind::Broker, Advice::Backoff));
        assert_eq!(error.reached(), Reached::Unknown);
    }
}
