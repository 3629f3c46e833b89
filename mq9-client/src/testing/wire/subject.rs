//! Subjects: which are well formed, and which pattern matches which.

/// Whether `subject` may be published to: no empty token, no blank, no wildcard token.
pub(crate) fn is_literal(subject: &str) -> bool {
    !subject.is_empty()
        && subject
            .split('.')
            .all(|token| !token.is_empty() && token != "*" && token != ">" && !has_blank(token))
}

/// Whether `pattern` may be subscribed to: as a literal, but a token may be `*` and the last may be `>`.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let mut tokens = pattern.split('.').peekable();
    while let Some(token) = tokens.next() {
        let misplaced_tail = token == ">" && tokens.peek().is_some();
        if token.is_empty() || has_blank(token) || misplaced_tail {
            return false;
        }
    }
    true
}

/// Whether `pattern` matches `subject`: `*` stands for one token, a final `>` for one or more.
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    let mut wanted = pattern.split('.');
    let mut given = subject.split('.');
    loop {
        match (wanted.next(), given.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(got)) if want == got => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// The tokens of `pattern` before its first wildcard, without the dot that follows them.
///
/// A subject can only match patterns whose literal prefix is one of [`prefixes`] of that subject, which
/// is what makes routing a few look-ups instead of a scan over all subscriptions.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    let mut end = 0;
    for token in pattern.split('.') {
        if token == "*" || token == ">" {
            return pattern[..end].trim_end_matches('.');
        }
        end = (end + token.len() + 1).min(pattern.len());
    }
    pattern
}

/// Every run of leading tokens of `subject`: the empty one first, the whole subject last.
pub(crate) fn prefixes(subject: &str) -> impl Iterator<Item = &str> {
    std::iter::once("")
        .chain(subject.match_indices('.').filter(|(dot, _)| *dot > 0).map(|(dot, _)| &subject[..dot]))
        .chain(std::iter::once(subject))
}

fn has_blank(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_nats() {
        let table = [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.*.c", "a.b.c", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("*", "a.b", false),
            ("a.*>", "a.b", false),
        ];
        for (pattern, subject, expected) in table {
            assert_eq!(matches(pattern, subject), expected, "{pattern} against {subject}");
        }
    }

    #[test]
    fn malformed_subjects_are_refused() {
        for good in ["a", "$mq9.AI.MSG.SEND.a.b", "_INBOX.x"] {
            assert!(is_literal(good) && is_pattern(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\tb"] {
            assert!(!is_literal(bad) && !is_pattern(bad), "{bad:?}");
        }
        for pattern in ["*", ">", "a.*", "a.>", "*.b"] {
            assert!(is_pattern(pattern) && !is_literal(pattern), "{pattern}");
        }
        assert!(!is_pattern("a.>.b"));
    }

    #[test]
    fn a_matching_pattern_is_always_found_under_a_prefix_of_the_subject() {
        let patterns = ["a.b.c", "a.*.c", "a.>", ">", "*", "*.b.>", "a.b.>", "a.b.*"];
        for pattern in patterns {
            for subject in ["a", "a.b", "a.b.c", "x.b.c"] {
                if matches(pattern, subject) {
                    let prefix = literal_prefix(pattern);
                    assert!(prefixes(subject).any(|p| p == prefix), "{pattern} {subject} {prefix:?}");
                }
            }
        }
        assert_eq!(literal_prefix("a.b.>"), "a.b");
        assert_eq!(literal_prefix("*.b"), "");
    }
}
