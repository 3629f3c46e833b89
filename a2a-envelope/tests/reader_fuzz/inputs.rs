//! What inputs are made from: the fixtures, and pieces that mean something to a reader.

use fuzz_harness::Dice;

use crate::support::{FIXTURES, MESSAGES, message};

/// A message: a byte that says which headers stand beside, and the body. A quarter of the inputs are messages
/// themselves; the others say what becomes of a fixture.
pub(crate) fn message_of(dice: &mut Dice) -> Vec<u8> {
    if dice.u8(0..4) == 0 {
        return dice.take_rest();
    }
    let fixtures = bodies();
    let body = *dice.choice(&fixtures).expect("there are fixtures");
    // Most messages have no headers.
    let flags = if dice.bool() { 0 } else { dice.u8(0..255) };
    let mut input = [&[flags], body.as_bytes()].concat();
    while !dice.is_spent() && input.len() < LONGEST {
        change(dice, &mut input, &fixtures);
    }
    input
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, fixtures: &[&str]) {
    let at = dice.usize(0..input.len() + 1);
    match dice.u8(0..9) {
        0 if at < input.len() => input[at] = dice.u8(0..255),
        1 => input.insert(at, dice.u8(0..255)),
        2 if at < input.len() => {
            let end = (at + dice.usize(1..25)).min(input.len());
            input.drain(at..end);
        }
        3 => {
            let other = dice.choice(fixtures).expect("there are fixtures").as_bytes();
            let from = dice.usize(0..other.len() + 1);
            let to = (from + dice.usize(0..80)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        4 => {
            let piece = dice.choice(PIECES).expect("there are pieces");
            input.splice(at..at, piece.bytes());
        }
        // A member into some object: what comes out is mostly still JSON.
        _ => {
            let places: Vec<usize> =
                input.windows(2).enumerate().filter(|(_, w)| *w == b"{\"").map(|(at, _)| at + 1).collect();
            let member = dice.choice(MEMBERS).expect("there are members");
            if let Some(place) = dice.choice(&places).copied() {
                input.splice(place..place, format!("{member},").into_bytes());
            }
        }
    }
}

/// The fixtures, without headers.
pub(crate) fn bodies() -> Vec<&'static str> {
    let alone = FIXTURES.iter().map(|(_, text)| *text);
    alone.chain(MESSAGES.iter().map(|(name, _)| message(name).1)).collect()
}

/// The longest message that is changed further.
const LONGEST: usize = 2_048;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "true",
    "1e400",
    "-0",
    "\\u0000",
    "\\ud800",
    "\r\n",
    "\u{0}",
    "\u{feff}",
    "é😀",
    "[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "7777",
];

const MEMBERS: &[&str] = &[
    "\"jsonrpc\":\"2.0\"",
    "\"j\\u0073onrpc\":\"2.0\"",
    "\"id\":1.0",
    "\"id\":null",
    "\"method\":\"SendMessage\"",
    "\"method\":\"message/stream\"",
    "\"method\":\"tasks/send\"",
    "\"method\":\"GetTask\"",
    "\"method\":\"PauseTask\"",
    "\"params\":{\"message\":{\"role\":\"user\",\"parts\":[]}}",
    "\"params\":null",
    "\"result\":{\"kind\":\"task\",\"id\":\"t\"}",
    "\"error\":{\"code\":-32001,\"message\":\"m\"}",
    "\"kind\":\"status-update\"",
    "\"kind\":\"message\"",
    "\"final\":true",
    "\"status\":{\"state\":\"working\",\"message\":{\"role\":\"ROLE_AGENT\",\"parts\":[{\"text\":\"x\"}]}}",
    "\"artifact\":{\"index\":0,\"append\":true,\"parts\":[{\"file\":{\"bytes\":\"aA==\"}}]}",
    "\"statusUpdate\":{\"taskId\":\"t\",\"status\":{}}",
    "\"task\":{\"id\":\"t\",\"history\":[{}],\"artifacts\":[7,{}]}",
    "\"message\":{\"role\":\"ROLE_USER\",\"parts\":[{\"data\":7},{\"url\":\"u\",\"kind\":\"file\"}]}",
    "\"parts\":[{\"raw\":\"aA==\",\"mediaType\":\"m\"}]",
    "\"role\":\"user\"",
    "\"sessionId\":\"s\"",
    "\"type\":\"mq9_call\"",
    "\"type\":\"mq9_call_reply\"",
    "\"reply_to\":\"cb\"",
    "\"correlation_id\":\"c\"",
    "\"payload\":\"words\"",
    "\"context\":{\"ref\":\"t\",\"hop\":3}",
    "\"a2aEnvelope\":\"1\",\"body\":\"{}\"",
    "\"headers\":{\"mq9-a2a-method\":\"SendMessage\",\"amb-seq\":\"1\"}",
    "\"a2a-service-parameters\":{\"A2A-Version\":[\"0.3\"]}",
    "\"configuration\":{\"pushNotificationConfig\":{\"url\":\"mq9://broker/b\"}}",
    "\"pushNotification\":{\"url\":\"b\"}",
    "\"signatures\":[{\"protected\":\"p\",\"signature\":\"s\"}]",
    "\"supportedInterfaces\":[{\"url\":\"mq9://broker/i\"}]",
    "\"agent_info\":\"{\\\"name\\\":\\\"n\\\"}\"",
    "\"agent_card\":{\"name\":\"n\"}",
    "\"mailbox\":\"m\"",
];
