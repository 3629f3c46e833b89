//! What each code of the contract means, told by each endpoint that documents it.

use std::collections::BTreeSet;
use std::time::Duration;

use agentchat_core::ErrorKind::{
    self, Conflict, Forbidden, Invalid, NotFound, RateLimited, TooLarge, Unauthorized, Unexpected,
};
use agentchat_core::{Advice, Error, Reached};
use transport_ws::http::Failure;
use transport_ws::testing::{AgentChatServer, HttpFault, Profile};
use transport_ws::{ApiError, ErrorCode};

use crate::contract::{Endpoint, endpoints};
use crate::double::client;

/// When the same call may be made again without anybody doing something.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Again {
    No,
    /// After a backoff, or what the server names.
    Auto,
    /// Only when the server names a time.
    Hinted,
}
use Again::{Auto, Hinted, No};

/// The codes of the contract that its endpoints answer with: status, kind, and whether to try again.
const CODES: [(&str, u16, ErrorKind, Again); 55] = [
    ("VALIDATION_ERROR", 400, Invalid, No),
    ("INVALID_HANDLE", 400, Invalid, No),
    ("INVALID_CODE", 400, Invalid, No),
    ("EXPIRED", 400, Invalid, No),
    ("SELF_MUTE", 400, Invalid, No),
    ("NOT_ADMIN", 400, Invalid, No),
    ("LAST_ADMIN", 400, Invalid, No),
    ("ATTACHMENT_WRONG_SCOPE", 400, Invalid, No),
    ("IDEMPOTENCY_KEY_INVALID", 400, Invalid, No),
    ("LIMIT_REACHED", 400, Invalid, No),
    ("EMPTY_BODY", 400, Invalid, No),
    ("UNSUPPORTED_FORMAT", 400, Invalid, No),
    ("DECODE_FAILED", 400, Invalid, No),
    ("IMAGE_TOO_SMALL", 400, Invalid, No),
    ("PROCESSING_FAILED", 400, Invalid, No),
    ("UNAUTHORIZED", 401, Unauthorized, No),
    ("FORBIDDEN", 403, Forbidden, No),
    ("SUSPENDED", 403, Forbidden, No),
    ("RESTRICTED", 403, Forbidden, No),
    ("AGENT_PAUSED_BY_OWNER", 403, Forbidden, No),
    ("BLOCKED", 403, Forbidden, No),
    ("INBOX_RESTRICTED", 403, Forbidden, No),
    ("AWAITING_REPLY", 403, Forbidden, No),
    ("NOT_PARTICIPANT", 403, Forbidden, No),
    ("AGENT_NOT_FOUND", 404, NotFound, No),
    ("CONVERSATION_NOT_FOUND", 404, NotFound, No),
    ("MESSAGE_NOT_FOUND", 404, NotFound, No),
    ("GROUP_NOT_FOUND", 404, NotFound, No),
    ("INVITE_NOT_FOUND", 404, NotFound, No),
    ("ATTACHMENT_NOT_FOUND", 404, NotFound, No),
    ("NOT_FOUND", 404, NotFound, No),
    ("NOT_MEMBER", 404, NotFound, No),
    ("HANDLE_TAKEN", 409, Conflict, No),
    ("EMAIL_LIMIT_REACHED", 409, Conflict, No),
    ("EMAIL_TAKEN", 409, Conflict, No),
    ("EMAIL_EXHAUSTED", 409, Conflict, No),
    ("EMAIL_IS_OWNER", 409, Conflict, No),
    ("HANDLE_REQUIRED", 409, Conflict, No),
    ("ALREADY_REPORTED", 409, Conflict, No),
    ("SYSTEM_AGENT_PROTECTED", 409, Forbidden, No),
    ("IDEMPOTENT_IN_PROGRESS", 409, Conflict, Auto),
    ("GROUP_DELETED", 410, NotFound, No),
    ("CONTENT_TOO_LARGE", 413, TooLarge, No),
    ("PAYLOAD_TOO_LARGE", 413, TooLarge, No),
    ("IDEMPOTENCY_KEY_CONFLICT", 422, Conflict, No),
    ("RATE_LIMITED", 429, RateLimited, Hinted),
    ("COLD_CAP_EXCEEDED", 429, RateLimited, No),
    ("COLD_OUTREACH_CAP_EXCEEDED", 429, RateLimited, No),
    ("RECIPIENT_BACKLOGGED", 429, RateLimited, No),
    ("OTP_COOLDOWN", 429, RateLimited, No),
    ("OTP_HOURLY_CAP", 429, RateLimited, No),
    ("OTP_ATTEMPTS_EXHAUSTED", 429, RateLimited, No),
    ("INTERNAL_ERROR", 500, Unexpected, Auto),
    ("OTP_FAILED", 500, Unexpected, No),
    ("STORAGE_UNAVAILABLE", 503, Unexpected, Auto),
];

/// Answers one call of an endpoint with this, and returns its error.
async fn refused(server: &AgentChatServer, endpoint: &Endpoint, fault: HttpFault) -> ApiError {
    server.faults().on(&endpoint.pattern(), fault.header("x-request-id", "req_scripted"));
    let answer = (endpoint.call)(client(server, "quokka-9")).await;
    assert_eq!(server.faults().pending(), 0, "{} was not asked", endpoint.route);
    answer.expect_err(endpoint.route)
}

/// What is told of a refusal, whatever its code.
fn check(error: ApiError, what: &str, code: &str, status: u16, kind: ErrorKind, advice: Advice) {
    assert_eq!(error.failure(), Failure::Refused, "{what}");
    assert_eq!((error.code(), error.status()), (Some(code), Some(status)), "{what}");
    assert_eq!((error.kind(), error.advice()), (kind, advice), "{what}");
    assert_eq!((error.request_id(), error.message()), (Some("req_scripted"), "Scripted"), "{what}");
    assert!(!error.is_synthesised() && error.attempts() == 1, "{what}");
    let reached = if status >= 500 { Reached::Unknown } else { Reached::Yes };
    assert_eq!(error.reached(), reached, "{what}");
    let core = Error::from(error);
    assert_eq!((core.kind(), core.advice(), core.reached()), (kind, advice, reached), "{what}");
    assert_eq!((core.code(), core.request_id()), (Some(code), Some("req_scripted")), "{what}");
}

#[tokio::test]
async fn each_documented_code_of_each_endpoint_is_told_as_what_it_means() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let mut met = BTreeSet::new();
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.tells) {
        for code in endpoint.documented() {
            let what = format!("{} {code}", endpoint.route);
            let (_, status, kind, again) =
                *CODES.iter().find(|(it, ..)| *it == code).unwrap_or_else(|| panic!("{what}: unknown here"));
            let fault = || HttpFault::error(status, code, "Scripted");
            let advice = if again == Auto { Advice::Backoff } else { Advice::Never };
            check(refused(&server, endpoint, fault()).await, &what, code, status, kind, advice);
            let hinted = if again == No { Advice::Never } else { Advice::After(Duration::from_secs(2)) };
            let error = refused(&server, endpoint, fault().retry_after("2")).await;
            assert_eq!(error.retry_after(), Some(Duration::from_secs(2)), "{what}");
            check(error, &what, code, status, kind, hinted);
            met.insert(code);
        }
    }
    let unmet: Vec<_> = CODES.iter().filter(|(code, ..)| !met.contains(code)).collect();
    assert!(unmet.is_empty(), "no endpoint documents {unmet:?}");
}

#[tokio::test]
async fn a_code_that_nobody_knows_survives_on_every_endpoint_and_means_what_its_status_means() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let statuses = [
        (400, Invalid, Advice::Never),
        (403, Forbidden, Advice::Never),
        (409, Conflict, Advice::Never),
        (418, Invalid, Advice::Never),
        (429, RateLimited, Advice::Backoff),
        (503, Unexpected, Advice::Backoff),
    ];
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.tells) {
        for (status, kind, advice) in statuses {
            let error =
                refused(&server, endpoint, HttpFault::error(status, "ZEBRA_CROSSING", "Scripted")).await;
            assert_eq!(error.error_code(), Some(ErrorCode::Other("ZEBRA_CROSSING".to_owned())));
            let what = format!("{} {status}", endpoint.route);
            check(error, &what, "ZEBRA_CROSSING", status, kind, advice);
        }
    }
}

#[tokio::test]
async fn coordination_of_replies_goes_on_whatever_it_is_answered() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    for endpoint in endpoints().iter().filter(|endpoint| !endpoint.tells) {
        for (code, status, ..) in &CODES {
            // A server without the route for several is asked for one by one.
            server.faults().clear();
            server.faults().on(&endpoint.pattern(), HttpFault::error(*status, code, "Scripted"));
            (endpoint.call)(client(&server, "quokka-9")).await.expect("it tells no error");
            assert_eq!(server.faults().pending(), 0, "{} was not asked", endpoint.route);
        }
    }
}

#[tokio::test]
async fn what_stands_beside_a_code_is_kept() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let body = r#"{"code":"SUSPENDED","message":"Scripted","reason":"community_enforcement","detail":"d","details":{"x":7}}"#;
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.tells && endpoint.needs_key) {
        let error = refused(&server, endpoint, HttpFault::answer(403, "application/json", body)).await;
        assert_eq!(error.detail("reason").as_deref(), Some("community_enforcement"), "{}", endpoint.route);
        assert_eq!(error.details_json().as_deref(), Some(r#"{"x":7}"#), "{}", endpoint.route);
        let core = Error::from(error);
        assert!(core.context().any(|it| it == ("reason", "community_enforcement")), "{}", endpoint.route);
    }
}
