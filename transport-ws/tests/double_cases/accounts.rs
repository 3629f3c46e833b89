//! The double's accounts: S01 to S10.

use std::time::Duration;

use serde_json::json;
use transport_ws::testing::{AgentChatServer, Profile, Standing};

use crate::support::{BOTH, Socket, call, delete, frozen, get, post, say};

async fn register(server: &AgentChatServer, email: &str, handle: &str) -> crate::support::Answer {
    let body = json!({ "email": email, "handle": handle });
    call(server, "POST", "/v1/register").header("fly-client-ip", handle).body(body).send().await
}

async fn verify(server: &AgentChatServer, pending: &serde_json::Value, code: &str) -> crate::support::Answer {
    let body = json!({ "pending_id": pending, "code": code });
    // Each attempt from elsewhere, so that the limit per address stays out of the way.
    let address = format!("verify-{}", server.journal().len());
    call(server, "POST", "/v1/register/verify").header("fly-client-ip", &address).body(body).send().await
}

#[tokio::test]
async fn s01_auth_required() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let gone = server.agent("gone");
        server.set_status("gone", Standing::Deleted);
        let path = "/v1/conversations";
        let none = call(&server, "GET", path).send().await;
        let unknown = get(&server, "ac_unknown", path).await;
        let deleted = get(&server, &gone, path).await;
        let scheme =
            call(&server, "GET", path).header("authorization", &format!("bearer {gone}")).send().await;
        for answer in [&none, &unknown, &deleted, &scheme] {
            assert_eq!(answer.refusal(), (401, "UNAUTHORIZED".to_owned()));
            assert_eq!(answer.text, none.text);
        }
    }
}

#[tokio::test]
async fn s02_suspended_gate() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let key = server.agent("dave");
        server.set_status("dave", Standing::Suspended);
        let refused = get(&server, &key, "/v1/conversations").await;
        assert_eq!(refused.refusal(), (403, "SUSPENDED".to_owned()));
        assert_eq!(refused.json()["reason"], "community_enforcement");
        assert!(refused.json()["detail"].is_string());
        let me = get(&server, &key, "/v1/agents/me").await;
        assert_eq!((me.status, me.json()["status"].clone()), (200, json!("suspended")));
        let public = call(&server, "GET", "/v1/agents/dave").send().await;
        assert_eq!(public.refusal(), (404, "AGENT_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn s03_request_id_echo() {
    let server = frozen(Profile::Current).await;
    let ask = |id: String| call(&server, "GET", "/v1/nowhere").header("x-request-id", &id).send();
    assert_eq!(ask("abc".into()).await.header("x-request-id"), Some("abc"));
    assert_eq!(ask("i".repeat(128)).await.header("x-request-id"), Some("i".repeat(128).as_str()));
    let long = ask("i".repeat(129)).await;
    let own = long.header("x-request-id").expect("a generated id").to_owned();
    assert_eq!(own.len(), 36);
    let absent = call(&server, "GET", "/v1/health").send().await;
    assert_ne!(absent.header("x-request-id").expect("a generated id"), own);
}

#[tokio::test]
async fn s04_register_verify() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let body = json!({ "email": "Ops@Example.test", "handle": "quokka-9", "display_name": "Quokka" });
        let pending = call(&server, "POST", "/v1/register").body(body).send().await;
        assert_eq!(pending.status, 200);
        let code = server.otp_for("ops@example.test").expect("a code");
        assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()));
        let made = verify(&server, &pending.json()["pending_id"], &code).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let made = made.json();
        let key = made["api_key"].as_str().expect("a key");
        let secret = key.strip_prefix("ac_").expect("the prefix");
        assert!(
            secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        );
        assert_eq!(made["agent"]["handle"], "quokka-9");
        assert_eq!(made["agent"]["email"], "ops@example.test");
        let me = get(&server, key, "/v1/agents/me").await.ok();
        assert_eq!(me["email_masked"], "o****@example.test");
        assert_eq!(me["settings"].get("discoverable").is_some(), profile == Profile::Legacy);
        // The code is used up.
        let again = verify(&server, &pending.json()["pending_id"], &code).await;
        assert_eq!(again.refusal(), (400, "EXPIRED".to_owned()));
    }
}

#[tokio::test]
async fn s05_handle_rules() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let long = "a".repeat(31);
        for handle in ["a1", "Ab-c", "a--b", "a-", "-ab", "1ab", "a_b", long.as_str()] {
            let refused = register(&server, "x@test.local", handle).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()), "{handle}");
            assert!(refused.json()["details"]["fieldErrors"]["handle"].is_array(), "{handle}");
        }
        for handle in ["admin", "agentchat", "gpt-5"] {
            let refused = register(&server, "x@test.local", handle).await;
            assert_eq!(refused.refusal(), (400, "INVALID_HANDLE".to_owned()), "{handle}");
        }
        assert_eq!(register(&server, "x@test.local", &"a".repeat(30)).await.status, 200);
    }
}

#[tokio::test]
async fn s06_handle_never_reused() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let key = server.agent("burnt");
        delete(&server, &key, "/v1/agents/burnt").await.ok();
        let refused = register(&server, "new@test.local", "burnt").await;
        assert_eq!(refused.refusal(), (409, "HANDLE_TAKEN".to_owned()));
    }
}

#[tokio::test]
async fn s07_otp_limits() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let email = "otp@test.local";
        let pending = register(&server, email, "otp-one").await.ok();
        let early = register(&server, email, "otp-two").await;
        assert_eq!(early.refusal(), (429, "OTP_COOLDOWN".to_owned()));
        assert_eq!(early.header("retry-after"), Some("60"));
        for _ in 0..5 {
            let wrong = verify(&server, &pending["pending_id"], "000000").await;
            assert_eq!(wrong.refusal(), (400, "INVALID_CODE".to_owned()));
        }
        let sixth = verify(&server, &pending["pending_id"], "000000").await;
        assert_eq!(sixth.refusal(), (429, "OTP_ATTEMPTS_EXHAUSTED".to_owned()));
        let code = server.otp_for(email).expect("a code");
        let burnt = verify(&server, &pending["pending_id"], &code).await;
        assert_eq!(burnt.refusal(), (400, "EXPIRED".to_owned()));
        // Nineteen more in the same hour, then the cap.
        for round in 0..19 {
            server.advance(Duration::from_secs(61));
            assert_eq!(register(&server, email, &format!("otp-{round}x")).await.status, 200);
        }
        server.advance(Duration::from_secs(61));
        let capped = register(&server, email, "otp-last").await;
        assert_eq!(capped.refusal(), (429, "OTP_HOURLY_CAP".to_owned()));
        assert!(capped.header("retry-after").expect("a hint").parse::<u64>().expect("seconds") <= 3600);
        // A code lives ten minutes.
        server.advance(Duration::from_secs(3600));
        let pending = register(&server, email, "otp-late").await.ok();
        server.advance(Duration::from_secs(600));
        let code = server.otp_for(email).expect("a code");
        let late = verify(&server, &pending["pending_id"], &code).await;
        assert_eq!(late.refusal(), (400, "EXPIRED".to_owned()));
    }
}

#[tokio::test]
async fn s08_recover_masks() {
    for profile in BOTH {
        let server = frozen(profile).await;
        server.agent("erin");
        let ask = |email: &'static str| {
            call(&server, "POST", "/v1/agents/recover").body(json!({ "email": email })).send()
        };
        let known = ask("erin@test.local").await;
        let unknown = ask("ghost@test.local").await;
        assert_eq!((known.status, unknown.status), (200, 200));
        assert_eq!(known.json()["message"], unknown.json()["message"]);
        // The older server gives itself away.
        let masked = unknown.json().get("pending_id").is_some();
        assert_eq!(masked, profile == Profile::Current);
        assert!(known.json()["pending_id"].is_string());
    }
}

#[tokio::test]
async fn s09_rotate_invalidates() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let key = server.agent("rot");
        let mut socket = Socket::hello(&server, &key).await;
        let begun = call(&server, "POST", "/v1/agents/rot/rotate-key").key(&key).send().await.ok();
        let code = server.otp_for("rot@test.local").expect("a code");
        let body = json!({ "pending_id": begun["pending_id"], "code": code });
        let done = post(&server, &key, "/v1/agents/rot/rotate-key/verify", body).await.ok();
        assert_eq!(socket.closed().await, (1008, "API key rotated".to_owned()));
        let new = done["api_key"].as_str().expect("a key");
        assert_eq!(get(&server, &key, "/v1/agents/me").await.status, 401);
        assert_eq!(get(&server, new, "/v1/agents/me").await.status, 200);
        let other = server.agent("other");
        let foreign = call(&server, "POST", "/v1/agents/rot/rotate-key").key(&other).send().await;
        assert_eq!(foreign.refusal(), (403, "FORBIDDEN".to_owned()));
    }
}

#[tokio::test]
async fn s09_recovery_asks_which_agent_is_meant() {
    let server = crate::support::start(
        AgentChatServer::builder().manual_clock().switches(|switches| switches.address_limits = false),
    )
    .await;
    for handle in ["elder", "younger"] {
        let pending = register(&server, "both@test.local", handle).await.ok();
        let code = server.otp_for("both@test.local").expect("a code");
        verify(&server, &pending["pending_id"], &code).await.ok();
        server.advance(Duration::from_secs(61));
    }
    let recover = |body: serde_json::Value| call(&server, "POST", "/v1/agents/recover").body(body).send();
    let finish = |pending: serde_json::Value| {
        let code = server.otp_for("both@test.local").expect("a code");
        let body = json!({ "pending_id": pending["pending_id"], "code": code });
        call(&server, "POST", "/v1/agents/recover/verify").body(body).send()
    };
    let vague = finish(recover(json!({ "email": "both@test.local" })).await.ok()).await;
    assert_eq!(vague.refusal(), (409, "HANDLE_REQUIRED".to_owned()));
    assert_eq!(vague.json()["details"]["handles"], json!(["elder", "younger"]));
    server.advance(Duration::from_secs(61));
    let clear = json!({ "email": "both@test.local", "handle": "younger" });
    assert_eq!(finish(recover(clear).await.ok()).await.ok()["handle"], "younger");
}

#[tokio::test]
async fn s10_delete_account() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let key = server.agent("del-me");
        let other = server.agent("ord");
        let mut socket = Socket::hello(&server, &key).await;
        assert_eq!(
            delete(&server, &other, "/v1/agents/del-me").await.refusal(),
            (403, "FORBIDDEN".to_owned())
        );
        delete(&server, &key, "/v1/agents/del-me").await.ok();
        assert_eq!(socket.closed().await, (1008, "Account deleted".to_owned()));
        assert_eq!(get(&server, &key, "/v1/agents/me").await.refusal(), (401, "UNAUTHORIZED".to_owned()));
        assert_eq!(
            say(&server, &other, "del-me", "1", "x").await.refusal(),
            (404, "AGENT_NOT_FOUND".to_owned())
        );
    }
}

#[tokio::test]
async fn s10_email_limits_name_their_number() {
    for (profile, code) in [(Profile::Legacy, "EMAIL_TAKEN"), (Profile::Current, "EMAIL_LIMIT_REACHED")] {
        let server = frozen(profile).await;
        let room = if profile == Profile::Legacy { 1 } else { 10 };
        for agent in 0..room {
            let pending = register(&server, "many@test.local", &format!("many-{agent}")).await.ok();
            let code = server.otp_for("many@test.local").expect("a code");
            verify(&server, &pending["pending_id"], &code).await.ok();
            server.advance(Duration::from_secs(61));
        }
        let refused = register(&server, "many@test.local", "one-too-many").await;
        assert_eq!(refused.refusal(), (409, code.to_owned()));
        let limit = refused.json()["details"]["limit"].as_u64();
        assert_eq!(limit, (profile == Profile::Current).then_some(10));
    }
}
