//! Paths of calls: segments that cannot leave their place.

use super::error::ApiError;

/// Joins `segments` under `/v1`, each percent-encoded but for letters, digits and `-_.~`.
///
/// # Errors
/// For a segment that is empty, `.` or `..`: it would name another route.
pub(crate) fn path(operation: &'static str, segments: &[&str]) -> Result<String, ApiError> {
    let mut path = "/v1".to_owned();
    for segment in segments {
        if matches!(*segment, "" | "." | "..") {
            return Err(ApiError::invalid(operation, "an id or handle is empty or only dots"));
        }
        path.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.extend(['%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    Ok(path)
}

/// A handle as the wire has it: without `@`, in lower case.
pub(crate) fn handle(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase()
}

fn hex(nibble: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(nibble)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn c03_path_normalise_and_encode() {
        assert_eq!(path("x", &["agents", &handle("@Tally-Ho")]).expect("a path"), "/v1/agents/tally-ho");
        assert_eq!(path("x", &["messages", "a/b@c?é"]).expect("a path"), "/v1/messages/a%2Fb%40c%3F%C3%A9");
        for segment in ["", ".", ".."] {
            assert!(path("x", &["agents", segment]).is_err(), "{segment:?}");
        }
    }

    proptest! {
        #[test]
        fn no_segment_leaves_its_place(segment in ".{1,20}") {
            if let Ok(path) = path("x", &["a", &segment, "b"]) {
                let url = url::Url::parse(&format!("http://h{path}")).unwrap();
                prop_assert_eq!(url.path_segments().unwrap().count(), 4);
                prop_assert_eq!(url.query(), None);
                prop_assert_eq!(url.path(), path);
            }
        }
    }
}
