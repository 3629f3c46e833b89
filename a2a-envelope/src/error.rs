//! Why something was refused, and by which rule.

use std::fmt;

use crate::callback::CallbackField;
use crate::limits::LimitKind;
use crate::safety::AddressRule;
use crate::sign::SignFailure;

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something was refused. Nothing here does I/O, so repeating the same call fails the same way.
///
/// `Display` is one line and never prints a header value, a mailbox address or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A header breaks a rule of the format.
    #[error("header `{name}` {rule}")]
    #[non_exhaustive]
    Header {
        /// The header's name, cut to 64 characters.
        name: String,
        /// The rule it breaks.
        rule: HeaderRule,
    },
    /// A text is larger or deeper than allowed.
    #[error("{limit} is {allowed}, found {found}: {} over", found.saturating_sub(*allowed))]
    #[non_exhaustive]
    Limit {
        /// Which limit.
        limit: LimitKind,
        /// What it allows.
        allowed: usize,
        /// What was found.
        found: usize,
    },
    /// A text that must be UTF-8 is not.
    #[error("not UTF-8 from byte {offset} on")]
    #[non_exhaustive]
    NotUtf8 {
        /// How many bytes are good.
        offset: usize,
    },
    /// A text that must be JSON is not.
    #[error("not JSON at byte {offset}: {problem}")]
    #[non_exhaustive]
    NotJson {
        /// Where reading stopped.
        offset: usize,
        /// What was wrong there.
        problem: &'static str,
    },
    /// A member of a JSON text is not what an operation needs.
    #[error("`{path}` {rule}")]
    #[non_exhaustive]
    Member {
        /// Dotted path of the member; `$` is the whole text.
        path: String,
        /// What is wrong with it.
        rule: MemberRule,
    },
    /// The envelope is of a format this version does not know.
    #[error("envelope format `{found}` is not known here (format 1 is)")]
    #[non_exhaustive]
    UnknownFormat {
        /// The format it names, cut to 64 characters.
        found: String,
    },
    /// Header and body name different A2A operations.
    #[error("header `mq9-a2a-method` says `{header}` but the body says `{body}`")]
    #[non_exhaustive]
    MethodMismatch {
        /// The header's value, cut to 64 characters.
        header: String,
        /// The body's `method`, cut to 64 characters.
        body: String,
    },
    /// The body has no place of its own for an answer address.
    #[error("a `{method}` request has no callback field of its own: use a header, or name the field")]
    #[non_exhaustive]
    NoCallbackField {
        /// The method, cut to 64 characters.
        method: String,
    },
    /// The body already carries an answer address in this field.
    #[error("the body already has a callback in {field}")]
    #[non_exhaustive]
    CallbackExists {
        /// The field that holds it.
        field: CallbackField,
    },
    /// The envelope already says in its header where answers go.
    #[error("header `mq9-reply-to` is already set")]
    AnswerExists,
    /// Another spelling, which readers prefer, would hide the callback about to be written.
    #[error("the body's callback in {by} would hide one in {field}")]
    #[non_exhaustive]
    CallbackShadowed {
        /// The field to be written.
        field: CallbackField,
        /// The field that readers look at first.
        by: CallbackField,
    },
    /// An answer address is not one to follow, or not one to send.
    #[error("answer address: {0}")]
    Address(AddressRule),
    /// A signer refused.
    #[error("not signed: {0}")]
    Signing(SignFailure),
    /// An agent card, or what it is to be built from, breaks a rule.
    #[error("agent card: {0}")]
    Card(CardRule),
}

/// A rule for header names and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderRule {
    /// A name is 1 to 128 characters out of letters, digits and ``!#$%&'*+-.^_`|~``.
    Name,
    /// A value has no CR and no LF (nor NUL): header blocks end lines with them.
    LineBreak,
    /// A value does not begin or end with a space or a tab: header blocks are read with values trimmed.
    SurroundingSpace,
    /// A value is UTF-8.
    NotUtf8,
    /// A value is at most 4,096 bytes.
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// All names and values together are at most 16,384 bytes.
    TotalTooLong {
        /// What the total would have been.
        found: usize,
    },
    /// There are at most 128 headers.
    TooMany,
    /// The value must not be empty.
    Empty,
    /// A correlation id is at most 128 characters.
    CorrelationTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// An origin is at most 256 characters.
    OriginTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The value is visible ASCII (`!` to `~`) only.
    NotVisibleAscii,
    /// The value is an unsigned decimal number of at most 64 bits.
    NotANumber,
}

impl fmt::Display for HeaderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("has a name that is not 1 to 128 token characters"),
            Self::LineBreak => f.write_str("has a CR, LF or NUL in its value"),
            Self::SurroundingSpace => f.write_str("has a value that begins or ends with white space"),
            Self::NotUtf8 => f.write_str("has a value that is not UTF-8"),
            Self::TooLong { found } => write!(f, "has a value of {found} bytes; the most is 4096"),
            Self::TotalTooLong { found } => {
                write!(f, "would bring all headers to {found} bytes; the most is 16384")
            }
            Self::TooMany => f.write_str("is one too many; the most is 128"),
            Self::Empty => f.write_str("must not be empty"),
            Self::CorrelationTooLong { found } => write!(f, "is {found} characters; the most is 128"),
            Self::OriginTooLong { found } => write!(f, "is {found} characters; the most is 256"),
            Self::NotVisibleAscii => f.write_str("has characters other than visible ASCII"),
            Self::NotANumber => f.write_str("is not an unsigned 64-bit decimal number"),
        }
    }
}

/// What is wrong with a member of a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberRule {
    /// It is not there.
    Missing,
    /// It must be an object.
    NotAnObject,
    /// It must be an array.
    NotAnArray,
    /// It must be a string that decodes to Unicode text.
    NotAString,
    /// It is there twice, so which one counts is anybody's guess.
    Duplicate,
}

impl fmt::Display for MemberRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::NotAnObject => "is not an object",
            Self::NotAnArray => "is not an array",
            Self::NotAString => "is not a string of Unicode text",
            Self::Duplicate => "is there more than once",
        })
    }
}

/// A rule for agent cards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CardRule {
    /// A signed card cannot be changed without breaking its signature.
    Signed,
    /// The card already has an interface of this kind.
    InterfaceExists,
    /// The URL's scheme belongs to no binding known here (`mq9` and `mq9s` do).
    UnknownScheme,
    /// A required field is absent or empty.
    Required(&'static str),
    /// A field of the skill with this id is absent or empty.
    SkillRequires {
        /// The skill's id.
        skill: String,
        /// The field.
        field: &'static str,
    },
    /// Two skills have this id.
    DuplicateSkill(String),
}

impl fmt::Display for CardRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed => f.write_str("it is signed, so its text cannot be changed"),
            Self::InterfaceExists => f.write_str("it already has an interface of this kind"),
            Self::UnknownScheme => f.write_str("the interface URL is neither mq9:// nor mq9s://"),
            Self::Required(field) => write!(f, "`{field}` is required"),
            Self::SkillRequires { skill, field } => write!(f, "skill `{skill}` requires `{field}`"),
            Self::DuplicateSkill(id) => write!(f, "two skills have the id `{id}`"),
        }
    }
}

impl Error {
    pub(crate) fn header(name: &str, rule: HeaderRule) -> Self {
        Self::Header { name: excerpt(name), rule }
    }

    pub(crate) fn member(path: impl Into<String>, rule: MemberRule) -> Self {
        Self::Member { path: path.into(), rule }
    }
}

/// At most 64 characters of foreign text, with control characters escaped, for use in an error.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).flat_map(|c| c.escape_debug()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_in_an_error_is_cut_and_stays_on_one_line() {
        let error = Error::header(&format!("a\nb{}", "x".repeat(500)), HeaderRule::Name);
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("a\\nb"), "{line}");
        assert!(line.len() < 150, "{line}");
    }

    #[test]
    fn every_header_rule_names_its_bound() {
        for (rule, words) in [
            (HeaderRule::Name, "1 to 128"),
            (HeaderRule::LineBreak, "CR, LF"),
            (HeaderRule::SurroundingSpace, "white space"),
            (HeaderRule::NotUtf8, "UTF-8"),
            (HeaderRule::TooLong { found: 5000 }, "5000 bytes; the most is 4096"),
            (HeaderRule::TotalTooLong { found: 17000 }, "17000 bytes; the most is 16384"),
            (HeaderRule::TooMany, "the most is 128"),
            (HeaderRule::Empty, "empty"),
            (HeaderRule::CorrelationTooLong { found: 129 }, "129 characters; the most is 128"),
            (HeaderRule::OriginTooLong { found: 257 }, "257 characters; the most is 256"),
            (HeaderRule::NotVisibleAscii, "visible ASCII"),
            (HeaderRule::NotANumber, "64-bit"),
        ] {
            let line = Error::header("amb-x", rule).to_string();
            assert!(line.starts_with("header `amb-x` "), "{line}");
            assert!(line.contains(words), "{line}");
        }
    }
}
