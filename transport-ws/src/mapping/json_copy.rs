//! Whether a JSON body can stand in `content.data` too, where clients of other makes look for it.

use serde_json::value::RawValue;

/// The body as a JSON object that the server can store, with the most it may grow by when the server writes
/// it anew. Nothing for what is none, or would make the whole message fail.
pub(super) fn object(media_type: &str, text: &str) -> Option<(Box<RawValue>, usize)> {
    if !is_json(media_type) || !text.trim_start().starts_with('{') || !is_storable(text) {
        return None;
    }
    let raw = RawValue::from_string(text.trim().to_owned()).ok()?;
    let growth = exponents(text) * MOST_PER_EXPONENT;
    Some((raw, growth))
}

/// `application/json` and everything `…+json`.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == super::JSON || essence.ends_with("+json")
}

/// Servers fail on strings with NUL or half a surrogate pair, and on too deep a nesting. A little more than
/// these is turned away: it costs the copy only.
fn is_storable(text: &str) -> bool {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            0 => return false,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let mut escapes = text.match_indices("\\u").map(|(at, _)| text.as_bytes().get(at + 2..at + 6));
    let harmless = |digits: Option<&[u8]>| {
        let Some(digits) = digits else { return false };
        let surrogate = digits[0].eq_ignore_ascii_case(&b'd') && !(b'0'..=b'7').contains(&digits[1]);
        digits != b"0000" && !surrogate
    };
    deepest <= DEEPEST && escapes.all(harmless)
}

/// How many numbers may be written with an exponent: `1e20` comes back with all its zeros.
fn exponents(text: &str) -> usize {
    let digit_before_e = |pair: &[u8]| pair[0].is_ascii_digit() && pair[1].eq_ignore_ascii_case(&b'e');
    text.as_bytes().windows(2).filter(|pair| digit_before_e(pair)).count()
}

const DEEPEST: usize = 64;
/// From `1e20` to 21 digits, or from `1e-6` to 8 characters.
const MOST_PER_EXPONENT: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_a_server_can_store_are_copied() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        for (media_type, text, copied) in [
            ("application/json", r#" {"a":[1,2.50]} "#, true),
            ("application/a2a+json; charset=utf-8", r#"{"a":"\n\u00e9"}"#, true),
            ("Application/JSON", "{}", true),
            ("text/plain", "{}", false),
            ("application/json", "[1]", false),
            ("application/json", "{", false),
            ("application/json", "{} {}", false),
            ("application/json", "{\"a\":\"\0\"}", false),
            ("application/json", r#"{"a":"\u0000"}"#, false),
            ("application/json", r#"{"a":"\ud800"}"#, false),
            ("application/json", r#"{"a":"\uDC00x"}"#, false),
            ("application/json", &deep, false),
        ] {
            assert_eq!(object(media_type, text).is_some(), copied, "{media_type} {text}");
        }
    }

    #[test]
    fn exponents_are_counted_for_what_they_may_become() {
        assert_eq!(object("application/json", r#"{"a":1e20,"b":1E-6,"c":"e"}"#).map(|it| it.1), Some(48));
    }
}
