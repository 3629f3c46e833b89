//! What must make no difference, and readers held against independent models.

mod support;

use std::collections::BTreeMap;

use a2a_envelope::{
    Dialect, Envelope, Error, Headers, Limits, RawCard, answer_address, callback_of, correlation_of,
    find_callback,
};
use proptest::prelude::*;
use serde_json::value::RawValue;
use support::{FIXTURES, foreign_member, json_text, seeded, string_token};

type Read = (Dialect, Option<String>, Option<String>, Option<String>);

fn read_all(body: &[u8]) -> Read {
    let headers = Headers::new();
    (
        Dialect::detect(&headers, body),
        correlation_of(&headers, body).map(|found| found.id),
        answer_address(&headers, body).map(|found| found.address),
        callback_of(body),
    )
}

/// The same document in another dress: `escape` spells letters of strings as escapes, `space` is put around
/// every punctuation mark outside strings.
fn disguise(text: &str, escape: bool, space: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                inside = !inside;
                out.push(c);
            }
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            'a'..='z' if inside && escape => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            '{' | '}' | '[' | ']' | ',' | ':' if !inside => out.push_str(&format!("{space}{c}{space}")),
            _ => out.push(c),
        }
    }
    out
}

#[test]
fn white_space_and_escapes_change_no_reading() {
    let mut told = 0;
    for (name, text) in FIXTURES.iter().filter(|(name, _)| name.ends_with(".json")) {
        // A `\u` sequence is broken by escaping its letters' neighbours; such fixtures keep their strings.
        let escape = !text.contains("\\u");
        let plain = read_all(text.as_bytes());
        for space in ["", " ", "\r\n\t"] {
            let other = disguise(text, escape, space);
            assert_eq!(read_all(other.as_bytes()), plain, "{name}: {other}");
            if name.starts_with("card") {
                let (card, dressed) = (RawCard::new(*text).unwrap(), RawCard::new(other).unwrap());
                assert_eq!(dressed.view(), card.view(), "{name}");
                assert_eq!(dressed.mailbox(), card.mailbox(), "{name}");
                assert_eq!(dressed.is_signed(), card.is_signed(), "{name}");
                told += 1;
            }
        }
    }
    assert_eq!(told, 15);
}

#[test]
fn both_carriages_read_the_same() {
    for (name, text) in FIXTURES {
        let envelope = Envelope::new(*text).with_header("x-origin", "né").unwrap();
        let wrapped = envelope.to_wrapped(&Limits::default()).unwrap();
        let unwrapped = Envelope::from_wrapped(&wrapped, &Limits::default()).unwrap();
        assert_eq!(unwrapped, envelope, "{name}");
        assert_eq!(
            answer_address(&unwrapped.headers, &unwrapped.body),
            answer_address(&envelope.headers, &envelope.body),
            "{name}"
        );
        // An envelope may itself be wrapped again, and comes out of both covers.
        let twice = Envelope::new(wrapped.clone()).to_wrapped(&Limits::default()).unwrap();
        assert_eq!(Envelope::from_wrapped(&twice, &Limits::default()).unwrap().body, wrapped, "{name}");
    }
}

/// Sets and removals, held against a plain map.
#[derive(Debug, Clone)]
enum Op {
    Set(String, String),
    Remove(String),
}

fn op() -> impl Strategy<Value = Op> {
    // Few names, in mixed case, so that they meet; some values so large that the total runs over.
    let name = "[a-eA-E]{1,2}";
    let value =
        prop_oneof![3 => "[!-~]{0,9}".boxed(), 2 => (0usize..4200).prop_map(|n| "v".repeat(n)).boxed()];
    prop_oneof![
        4 => (name, value).prop_map(|(name, value)| Op::Set(name, value)),
        1 => name.prop_map(Op::Remove),
    ]
}

proptest! {
    #![proptest_config(seeded(384))]

    #[test]
    fn headers_behave_like_a_bounded_map(ops in prop::collection::vec(op(), 1..80)) {
        let mut headers = Headers::new();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        let total = |model: &BTreeMap<String, String>| model.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        for op in ops {
            match op {
                Op::Remove(name) => {
                    prop_assert_eq!(headers.remove(&name), model.remove(&name.to_ascii_lowercase()));
                }
                Op::Set(name, value) => {
                    let mut next = model.clone();
                    let old = next.insert(name.to_ascii_lowercase(), value.clone());
                    let fits = value.len() <= Headers::MAX_VALUE && total(&next) <= Headers::MAX_TOTAL;
                    match headers.set(&name, &value) {
                        Ok(replaced) => {
                            prop_assert!(fits);
                            prop_assert_eq!(replaced, old);
                            model = next;
                        }
                        Err(error) => {
                            prop_assert!(!fits, "{}", error);
                            let is_header = matches!(error, Error::Header { .. });
                            prop_assert!(is_header);
                        }
                    }
                }
            }
            prop_assert_eq!(headers.total_bytes(), total(&model));
            let sorted: BTreeMap<_, _> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(sorted.len(), headers.len());
            prop_assert_eq!(&sorted, &model);
        }
    }

    #[test]
    fn members_are_found_where_serde_json_finds_them(
        members in prop::collection::vec(
            prop_oneof![
                foreign_member(),
                (prop::sample::select(vec!["name", "n\\u0061me", "mailbox"]), string_token())
                    .prop_map(|(key, value)| format!("\"{key}\" : {value}")),
                prop::sample::select(vec!["name", "mailbox"]).prop_map(|key| format!("\"{key}\":null")),
            ],
            0..8,
        ),
    ) {
        let text = format!("{{{}}}", members.join(","));
        let oracle: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        let expect = |name: &str| oracle.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let card = RawCard::new(text).unwrap();
        prop_assert_eq!(card.name(), expect("name"));
        prop_assert_eq!(card.view().name, expect("name"));
        prop_assert_eq!(card.mailbox(), expect("mailbox").filter(|address| !address.is_empty()));
    }

    #[test]
    fn the_grammar_is_serde_jsons(text in json_text(), at in any::<prop::sample::Index>(), junk in "[\\[\\]{}\",:0-9eE.+ntfu\\\\ -]{0,2}") {
        let limits = Limits::default();
        prop_assert!(find_callback(text.as_bytes(), &limits).is_ok(), "{}", text);
        // The same text with a little rubbish in it is JSON to both or to neither.
        let places: Vec<_> = (0..=text.len()).filter(|place| text.is_char_boundary(*place)).collect();
        let mut spoilt = text.clone();
        spoilt.insert_str(places[at.index(places.len())], &junk);
        let ours = find_callback(spoilt.as_bytes(), &limits);
        let theirs = serde_json::from_str::<&RawValue>(&spoilt);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", spoilt, ours, theirs);
    }

    #[test]
    fn json_rpc_ids_keep_their_token(id in prop_oneof![string_token(), support::number_token()], before in foreign_member()) {
        let body = format!("{{{before},\"id\" : {id} ,\"jsonrpc\":\"2.0\"}}");
        match correlation_of(&Headers::new(), body.as_bytes()) {
            Some(found) => {
                prop_assert_eq!(&found.json, &id);
                let text = if id.starts_with('"') { serde_json::from_str(&id).unwrap() } else { id };
                prop_assert_eq!(found.id, text);
            }
            None => {
                let empty_or_no_text = serde_json::from_str::<String>(&id).is_ok_and(|text| text.is_empty())
                    || (id.starts_with('"') && serde_json::from_str::<String>(&id).is_err());
                prop_assert!(empty_or_no_text, "{}", id);
            }
        }
    }
}
