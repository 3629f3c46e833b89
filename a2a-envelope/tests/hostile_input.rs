//! Mutated fixtures through every reader: no panic, limits hold, and what is read stays consistent.
//!
//! Each run uses the same seeds, so a failure repeats; the message names the seed and the text.

mod support;

use a2a_envelope::{
    CallbackField, Dialect, Envelope, Error, Headers, Limits, RawCard, answer_address, callback_of,
    correlation_of, find_callback, with_callback,
};
use support::FIXTURES;

const URI: &str = "mq9://broker/fuzz.cb";
const ROUNDS: u64 = 12_000;

/// SplitMix64: small, seedable and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const SNIPPETS: &[&str] = &[
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
    "-",
    "\\u0000",
    "\\ud800",
    "\r\n",
    "\u{0}",
    "\u{feff}",
    "\"url\":",
    "\"params\":{",
    "\"jsonrpc\":\"2.0\",",
    "\"pushNotification\":{\"url\":\"x\"},",
    "\"a2aEnvelope\":\"1\",",
    "\"signatures\":[0],",
    "\"method\":\"SendMessage\",",
    "[[[[[[[[[[[[[[[[[[[[",
    "\"id\":1,\"id\":2,",
    "é😀",
];

/// Members that change what a well-formed text means.
const MEMBERS: &[&str] = &[
    "\"jsonrpc\":\"2.0\"",
    "\"jsonrpc\":2.0",
    "\"method\":\"SendMessage\"",
    "\"method\":\"tasks/send\"",
    "\"params\":{}",
    "\"params\":null",
    "\"params\":[{}]",
    "\"configuration\":{}",
    "\"url\":\"mq9://broker/a\"",
    "\"url\":null",
    "\"url\":{\"url\":\"x\"}",
    "\"pushNotification\":{\"url\":\"b\"}",
    "\"pushNotification\":{}",
    "\"taskPushNotificationConfig\":{\"url\":\"\"}",
    "\"pushNotificationConfig\":{\"url\":\"c\"}",
    "\"p\\u0061rams\":{\"x\":1e400}",
    "\"id\":-0.0",
    "\"id\":\"\\ud800\"",
    "\"type\":\"mq9_call\"",
    "\"reply_to\":\"r\"",
    "\"a2aEnvelope\":\"1\"",
    "\"body\":\"b\"",
    "\"headers\":{\"x\":\"y\"}",
    "\"message\":{\"role\":\"ROLE_USER\"}",
    "\"signatures\":[]",
    "\"supportedInterfaces\":[]",
    "\"supportedInterfaces\":null",
    "\"mailbox\":\"m\"",
    "\"skills\":[[],{\"tags\":[\"t\"]}]",
    "\"\":[[[[[[0]]]]]]",
];

/// Half of the mutants are broken anywhere; the other half gain members and stay well-formed.
fn mutate(rng: &mut Rng, text: &str) -> Vec<u8> {
    if rng.below(2) == 0 { scramble(rng, text) } else { extend(rng, text) }
}

fn extend(rng: &mut Rng, text: &str) -> Vec<u8> {
    let mut text = text.to_owned();
    for _ in 0..=rng.below(3) {
        let places: Vec<_> = text.match_indices("{\"").map(|(at, _)| at + 1).collect();
        if places.is_empty() {
            break;
        }
        let member = MEMBERS[rng.below(MEMBERS.len())];
        text.insert_str(places[rng.below(places.len())], &format!("{member} ,"));
    }
    text.into_bytes()
}

fn scramble(rng: &mut Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(7) {
            0 => {
                let snippet = SNIPPETS[rng.below(SNIPPETS.len())].bytes();
                bytes.splice(at..at, snippet);
            }
            1 if at < bytes.len() => bytes[at] = rng.next() as u8,
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            3 => {
                let end = (at + rng.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + rng.below(60)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let other = FIXTURES[rng.below(FIXTURES.len())].1.as_bytes();
                let from = rng.below(other.len());
                let piece = other[from..(from + rng.below(80)).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// What serde_json makes of a text: an independent judge of the grammar.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

fn headers(rng: &mut Rng) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in [("mq9-reply-to", "cb"), ("a2a-version", "1.0"), ("amb-correlation-id", "c")] {
        if rng.below(4) == 0 {
            headers.set(name, value).unwrap();
        }
    }
    headers
}

fn check(bytes: &[u8], headers: &Headers) {
    let limits = Limits::default();
    let found = find_callback(bytes, &limits);
    assert_eq!(found.is_ok(), is_json(bytes), "grammar: {found:?}");
    assert_eq!(callback_of(bytes), found.clone().ok().flatten().map(|callback| callback.uri));

    let dialect = Dialect::detect(headers, bytes);
    assert_eq!(Dialect::detect_within(headers, bytes, &limits), Ok(dialect));
    let _ = (correlation_of(headers, bytes), answer_address(headers, bytes));

    let envelope = Envelope::from_parts(headers.clone(), bytes.to_vec());
    let _ = (envelope.validate(&limits), envelope.request_method(&limits));
    if let Ok(wrapped) = envelope.to_wrapped(&limits) {
        let back = Envelope::from_wrapped(&wrapped, &limits).expect("what is written can be read");
        assert_eq!(back.body, bytes);
    }
    if let Ok(envelope) = Envelope::from_wrapped(bytes, &limits) {
        assert_eq!(envelope.check_format(), Ok(()));
        assert_eq!(dialect, Dialect::Envelope);
    }
    for field in
        [None, Some(CallbackField::PushNotification), Some(CallbackField::TaskPushNotificationConfig)]
    {
        check_edit(bytes, field);
    }
    check_card(bytes);
}

fn check_edit(bytes: &[u8], field: Option<CallbackField>) {
    let Ok(edited) = with_callback(bytes, URI, field, true) else { return };
    assert!(is_json(&edited), "an edit broke the text");
    assert_eq!(callback_of(&edited).as_deref(), Some(URI));
    // One span differs: what is common at both ends, and the URI between them, is all there is.
    let common = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
    let head = common(&mut bytes.iter().copied().zip(edited.iter().copied()));
    let tail = common(&mut bytes.iter().rev().copied().zip(edited.iter().rev().copied()));
    assert!(head + tail >= edited.len().saturating_sub(URI.len() + 80), "more than the field was touched");
    let again = with_callback(&edited, URI, field, true).expect("what was set can be replaced");
    assert_eq!(again, edited);
    assert!(matches!(with_callback(&edited, URI, field, false), Err(Error::CallbackExists { .. })));
}

fn check_card(bytes: &[u8]) {
    let Ok(card) = RawCard::new(bytes.to_vec()) else { return };
    assert_eq!(card.as_bytes(), bytes);
    let _ = (card.view(), card.mailbox(), card.name());
    match card.with_interface("mq9://broker/new") {
        Ok(edited) => {
            assert!(!card.is_signed() && is_json(edited.as_bytes()));
            assert_eq!(edited.mailbox().as_deref(), Some("mq9://broker/new"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn mutated_fixtures_never_break_a_reader() {
    for seed in 0..ROUNDS {
        let mut rng = Rng(seed);
        let bytes = mutate(&mut rng, FIXTURES[rng_index(seed)].1);
        let headers = headers(&mut rng);
        let outcome = std::panic::catch_unwind(|| check(&bytes, &headers));
        assert!(outcome.is_ok(), "seed {seed}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn mutations_reach_past_the_parser() {
    let accepted = (0..ROUNDS)
        .filter(|seed| is_json(&mutate(&mut Rng(*seed), FIXTURES[rng_index(*seed)].1)))
        .count() as u64;
    assert!(accepted > ROUNDS * 4 / 10, "only {accepted} of {ROUNDS} mutants are JSON at all");
    assert!(accepted < ROUNDS * 9 / 10, "{accepted} of {ROUNDS} mutants are still JSON");
}

#[test]
fn small_limits_hold_for_every_reader() {
    let limits = Limits::default().with_max_body(300).with_max_wrapped(300).with_max_depth(4);
    for seed in 0..ROUNDS / 4 {
        let bytes = mutate(&mut Rng(seed), FIXTURES[rng_index(seed)].1);
        let too_large = bytes.len() > 300;
        let results = [
            find_callback(&bytes, &limits).map(drop),
            Envelope::from_wrapped(&bytes, &limits).map(drop),
            RawCard::within(bytes.clone(), &limits).map(drop),
            Dialect::detect_within(&Headers::new(), &bytes, &limits).map(drop),
            Envelope::from_parts(Headers::new(), bytes.clone()).to_wrapped(&limits).map(drop),
        ];
        for result in results {
            match result {
                Err(Error::Limit { allowed, found, .. }) => assert!(found > allowed, "seed {seed}"),
                _ => assert!(!too_large, "seed {seed}: {} bytes passed", bytes.len()),
            }
        }
    }
}

#[test]
fn absurd_nesting_ends_quickly_and_says_how_deep_it_was() {
    let depth = 2_000_000;
    let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let error = find_callback(text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "max_depth (levels) is 128, found 2000000: 1999872 over");
    let open = "{\"a\":".repeat(800_000);
    assert!(matches!(find_callback(open.as_bytes(), &Limits::default()), Err(Error::NotJson { .. })));
}

/// Every fixture gets its share of seeds.
fn rng_index(seed: u64) -> usize {
    (seed % FIXTURES.len() as u64) as usize
}
