//! What the end of a socket means, as a table.

/// What to do about the end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseMeaning {
    /// The connection is gone; the next one may stand.
    Lost,
    /// The server speaks against the key. A server whose database is away says the same, so the key is
    /// tried once more by REST before it counts as bad.
    KeyInQuestion,
    /// The server did not get a greeting, or not one it can read: of a slow line it says so too, so it is
    /// tried again a few times.
    GreetingMissed,
}

/// What a close frame of the server means. Our own closes are never looked up here.
pub(crate) fn meaning(code: u16, reason: &str) -> CloseMeaning {
    let row = CLOSES.iter().find(|row| row.code == code && reason.starts_with(row.reason));
    row.map_or(CloseMeaning::Lost, |row| row.meaning)
}

/// What an answer other than an upgrade means.
pub(crate) fn refused_upgrade(status: u16) -> CloseMeaning {
    match status {
        401 | 403 => CloseMeaning::KeyInQuestion,
        _ => CloseMeaning::Lost,
    }
}

struct Row {
    code: u16,
    /// What the reason begins with.
    reason: &'static str,
    meaning: CloseMeaning,
}

const fn row(code: u16, reason: &'static str, meaning: CloseMeaning) -> Row {
    Row { code, reason, meaning }
}

/// The first row that fits counts; a code that is not here is a lost connection.
const CLOSES: &[Row] = &[
    // Also what the server makes of a slow line: the greeting came too late.
    row(1008, "HELLO frame required", CloseMeaning::GreetingMissed),
    row(1008, HELLO_TIMEOUT, CloseMeaning::Lost),
    row(1008, "", CloseMeaning::KeyInQuestion),
    row(4401, "", CloseMeaning::KeyInQuestion),
    row(4403, "", CloseMeaning::KeyInQuestion),
];

/// The reason of our own close when a greeting is not answered. Servers may echo it.
pub(crate) const HELLO_TIMEOUT: &str = "HELLO ack timeout";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_end_has_its_meaning() {
        use CloseMeaning::{GreetingMissed, KeyInQuestion, Lost};
        for (code, reason, expected) in [
            (1000, "", Lost),
            (1001, "Server shutting down", Lost),
            (1001, "Heartbeat timeout", Lost),
            (1005, "", Lost),
            (1006, "", Lost),
            (1008, "Invalid token", KeyInQuestion),
            (1008, "API key rotated", KeyInQuestion),
            (1008, "Account deleted", KeyInQuestion),
            (1008, "Account suspended", KeyInQuestion),
            (1008, "a reason of tomorrow", KeyInQuestion),
            (1008, "HELLO frame required", GreetingMissed),
            (1008, "HELLO frame required first", GreetingMissed),
            (1008, "HELLO ack timeout", Lost),
            (1011, "", Lost),
            (1012, "", Lost),
            (1013, "overload", Lost),
            (4000, "", Lost),
            (4401, "", KeyInQuestion),
            (4403, "whatever", KeyInQuestion),
        ] {
            assert_eq!(meaning(code, reason), expected, "{code} {reason}");
        }
        for (status, expected) in
            [(401, KeyInQuestion), (403, KeyInQuestion), (404, Lost), (429, Lost), (503, Lost), (302, Lost)]
        {
            assert_eq!(refused_upgrade(status), expected, "{status}");
        }
    }
}
