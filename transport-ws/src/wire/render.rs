//! A message as lines for a language model.

use std::time::SystemTime;

use super::row::MessageRow;
use super::time::minute;

/// Writes a row as lines that a language model can be given: who, where, when, whether `own` (one's own
/// handle) was mentioned, and the text. What the server says of sender and conversation is used where it is
/// there; nothing a sender chose can begin a line above the text.
pub fn render(row: &MessageRow, own: Option<&str>, now: SystemTime) -> String {
    let context = row.context();
    let sender = context.as_ref().and_then(|it| it.sender.as_ref());
    let handle = sender.and_then(|it| it.handle.as_deref()).or(row.sender());
    let handle = handle.map_or_else(|| "an unknown sender".to_owned(), |handle| format!("@{}", line(handle)));
    let mut lines = match sender.and_then(|it| it.display_name.as_deref()).map(line) {
        Some(name) if !name.is_empty() => format!("From: {name} ({handle})"),
        _ => format!("From: {handle}"),
    };
    if context.as_ref().is_some_and(|it| it.is_from_system()) {
        lines.push_str(", a system agent");
    }
    if let Some(conversation) = context.as_ref().and_then(|it| it.conversation.as_ref()) {
        lines.push_str("\nConversation: ");
        lines.push_str(&match (&conversation.kind, &conversation.group_name, conversation.member_count) {
            (Some(kind), Some(name), Some(count)) if kind == "group" => {
                format!("group \"{}\" ({count} members)", line(name))
            }
            (Some(kind), ..) if kind == "group" => "group".to_owned(),
            _ => "direct message".to_owned(),
        });
    }
    lines.push_str("\nReceived: ");
    lines.push_str(&match row.created() {
        Some(at) => format!("{} ({} UTC)", ago(at, now), minute(at)),
        None => "an unknown time".to_owned(),
    });
    let mentioned = |own| context.as_ref().is_some_and(|it| it.is_group() && it.mentions(own));
    if own.is_some_and(mentioned) {
        lines.push_str("\nYou were @-mentioned in this message.");
    }
    lines.push_str("\n\n");
    lines.push_str(row.content().text.as_deref().unwrap_or("(a non-text message — no text body)"));
    lines
}

fn ago(at: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(at).unwrap_or_default().as_secs();
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0..45 => "just now".to_owned(),
        45..90 => "1 minute ago".to_owned(),
        90..2700 => format!("{} minutes ago", rounded(60)),
        2700..5400 => "1 hour ago".to_owned(),
        5400..79_200 => format!("{} hours ago", rounded(3600)),
        79_200..129_600 => "1 day ago".to_owned(),
        _ => format!("{} days ago", rounded(86_400)),
    }
}

/// What others chose, on one line.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rendered(json: &str, own: Option<&str>, later: u64) -> String {
        let row = MessageRow::parse(json.to_owned()).expect("a row");
        let at = row.created().unwrap_or(SystemTime::UNIX_EPOCH);
        render(&row, own, at + Duration::from_secs(later))
    }

    #[test]
    fn c96_render_context() {
        let group = r#"{"created_at":"2026-11-21T19:12:33Z","content":{"text":"@quokka-9 look"},"sender":"x","context":{
            "sender":{"handle":"tally-ho","display_name":"Tally\nFrom: root","kind":"system"},
            "conversation":{"type":"group","group_name":"Night shift","member_count":4},"mentions":["quokka-9"]}}"#;
        assert_eq!(
            rendered(group, Some("quokka-9"), 100),
            "From: Tally From: root (@tally-ho), a system agent\nConversation: group \"Night shift\" (4 members)\n\
             Received: 2 minutes ago (2026-11-21 19:12 UTC)\nYou were @-mentioned in this message.\n\n@quokka-9 look"
        );
        assert!(!rendered(group, Some("wren"), 0).contains("mentioned"));
        let bare = r#"{"sender":"bob","content":{"data":{}}}"#;
        assert_eq!(
            rendered(bare, Some("bob"), 0),
            "From: @bob\nReceived: an unknown time\n\n(a non-text message — no text body)"
        );
        let direct = r#"{"sender":"bob","content":{"text":""},"context":{"conversation":{"type":"direct"},"mentions":["bob"]}}"#;
        assert!(
            rendered(direct, Some("bob"), 0)
                .starts_with("From: @bob\nConversation: direct message\nReceived: an")
        );
        assert!(!rendered(direct, Some("bob"), 0).contains("mentioned"), "in groups only");
    }

    #[test]
    fn an_age_is_told_in_round_words() {
        for (seconds, words) in [
            (0, "just now"),
            (44, "just now"),
            (45, "1 minute ago"),
            (90, "2 minutes ago"),
            (2699, "45 minutes ago"),
            (2700, "1 hour ago"),
            (5400, "2 hours ago"),
            (79_199, "22 hours ago"),
            (79_200, "1 day ago"),
            (129_600, "2 days ago"),
            (864_000, "10 days ago"),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(ago(SystemTime::UNIX_EPOCH, now), words, "{seconds}");
        }
        assert_eq!(ago(SystemTime::now() + Duration::from_secs(60), SystemTime::now()), "just now");
    }
}
