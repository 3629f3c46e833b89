//! Addresses, header lines, cards and names from anywhere: refused or kept exactly, never a panic.

use serde_json::Value;

use super::Dice;
use crate::{Address, AgentCard, ClientMsgId, Headers};

pub(super) fn run(dice: &mut Dice) {
    let kind = dice.u8(0..4);
    let text = text(&dice.take_rest());
    match kind {
        0 => address(&text, dice),
        1 => headers(&text, dice),
        2 => card(&text, dice),
        _ => name(&text, dice),
    }
}

/// Bytes as text: some stand for words that parsers look for.
fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match *first {
            0..0x60 => text.push_str(WORDS[usize::from(*first) % WORDS.len()]),
            letter => text.push(char::from(letter)),
        }
        // Everything of Unicode can be said, too.
        if *first == 0xff && rest.len() >= 3 {
            let number = u32::from_be_bytes([0, rest[0] & 0x1f, rest[1], rest[2]]);
            text.extend(char::from_u32(number));
            rest = &rest[3..];
        }
    }
    text
}

fn address(text: &str, dice: &mut Dice) {
    let address = match Address::parse(text) {
        Ok(address) => address,
        Err(error) => {
            let said = error.to_string();
            assert!(text.len() < 60 || !said.contains(text), "an address that was refused is repeated");
            return dice.reached(("address", said));
        }
    };
    dice.reached((
        "address",
        address.authority().is_some(),
        address.authority().map(|host| host.contains(':')),
    ));
    assert_eq!(address.as_str(), text);
    assert_eq!(Address::parse(address.to_string()).expect("it was read before"), address);
    let authority = address.authority().map(|host| format!("{host}/")).unwrap_or_default();
    assert_eq!(format!("{}://{authority}{}", address.scheme(), address.name()), text);
    assert!(!address.name().is_empty() && !address.name().contains('/'));
    assert!(address.scheme().starts_with(|c: char| c.is_ascii_lowercase()));
    if let Some(host) = address.authority() {
        assert!(!host.is_empty() && !host.contains('@'), "credentials in an address");
        let port = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map(|(_, port)| port);
        assert!(port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)), "{port:?}");
    }
    assert!(!text.chars().any(|c| c.is_whitespace() || c.is_control()));
    let shown = format!("{address:?}");
    assert!(address.name().chars().count() <= 4 || !shown.contains(&format!("{}…)", address.name())));
}

fn headers(text: &str, dice: &mut Dice) {
    let line = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    let lines: Vec<(String, String)> = text.split('\n').map(line).collect();
    let mut inserted = Headers::new();
    for (name, value) in &lines {
        inserted.insert(name, value);
        assert_eq!(inserted.get(&name.to_ascii_uppercase()), Some(value.as_str()));
    }
    let collected: Headers = lines.into_iter().collect();
    assert_eq!(collected, inserted);
    let legal = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let plain =
        |value: &str| value.len() <= 4_096 && value.trim() == value && !value.chars().any(char::is_control);
    let fit = collected.iter().all(|(name, value)| legal(name) && plain(value)) && collected.size() <= 16_384;
    let checked = collected.check();
    assert_eq!(checked.is_ok(), fit, "{checked:?}");
    let fault = checked.err().map(|error| (error.kind(), error.to_string().len() / 16));
    dice.reached(("headers", collected.len().min(4), fault));
}

fn card(text: &str, dice: &mut Dice) {
    let read = AgentCard::from_json(text.to_owned());
    let value = serde_json::from_str::<Value>(text);
    let named =
        value.as_ref().ok().and_then(|value| value.get("name")?.as_str()).filter(|name| !name.is_empty());
    match read {
        Ok(card) => {
            assert_eq!(Some(card.name()), named);
            assert_eq!(card.document(), text.as_bytes());
            let words = card.searchable_text();
            assert!(card.tags().all(|tag| words.contains(tag)) && words.starts_with(card.name()));
            dice.reached(("card", card.tags().count().min(3), card.description().is_empty()));
        }
        Err(error) => {
            assert!(named.is_none() || !error.to_string().is_empty());
            dice.reached(("card", value.is_ok(), named.is_some()));
        }
    }
}

fn name(text: &str, dice: &mut Dice) {
    let fit = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let id = ClientMsgId::new(text);
    assert_eq!(id.is_ok(), fit);
    dice.reached(("name", id.err().map(|error| error.to_string().len())));
}

const WORDS: [&str; 32] = [
    "://",
    "/",
    ":",
    "mq9",
    "loopback",
    "[",
    "]",
    "4222",
    "65536",
    "@",
    "host",
    "\r\n",
    "\n",
    " ",
    "\u{0}",
    "{\"name\":\"",
    "\"",
    "}",
    "\"tags\":[",
    "\"skills\":[{",
    "]}",
    ",",
    "\"description\":",
    "{",
    "-_.",
    "9",
    "A",
    "?",
    "\\",
    "mq9://host",
    "\"name\":",
    "loopback://b",
];
