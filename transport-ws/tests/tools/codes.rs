//! What goes wrong, as a model is told it.

use serde_json::{Value, json};
use transport_ws::testing::HttpFault;

use crate::support::World;
use crate::table::{Row, table};

/// The server's codes with their statuses, and the class each belongs to.
const CODES: &[(&str, u16, &str)] = &[
    ("VALIDATION_ERROR", 400, "invalid"),
    ("INVALID_HANDLE", 400, "invalid"),
    ("INVALID_CODE", 400, "invalid"),
    ("EXPIRED", 400, "invalid"),
    ("SELF_MUTE", 400, "invalid"),
    ("NOT_ADMIN", 400, "invalid"),
    ("LAST_ADMIN", 400, "invalid"),
    ("ATTACHMENT_WRONG_SCOPE", 400, "invalid"),
    ("IDEMPOTENCY_KEY_INVALID", 400, "invalid"),
    ("LIMIT_REACHED", 400, "invalid"),
    ("EMPTY_BODY", 400, "invalid"),
    ("UNSUPPORTED_FORMAT", 400, "invalid"),
    ("DECODE_FAILED", 400, "invalid"),
    ("IMAGE_TOO_SMALL", 400, "invalid"),
    ("PROCESSING_FAILED", 400, "invalid"),
    ("UNAUTHORIZED", 401, "unauthorized"),
    ("INVALID_API_KEY", 401, "unauthorized"),
    ("FORBIDDEN", 403, "forbidden"),
    ("SUSPENDED", 403, "forbidden"),
    ("AGENT_SUSPENDED", 403, "forbidden"),
    ("RESTRICTED", 403, "forbidden"),
    ("AGENT_RESTRICTED", 403, "forbidden"),
    ("AGENT_PAUSED_BY_OWNER", 403, "forbidden"),
    ("BLOCKED", 403, "forbidden"),
    ("INBOX_RESTRICTED", 403, "forbidden"),
    ("AWAITING_REPLY", 403, "forbidden"),
    ("NOT_PARTICIPANT", 403, "forbidden"),
    ("AGENT_NOT_FOUND", 404, "not_found"),
    ("CONVERSATION_NOT_FOUND", 404, "not_found"),
    ("MESSAGE_NOT_FOUND", 404, "not_found"),
    ("GROUP_NOT_FOUND", 404, "not_found"),
    ("INVITE_NOT_FOUND", 404, "not_found"),
    ("ATTACHMENT_NOT_FOUND", 404, "not_found"),
    ("OWNER_NOT_FOUND", 404, "not_found"),
    ("CLAIM_NOT_FOUND", 404, "not_found"),
    ("NOT_FOUND", 404, "not_found"),
    ("NOT_MEMBER", 404, "not_found"),
    ("HANDLE_TAKEN", 409, "conflict"),
    ("EMAIL_LIMIT_REACHED", 409, "conflict"),
    ("EMAIL_TAKEN", 409, "conflict"),
    ("EMAIL_EXHAUSTED", 409, "conflict"),
    ("EMAIL_IS_OWNER", 409, "conflict"),
    ("EMAIL_IS_AGENT", 409, "conflict"),
    ("HANDLE_REQUIRED", 409, "conflict"),
    ("ALREADY_REPORTED", 409, "conflict"),
    ("ALREADY_CLAIMED", 409, "conflict"),
    ("SYSTEM_AGENT_PROTECTED", 409, "forbidden"),
    ("IDEMPOTENT_IN_PROGRESS", 409, "conflict"),
    ("GROUP_DELETED", 410, "not_found"),
    ("CONTENT_TOO_LARGE", 413, "too_large"),
    ("PAYLOAD_TOO_LARGE", 413, "too_large"),
    ("IDEMPOTENCY_KEY_CONFLICT", 422, "conflict"),
    ("RATE_LIMITED", 429, "rate_limited"),
    ("COLD_CAP_EXCEEDED", 429, "rate_limited"),
    ("COLD_OUTREACH_CAP_EXCEEDED", 429, "rate_limited"),
    ("RECIPIENT_BACKLOGGED", 429, "rate_limited"),
    ("OTP_COOLDOWN", 429, "rate_limited"),
    ("OTP_HOURLY_CAP", 429, "rate_limited"),
    ("OTP_ATTEMPTS_EXHAUSTED", 429, "rate_limited"),
    ("INTERNAL_ERROR", 500, "unexpected"),
    ("OTP_FAILED", 500, "unexpected"),
    ("STORAGE_UNAVAILABLE", 503, "unexpected"),
    // Nobody knows these yet: they are told as they came, under the class of their status.
    ("BRAND_NEW_400", 400, "invalid"),
    ("BRAND_NEW_401", 401, "unauthorized"),
    ("BRAND_NEW_403", 403, "forbidden"),
    ("BRAND_NEW_404", 404, "not_found"),
    ("BRAND_NEW_409", 409, "conflict"),
    ("BRAND_NEW_418", 418, "invalid"),
    ("BRAND_NEW_429", 429, "rate_limited"),
    ("BRAND_NEW_503", 503, "unexpected"),
];

async fn refused(world: &World, row: &Row, fault: HttpFault) -> Value {
    world.server.faults().on("*", fault);
    let answer = world.call(&row.tool, row.sample.clone()).await;
    assert_eq!(answer["ok"], false, "{}", row.tool);
    assert_eq!(world.asked().len(), 1, "{}: asked again", row.tool);
    answer["error"].clone()
}

#[tokio::test]
async fn every_code_reaches_the_model_verbatim_beside_its_class_from_every_tool() {
    let world = World::new().await;
    for row in table() {
        for (code, status, class) in CODES {
            let error = refused(&world, &row, HttpFault::error(*status, code, "No, thank you")).await;
            assert_eq!(
                (&error["code"], &error["class"]),
                (&json!(code), &json!(class)),
                "{} {code}",
                row.tool
            );
            assert!(error["message"].as_str().is_some_and(|it| it.contains("No, thank you")), "{error}");
            assert!(error["request_id"].is_string(), "{error}");
        }
    }
}

#[tokio::test]
async fn every_tool_says_how_long_to_wait() {
    let world = World::new().await;
    for row in table() {
        let fault = HttpFault::status(429).retry_after("7");
        let error = refused(&world, &row, fault).await;
        assert_eq!((&error["code"], &error["retry_after_seconds"]), (&json!("RATE_LIMITED"), &json!(7)));
        let error = refused(&world, &row, HttpFault::status(429)).await;
        assert_eq!(error.get("retry_after_seconds"), None, "a daily limit has no time to wait");
    }
}

#[tokio::test]
async fn a_refusal_that_is_no_json_has_the_code_of_its_status() {
    let world = World::new().await;
    for row in table() {
        let error = refused(&world, &row, HttpFault::html(502)).await;
        assert_eq!((&error["code"], &error["class"]), (&json!("INTERNAL_ERROR"), &json!("unexpected")));
    }
}

#[tokio::test]
async fn the_later_tools_tell_every_code_too() {
    let world = World::new().await;
    for (tool, arguments) in [
        ("agentchat_list_unread_by_sender", json!({})),
        ("agentchat_list_needs_reply_candidates", json!({})),
        ("agentchat_check_group_reply_readiness", json!({ "group_id": "grp_1" })),
        ("agentchat_get_group_context", json!({ "group_id": "grp_1" })),
        ("agentchat_list_recent_group_speakers", json!({ "group_id": "grp_1" })),
        ("agentchat_get_group_participants", json!({ "group_id": "grp_1" })),
    ] {
        for (code, status, class) in CODES {
            world.server.faults().on("*", HttpFault::error(*status, code, "No, thank you"));
            let error = world.call(tool, arguments.clone()).await["error"].clone();
            assert_eq!((&error["code"], &error["class"]), (&json!(code), &json!(class)), "{tool}");
        }
    }
}
