//! Headers that only a server sets, taken from what a peer sends.

use crate::headers::Headers;
use crate::names;

/// Takes away what a peer must not say: on any message what only the receiving side says to its own
/// handler, on a request what only an answering server says.
pub(crate) fn drop_server_set(headers: &mut Headers, request: bool) {
    let refused =
        |name: &str| name.starts_with(names::LOCAL_PREFIX) || (request && names::SERVER_SET.contains(&name));
    let found: Vec<String> =
        headers.iter().map(|(name, _)| name).filter(|name| refused(name)).map(str::to_owned).collect();
    found.iter().for_each(|name| drop(headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(request: bool) -> Vec<String> {
        let mut headers = Headers::from_pairs([
            (names::ENVELOPE, "1"),
            (names::METHOD, "SendMessage"),
            (names::TYPE, "Response"),
            (names::SEQ, "1"),
            (names::GENERATION, "1"),
            (names::LAST, "true"),
            (names::TASK_INBOX, "box"),
            (names::TASK_ID, "t"),
            ("AMB-Local-Sender", "admin"),
            ("x-other", "kept"),
        ])
        .unwrap();
        drop_server_set(&mut headers, request);
        headers.iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn a_request_cannot_speak_as_the_server() {
        assert_eq!(kept(true), [names::ENVELOPE, names::METHOD, names::TASK_ID, "x-other"]);
    }

    #[test]
    fn a_reply_keeps_what_servers_say_but_nothing_said_to_the_own_handler() {
        let kept = kept(false);
        assert_eq!(kept.len(), 9, "{kept:?}");
        assert!(!kept.iter().any(|name| name.starts_with("amb-local-")));
    }
}
