//! JSON as servers write it, as they might, and as they must not.

use fuzz_harness::Dice;

/// An object that is made of known parts.
pub(super) struct Object {
    /// Names as they are meant, and values as they are written.
    pub(super) members: Vec<(String, String)>,
    pub(super) text: String,
}

impl Object {
    /// The value of a member as it is written. Of those that come twice the last one counts.
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        self.members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A member that is text, and not empty.
    pub(super) fn text_of(&self, name: &str) -> Option<String> {
        let text: String = serde_json::from_str(self.member(name)?).ok()?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// A member as JSON; nothing for null.
    pub(super) fn json_of(&self, name: &str) -> Option<&str> {
        self.member(name).filter(|json| *json != "null")
    }
}

/// Writes an object with members of `names`, in whatever order, spacing and spelling.
pub(super) fn object(dice: &mut Dice, names: &[&str]) -> Object {
    let mut members = Vec::new();
    let mut text = format!("{}{{", space(dice));
    for at in 0..dice.usize(0..names.len() + 3) {
        let name = *dice.choice(names).expect("names");
        let value = value(dice);
        if at > 0 {
            text.push(',');
        }
        let written = if dice.u8(0..8) == 0 { escaped(name) } else { format!("\"{name}\"") };
        text.extend([space(dice), &written, space(dice), ":", space(dice), &value, space(dice)]);
        members.push((name.to_owned(), value));
    }
    text.push('}');
    text.push_str(space(dice));
    Object { members, text }
}

/// Any value that is JSON.
pub(super) fn value(dice: &mut Dice) -> String {
    match dice.u8(0..10) {
        0 => dice.u64(0..u64::MAX).to_string(),
        1 => serde_json::Value::from(words(dice)).to_string(),
        2 => format!("[{},{}]", scalar(dice), scalar(dice)),
        3 => format!("{{\"text\":{},\"data\":{}}}", scalar(dice), scalar(dice)),
        4 => format!("{{\"agentchat-rs\":{}}}", ours(dice)),
        5 => {
            let depth = dice.usize(1..300);
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
        _ => scalar(dice).to_owned(),
    }
}

/// What one of our own senders may write, or somebody in its name.
pub(super) fn ours(dice: &mut Dice) -> String {
    let members = ["v", "body", "type", "conversation", "reply_to", "correlation_id", "deadline", "tags"];
    let mut text = String::from("{");
    for name in members.iter().chain(&["headers"]) {
        if dice.bool() {
            let value = match dice.u8(0..6) {
                0 => "[[\"a\",\"b\"],[\"x-y\",\"z\"]]",
                1 => "[\"a\",\"b\"]",
                2 => "\"base64\"",
                3 => "\"text\"",
                _ => scalar(dice),
            };
            let comma = if text.len() > 1 { "," } else { "" };
            text.push_str(&format!("{comma}\"{name}\":{value}"));
        }
    }
    text + "}"
}

/// Words of one's own, with whatever letters.
pub(super) fn words(dice: &mut Dice) -> String {
    let letters = ['a', 'é', '"', '\\', '\n', '\u{0}', '\u{1f600}', ' ', '@', '/', '\u{feff}'];
    (0..dice.usize(0..6)).filter_map(|_| dice.choice(&letters).copied()).collect()
}

/// Changes some bytes, so that most of it is no JSON any more.
pub(super) fn damage(dice: &mut Dice, text: String) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    for _ in 0..dice.usize(1..4) {
        let at = dice.usize(0..bytes.len() + 1);
        match dice.u8(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.u8(0..255)),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => drop(bytes.splice(at..at, br#""\ud800""#.iter().copied())),
            _ => bytes.extend([0xff, 0xc3]),
        }
    }
    bytes
}

fn scalar(dice: &mut Dice) -> &'static str {
    dice.choice(&SCALARS).expect("there are some")
}

fn space(dice: &mut Dice) -> &'static str {
    match dice.u8(0..8) {
        0 => " ",
        1 => "\n\t",
        _ => "",
    }
}

/// The same text, every letter as an escape.
fn escaped(name: &str) -> String {
    let letters: String = name.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
    format!("\"{letters}\"")
}

/// No number that no type of ours holds: such a member makes its row unreadable.
const SCALARS: [&str; 34] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "7",
    "7.0",
    "1e3",
    "-1",
    "-0",
    "0.5",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "\"\"",
    "\"a\"",
    "\"@bob\"",
    "\"12\"",
    "\"\\u0061b\"",
    "\"\\ud83d\\ude00\"",
    "\"sys_a\"",
    "\"system\"",
    "\"structured\"",
    "\"conv_1\"",
    "\"2026-11-21T19:13:20.230582+00:00\"",
    "\"agentchat://bob\"",
    "\"text/plain\"",
    "\"YQ==\"",
    "{}",
    "[]",
    "{\"text\":\"hi\"}",
    "{\"data\":{\"event\":\"member_left\",\"agent_handle\":\"wren\"}}",
];
