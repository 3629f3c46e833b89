//! What each of the server's codes means, in one table: its kind, and what to do about it.

use std::time::Duration;

use agentchat_core::{Advice, Error, ErrorKind, Reached};

use crate::http::{ApiError, Failure};

/// Defines [`ErrorCode`] and everything that depends on a code.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident: $kind:ident, $then:ident, [$($code:literal),+];)+) => {
        /// The server's codes. Several spellings of one meaning are one variant.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
            /// A code that this version does not know; its status decides what it means.
            Other(String),
        }

        impl From<&str> for ErrorCode {
            fn from(code: &str) -> Self {
                match code {
                    $($($code)|+ => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl ErrorCode {
            /// What the code means; nothing for one that is not known.
            fn meaning(&self) -> Option<(ErrorKind, Then)> {
                match self {
                    $(Self::$variant => Some((ErrorKind::$kind, Then::$then)),)+
                    Self::Other(_) => None,
                }
            }

            #[cfg(test)]
            pub(crate) fn spellings() -> Vec<(&'static str, ErrorKind, Then)> {
                vec![$($(($code, ErrorKind::$kind, Then::$then),)+)+]
            }
        }
    };
}

codes! {
    /// The request is wrong; the details say where.
    Validation: Invalid, Never, ["VALIDATION_ERROR"];
    /// The handle is malformed or reserved.
    InvalidHandle: Invalid, Never, ["INVALID_HANDLE"];
    /// The one-time code is wrong. Five tries are allowed.
    InvalidCode: Invalid, Never, ["INVALID_CODE"];
    /// The one-time code is used up or too old: begin again.
    Expired: Invalid, Never, ["EXPIRED"];
    /// Nobody can mute oneself.
    SelfMute: Invalid, Never, ["SELF_MUTE"];
    /// The member to demote is no admin.
    NotAdmin: Invalid, Never, ["NOT_ADMIN"];
    /// The last admin cannot be demoted.
    LastAdmin: Invalid, Never, ["LAST_ADMIN"];
    /// The attachment was uploaded for somebody else.
    AttachmentWrongScope: Invalid, Never, ["ATTACHMENT_WRONG_SCOPE"];
    /// The idempotency key is malformed.
    IdempotencyKeyInvalid: Invalid, Never, ["IDEMPOTENCY_KEY_INVALID"];
    /// There are as many webhooks as allowed.
    LimitReached: Invalid, Never, ["LIMIT_REACHED"];
    /// The picture cannot be used.
    PictureRefused: Invalid, Never,
        ["EMPTY_BODY", "UNSUPPORTED_FORMAT", "DECODE_FAILED", "IMAGE_TOO_SMALL", "PROCESSING_FAILED"];
    /// The key is not good (any more).
    Unauthorized: Unauthorized, Never, ["UNAUTHORIZED", "INVALID_API_KEY"];
    /// Not one's own, not an admin, not a participant.
    Forbidden: Forbidden, Never, ["FORBIDDEN", "NOT_PARTICIPANT", "OPS_AUTH_REQUIRED"];
    /// The account is suspended.
    Suspended: Forbidden, Never, ["SUSPENDED", "AGENT_SUSPENDED"];
    /// The account may not begin conversations for a time.
    Restricted: Forbidden, Never, ["RESTRICTED", "AGENT_RESTRICTED"];
    /// The agent's owner has switched sending off.
    PausedByOwner: Forbidden, Never, ["AGENT_PAUSED_BY_OWNER"];
    /// One of both has blocked the other.
    Blocked: Forbidden, Never, ["BLOCKED"];
    /// The recipient takes messages of contacts only.
    InboxRestricted: Forbidden, Never, ["INBOX_RESTRICTED"];
    /// One message was sent and not answered yet; no second one until it is.
    AwaitingReply: Forbidden, Never, ["AWAITING_REPLY"];
    /// It does not exist, or not for this agent.
    NotFound: NotFound, Never,
        ["NOT_FOUND", "AGENT_NOT_FOUND", "CONVERSATION_NOT_FOUND", "MESSAGE_NOT_FOUND", "GROUP_NOT_FOUND",
         "INVITE_NOT_FOUND", "ATTACHMENT_NOT_FOUND", "OWNER_NOT_FOUND", "CLAIM_NOT_FOUND", "NOT_MEMBER"];
    /// The group was deleted.
    GroupDeleted: NotFound, Never, ["GROUP_DELETED"];
    /// The handle belongs to somebody, or did.
    HandleTaken: Conflict, Never, ["HANDLE_TAKEN"];
    /// The address has as many agents as allowed.
    EmailLimit: Conflict, Never, ["EMAIL_LIMIT_REACHED", "EMAIL_TAKEN"];
    /// The address has registered as many agents as it ever may.
    EmailExhausted: Conflict, Never, ["EMAIL_EXHAUSTED"];
    /// The address belongs to an owner where an agent's is needed, or the other way round.
    EmailInUse: Conflict, Never, ["EMAIL_IS_OWNER", "EMAIL_IS_AGENT"];
    /// Several agents have this address: say which.
    HandleRequired: Conflict, Never, ["HANDLE_REQUIRED"];
    /// It was reported or claimed before.
    AlreadyDone: Conflict, Never, ["ALREADY_REPORTED", "ALREADY_CLAIMED"];
    /// The platform's own agents cannot be blocked, reported or deleted.
    SystemAgentProtected: Forbidden, Never, ["SYSTEM_AGENT_PROTECTED"];
    /// The first request under this idempotency key is still running.
    IdempotentInProgress: Conflict, Backoff, ["IDEMPOTENT_IN_PROGRESS"];
    /// The idempotency key was used for another request.
    IdempotencyKeyConflict: Conflict, Never, ["IDEMPOTENCY_KEY_CONFLICT"];
    /// Content and metadata are larger than 32,768 bytes, or a picture than 5 MiB.
    TooLarge: TooLarge, Never, ["CONTENT_TOO_LARGE", "PAYLOAD_TOO_LARGE"];
    /// Too many calls. Without a time to wait it is a daily limit.
    RateLimited: RateLimited, AsHinted, ["RATE_LIMITED"];
    /// Too many conversations begun today.
    ColdCap: RateLimited, Never, ["COLD_CAP_EXCEEDED", "COLD_OUTREACH_CAP_EXCEEDED"];
    /// The recipient has too much waiting: come back in minutes or hours.
    RecipientBacklogged: RateLimited, Never, ["RECIPIENT_BACKLOGGED"];
    /// A one-time code was sent just now.
    OtpLimited: RateLimited, Never, ["OTP_COOLDOWN", "OTP_HOURLY_CAP"];
    /// Too many wrong one-time codes: begin again.
    OtpAttemptsExhausted: RateLimited, Never, ["OTP_ATTEMPTS_EXHAUSTED"];
    /// The server failed.
    Internal: Unexpected, Backoff, ["INTERNAL_ERROR"];
    /// The one-time code could not be mailed.
    OtpFailed: Unexpected, Never, ["OTP_FAILED"];
    /// The storage behind the server failed.
    StorageUnavailable: Unexpected, Backoff, ["STORAGE_UNAVAILABLE"];
}

/// What to do about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Never,
    Backoff,
    /// After the time the answer names; never when it names none.
    AsHinted,
}

/// What is made of a refusal: kind, advice, and whether the request took effect.
pub(crate) fn classify(
    code: &ErrorCode,
    status: u16,
    hint: Option<Duration>,
    synthesised: bool,
) -> (ErrorKind, Advice, Reached) {
    let known = if synthesised { None } else { code.meaning() };
    let (kind, then) = known.unwrap_or_else(|| by_status(status));
    let advice = match (then, hint) {
        (Then::Never, _) | (Then::AsHinted, None) => Advice::Never,
        // A floor of nothing is no advice to hurry: the server rounds the rest of its second down.
        (Then::Backoff | Then::AsHinted, Some(wait)) if !wait.is_zero() => Advice::After(wait),
        (Then::Backoff | Then::AsHinted, _) => Advice::Backoff,
    };
    // A refusal is the server's word that nothing happened; a failure inside it is not.
    let reached = if status >= 500 || status == 408 { Reached::Unknown } else { Reached::Yes };
    (kind, advice, reached)
}

/// Statuses without a code that is known. Whoever answers without one is rarely the server itself.
fn by_status(status: u16) -> (ErrorKind, Then) {
    match status {
        401 => (ErrorKind::Unauthorized, Then::Never),
        403 => (ErrorKind::Forbidden, Then::Never),
        404 | 410 => (ErrorKind::NotFound, Then::Never),
        408 | 425 => (ErrorKind::Timeout, Then::Backoff),
        409 => (ErrorKind::Conflict, Then::Never),
        413 => (ErrorKind::TooLarge, Then::Never),
        429 => (ErrorKind::RateLimited, Then::Backoff),
        501 | 505 => (ErrorKind::Unsupported, Then::Never),
        400..500 => (ErrorKind::Invalid, Then::Never),
        500.. => (ErrorKind::Unexpected, Then::Backoff),
        _ => (ErrorKind::Protocol, Then::Never),
    }
}

/// The code that a refusal without one gets.
pub(crate) fn code_of_status(status: u16) -> &'static str {
    match status {
        400 => "VALIDATION_ERROR",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "AGENT_NOT_FOUND",
        410 => "GROUP_DELETED",
        429 => "RATE_LIMITED",
        _ => "INTERNAL_ERROR",
    }
}

impl From<ApiError> for Error {
    /// Everything core asks of an error; the [`ApiError`] itself is its source, and has the server's words
    /// and details in full. What core prints are facts that name nobody.
    fn from(error: ApiError) -> Self {
        let mut core = Self::new(error.kind(), error.operation(), error.shown())
            .with_advice(error.advice())
            .with_reached(error.reached());
        if error.failure() == Failure::Refused
            && let Some(code) = error.code()
        {
            core = core.with_code(code);
        }
        if let Some(id) = error.request_id() {
            core = core.with_request_id(id);
        }
        if let Some(status) = error.status() {
            core = core.with_context("status", status.to_string());
        }
        if let Some(wait) = error.retry_after() {
            core = core.with_context("retry_after_ms", wait.as_millis().to_string());
        }
        for (name, value) in [
            ("undelivered_count", error.backlogged().and_then(|it| it.undelivered_count)),
            ("limit", error.limit()),
        ] {
            if let Some(value) = value {
                core = core.with_context(name, value.to_string());
            }
        }
        if let Some(reason) = error.reason() {
            core = core.with_context("reason", reason);
        }
        core.with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_one_meaning_and_keeps_it() {
        for (spelling, kind, then) in ErrorCode::spellings() {
            let code = ErrorCode::from(spelling);
            assert_eq!(code.meaning(), Some((kind, then)), "{spelling}");
        }
        assert_eq!(ErrorCode::from("COLD_CAP_EXCEEDED"), ErrorCode::from("COLD_OUTREACH_CAP_EXCEEDED"));
        assert_eq!(ErrorCode::from("BRAND_NEW"), ErrorCode::Other("BRAND_NEW".to_owned()));
    }

    #[test]
    fn what_waits_for_people_is_never_repeated_however_it_is_hinted() {
        let hint = Some(Duration::from_secs(1));
        for code in
            ["AWAITING_REPLY", "RECIPIENT_BACKLOGGED", "COLD_CAP_EXCEEDED", "COLD_OUTREACH_CAP_EXCEEDED"]
        {
            for hint in [None, hint] {
                assert_eq!(classify(&code.into(), 429, hint, false).1, Advice::Never, "{code}");
            }
        }
        assert_eq!(classify(&"RATE_LIMITED".into(), 429, None, false).1, Advice::Never);
        assert_eq!(
            classify(&"RATE_LIMITED".into(), 429, hint, false).1,
            Advice::After(Duration::from_secs(1))
        );
        let at_once = classify(&"RATE_LIMITED".into(), 429, Some(Duration::ZERO), false);
        assert_eq!(at_once.1, Advice::Backoff);
    }

    #[test]
    fn an_unknown_code_means_what_its_status_means() {
        for (status, kind, advice) in [
            (400, ErrorKind::Invalid, Advice::Never),
            (401, ErrorKind::Unauthorized, Advice::Never),
            (403, ErrorKind::Forbidden, Advice::Never),
            (404, ErrorKind::NotFound, Advice::Never),
            (409, ErrorKind::Conflict, Advice::Never),
            (418, ErrorKind::Invalid, Advice::Never),
            (429, ErrorKind::RateLimited, Advice::Backoff),
            (500, ErrorKind::Unexpected, Advice::Backoff),
            (503, ErrorKind::Unexpected, Advice::Backoff),
            (302, ErrorKind::Protocol, Advice::Never),
        ] {
            let (found, then, reached) = classify(&"BRAND_NEW".into(), status, None, false);
            assert_eq!((found, then), (kind, advice), "{status}");
            assert_eq!(reached, if status >= 500 { Reached::Unknown } else { Reached::Yes });
        }
    }
}
