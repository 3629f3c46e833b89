//! What the server would refuse anyway, refused before anything is sent.
//!
//! Lengths are counted in characters (Unicode scalar values). A server may count those outside the basic
//! plane, such as most emoji, as two: text full of them may pass here and be refused there, never the other
//! way round.

use std::ops::RangeInclusive;

use agentchat_core::ErrorKind;

use super::{ApiResult, Recipient};
use crate::config::{HANDLE_RULE, handle_of};
use crate::http::ApiError;

/// A handle as the wire has it: without `@`, in small letters.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what breaks the rule of handles.
pub(super) fn checked_handle(operation: &'static str, text: &str) -> ApiResult<String> {
    handle_of(text).ok_or_else(|| ApiError::invalid(operation, HANDLE_RULE))
}

/// That `text` is a handle as the wire has it: one `@` at most was taken from it already.
pub(super) fn bare_handle(operation: &'static str, text: &str) -> ApiResult<()> {
    let keeps = checked_handle(operation, text)? == text;
    if keeps { Ok(()) } else { Err(ApiError::invalid(operation, HANDLE_RULE)) }
}

/// That `text`, told of as `name`, has as many characters as `range` allows.
pub(super) fn length(
    operation: &'static str,
    name: &str,
    text: &str,
    range: RangeInclusive<usize>,
) -> ApiResult<()> {
    // Text beyond four bytes a character need not be counted.
    let count =
        if text.len() > range.end().saturating_mul(4) { text.len() / 4 } else { text.chars().count() };
    if range.contains(&count) {
        return Ok(());
    }
    let most = range.end();
    let what = match range.start() {
        0 => format!("the {name} has more than {most} characters"),
        least => format!("the {name} has {count} characters; {least} to {most} are allowed"),
    };
    Err(ApiError::invalid(operation, what))
}

/// As [`length`], of a text that may be missing.
pub(super) fn optional(
    operation: &'static str,
    name: &str,
    text: Option<&str>,
    range: RangeInclusive<usize>,
) -> ApiResult<()> {
    text.map_or(Ok(()), |text| length(operation, name, text, range))
}

/// That there are as many of something as `range` allows. `name` says of what, after the number.
pub(super) fn count(
    operation: &'static str,
    name: &str,
    number: u64,
    range: RangeInclusive<u64>,
) -> ApiResult<()> {
    if range.contains(&number) {
        return Ok(());
    }
    let what = format!("the {name} is {number}; {} to {} are allowed", range.start(), range.end());
    Err(ApiError::invalid(operation, what))
}

/// That something is there.
pub(super) fn present(operation: &'static str, name: &str, text: &str) -> ApiResult<()> {
    if text.trim().is_empty() {
        return Err(ApiError::invalid(operation, format!("the {name} is empty")));
    }
    Ok(())
}

/// That `text` looks like an address of mail. The server knows more of them.
pub(super) fn email(operation: &'static str, text: &str) -> ApiResult<()> {
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    let looks = text.rsplit_once('@').is_some_and(|(who, domain)| {
        plain(who) && plain(domain) && !who.contains('@') && domain.split('.').all(|part| !part.is_empty())
    });
    if looks {
        Ok(())
    } else {
        Err(ApiError::invalid(operation, "the email is no address such as a@b.example"))
    }
}

/// That `text` is the code of a mail.
pub(super) fn code(operation: &'static str, text: &str) -> ApiResult<()> {
    if text.len() == CODE && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    // A wrong guess costs one of five.
    Err(ApiError::invalid(operation, "the code is not exactly 6 digits"))
}

/// That `text` is a whole URL of the web.
pub(super) fn web_url(operation: &'static str, name: &str, text: &str) -> ApiResult<()> {
    let web = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    if web {
        Ok(())
    } else {
        Err(ApiError::invalid(operation, format!("the {name} is no http or https URL")))
    }
}

/// That a picture has a type and size that servers take. What it shows they look at themselves.
pub(super) fn picture(operation: &'static str, media_type: &str, bytes: &[u8]) -> ApiResult<()> {
    if !media_type.starts_with("image/") && media_type != "application/octet-stream" {
        let what = "the media type of a picture begins with image/, or is application/octet-stream";
        return Err(ApiError::invalid(operation, what));
    }
    match bytes.len() {
        0 => Err(ApiError::invalid(operation, "the picture is empty")),
        size if size > MAX_PICTURE => {
            let what = format!("the picture has {size} bytes; at most {MAX_PICTURE} are allowed");
            Err(ApiError::local(operation, ErrorKind::TooLarge, what))
        }
        _ => Ok(()),
    }
}

/// That a message or a file goes to what can be somebody.
pub(super) fn recipient(operation: &'static str, to: &Recipient) -> ApiResult<()> {
    match to {
        Recipient::Agent(agent) => checked_handle(operation, agent).map(drop),
        Recipient::Group(id) => present(operation, "group's id", id),
    }
}

/// Names and descriptions of agents.
pub(super) const DISPLAY_NAME: RangeInclusive<usize> = 0..=100;
pub(super) const DESCRIPTION: RangeInclusive<usize> = 0..=500;
/// The server's largest picture: 5 MiB.
const MAX_PICTURE: usize = 5 * 1024 * 1024;
const CODE: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: ApiResult<()>) -> String {
        let error = result.expect_err("refused");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "x"));
        error.message().to_owned()
    }

    #[test]
    fn lengths_are_counted_in_characters_and_told_without_the_text() {
        for text in ["", "abc", "äöü", "🦀🦀🦀"] {
            length("x", "name", text, 0..=3).expect(text);
        }
        assert_eq!(told(length("x", "name", "abcd", 0..=3)), "the name has more than 3 characters");
        assert_eq!(told(length("x", "name", "", 1..=3)), "the name has 0 characters; 1 to 3 are allowed");
        told(length("x", "name", &"🦀".repeat(4), 1..=3));
        told(length("x", "name", &"a".repeat(1 << 20), 1..=3));
    }

    #[test]
    fn what_may_be_an_address_of_mail_passes() {
        for text in ["a@b", "ops+tag@example.test", "ö@müller.example", "a.b@1.2.3.4"] {
            email("x", text).expect(text);
        }
        for text in ["", "@", "a@", "@b", "a@b@c", "a b@c", "a@b c", " a@b", "a@b\n", "a@b..c", "a@.b", "ab"]
        {
            told(email("x", text));
        }
    }

    #[test]
    fn a_code_is_six_digits() {
        code("x", "012345").expect("a code");
        for text in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", " 12345", "12345\n"] {
            told(code("x", text));
        }
    }
}
