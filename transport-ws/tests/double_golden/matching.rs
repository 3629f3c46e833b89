//! Recorded values against those of the double: identifiers, keys and times correspond from their first
//! occurrence on, everything else is equal.

use std::collections::HashMap;

use serde_json::Value;

#[derive(Default)]
pub(crate) struct Matching {
    to_actual: HashMap<String, String>,
    to_recorded: HashMap<String, String>,
    times: HashMap<String, String>,
}

impl Matching {
    /// Panics with the place if the two do not correspond.
    pub(crate) fn check(&mut self, place: &str, recorded: &Value, actual: &Value) {
        match (recorded, actual) {
            (Value::Object(wanted), Value::Object(got)) => {
                let names = |map: &serde_json::Map<String, Value>| {
                    let mut names: Vec<String> = map.keys().cloned().collect();
                    names.sort();
                    names
                };
                assert_eq!(names(wanted), names(got), "{place}: members of {actual}");
                for (name, value) in wanted {
                    self.check(&format!("{place}.{name}"), value, &got[name]);
                }
            }
            (Value::Array(wanted), Value::Array(got)) => {
                assert_eq!(wanted.len(), got.len(), "{place}: {got:?}");
                for (at, (value, got)) in wanted.iter().zip(got).enumerate() {
                    self.check(&format!("{place}[{at}]"), value, got);
                }
            }
            (Value::String(wanted), Value::String(got)) => self.check_text(place, wanted, got),
            _ => assert_eq!(recorded, actual, "{place}"),
        }
    }

    /// A request's text with the double's identifiers in place of the recorded ones.
    pub(crate) fn translate(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, length)) = find_id(rest) {
            let id = &rest[at..at + length];
            out.push_str(&rest[..at]);
            out.push_str(self.to_actual.get(id).map_or(id, String::as_str));
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        out
    }

    fn check_text(&mut self, place: &str, wanted: &str, got: &str) {
        let system = wanted.strip_prefix("sys_").zip(got.strip_prefix("sys_"));
        let (wanted, got) = system.unwrap_or((wanted, got));
        if find_id(wanted) == Some((0, wanted.len())) {
            assert_eq!(find_id(got), Some((0, got.len())), "{place}: {got}");
            assert_eq!(wanted.split('_').next(), got.split('_').next(), "{place}");
            let known = self.to_actual.entry(wanted.to_owned()).or_insert_with(|| got.to_owned());
            assert_eq!(known, got, "{place}: the identifier of {wanted}");
            let back = self.to_recorded.entry(got.to_owned()).or_insert_with(|| wanted.to_owned());
            assert_eq!(back, wanted, "{place}: two identifiers became one");
        } else if is_time(wanted) {
            assert!(is_time(got), "{place}: {got}");
            assert_eq!(wanted.ends_with('Z'), got.ends_with('Z'), "{place}: the form of {got}");
            let known = self.times.entry(wanted.to_owned()).or_insert_with(|| got.to_owned());
            assert_eq!(known, got, "{place}: the time {wanted}");
        } else if wanted.starts_with("ac_<REDACTED") {
            assert!(got.starts_with("ac_") && got.len() == 46, "{place}");
        } else if place.ends_with("url") && wanted.starts_with("http://127.0.0.1:54321/") {
            assert!(got.starts_with("http://") && got.contains("?token="), "{place}: {got}");
        } else if place.ends_with("secret") {
            assert_eq!(got.len(), wanted.len(), "{place}");
        } else {
            assert_eq!(wanted, got, "{place}");
        }
    }
}

/// Where the first identifier of a text is, and how long.
fn find_id(text: &str) -> Option<(usize, usize)> {
    const PREFIXES: [&str; 9] = ["msg_", "conv_", "grp_", "gri_", "att_", "pnd_", "whk_", "agt_", "del_"];
    let found =
        PREFIXES.iter().flat_map(|prefix| text.match_indices(prefix).map(move |(at, _)| (at, *prefix)));
    let whole = found.filter_map(|(at, prefix)| {
        let wanted = if prefix == "del_" { 32 } else { 16 };
        let body = text[at + prefix.len()..].bytes().take(wanted);
        let fits = body.clone().count() == wanted
            && body.into_iter().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        fits.then_some((at, prefix.len() + wanted))
    });
    whole.min()
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[..4].iter().all(u8::is_ascii_digit)
}
