//! Everything around messages: S62 to S68.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use transport_ws::testing::{AgentChatServer, Profile, Standing};

use crate::support::{BOTH, Socket, call, friends, frozen, get, group, post, say, start};

async fn block(server: &AgentChatServer, key: &str, handle: &str) {
    call(server, "POST", format!("/v1/contacts/{handle}/block")).key(key).send().await.ok();
}

#[tokio::test]
async fn s62_enforcement() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let spammer = server.agent("spammer");
        let (_, _, _) = friends(&server, "spammer", "pal").await;
        // Nobody whom it never wrote to counts.
        for n in 0..20 {
            block(&server, &server.agent(&format!("bystander-{n}")), "spammer").await;
        }
        assert_eq!(get(&server, &spammer, "/v1/agents/me").await.ok()["status"], "active");
        for n in 0..50 {
            let victim = format!("victim-{n}");
            let key = server.agent(&victim);
            server.advance(Duration::from_secs(1));
            // Written to before, while it still could.
            if n < 14 {
                say(&server, &spammer, &victim, &format!("spam-{n}"), "buy").await.ok();
                block(&server, &key, "spammer").await;
            }
        }
        assert_eq!(get(&server, &spammer, "/v1/agents/me").await.ok()["status"], "active");
        for n in 14..50 {
            say(&server, &spammer, &format!("victim-{n}"), &format!("spam-{n}"), "buy").await.ok();
            server.advance(Duration::from_secs(1));
        }
        server.agent("fresh");
        let mut socket = Socket::hello(&server, &spammer).await;
        for n in 14..50 {
            let key = server.agent(&format!("victim-{n}"));
            block(&server, &key, "spammer").await;
            if n == 14 {
                let cold = say(&server, &spammer, "fresh", "cold", "hi").await;
                assert_eq!(cold.refusal(), (403, "RESTRICTED".to_owned()));
                assert_eq!(say(&server, &spammer, "pal", "warm", "hi").await.status, 201);
            }
        }
        assert_eq!(socket.closed().await, (1008, "Account suspended".to_owned()));
        assert_eq!(get(&server, &spammer, "/v1/agents/me").await.ok()["status"], "suspended");
        assert_eq!(get(&server, &spammer, "/v1/mutes").await.refusal(), (403, "SUSPENDED".to_owned()));
    }
}

#[tokio::test]
async fn s62_a_restriction_without_ground_is_lifted_or_kept() {
    for lifts in [true, false] {
        let server =
            start(AgentChatServer::builder().switches(|switches| switches.lift_restrictions = lifts)).await;
        let uma = server.agent("uma");
        server.agent("vic");
        server.set_status("uma", Standing::Restricted);
        let sent = say(&server, &uma, "vic", "1", "x").await.status;
        assert_eq!(sent, if lifts { 201 } else { 403 });
    }
}

fn upload(target: Value) -> Value {
    let mut body =
        json!({ "filename": "a.txt", "content_type": "text/plain", "size": 5, "sha256": "0".repeat(64) });
    for (name, value) in target.as_object().expect("members") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn s63_uploads() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (zed, yara, _) = friends(&server, "zed", "yara").await;
        friends(&server, "zed", "three").await;
        let bad = [
            json!({ "to": "yara", "content_type": "application/x-msdownload" }),
            json!({ "to": "yara", "size": 26_214_401 }),
            json!({}),
            json!({ "to": "yara", "conversation_id": "grp_x" }),
            json!({ "to": "yara", "sha256": "x" }),
            json!({ "to": "zed" }),
        ];
        for target in bad {
            let refused = post(&server, &zed, "/v1/uploads", upload(target.clone())).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()), "{target}");
        }
        let made =
            post(&server, &zed, "/v1/uploads", upload(json!({ "to": "yara", "size": 26_214_400 }))).await;
        assert_eq!((made.status, made.json()["expires_in"].clone()), (201, json!(7200)));
        let send = |key: String, to: &'static str, id: &'static str| {
            let content = json!({ "attachment_id": made.json()["attachment_id"] });
            let body = json!({ "to": to, "client_msg_id": id, "type": "file", "content": content });
            let server = &server;
            async move { post(server, &key, "/v1/messages", body).await }
        };
        assert_eq!(send(yara, "zed", "1").await.refusal(), (404, "ATTACHMENT_NOT_FOUND".to_owned()));
        assert_eq!(
            send(zed.clone(), "three", "2").await.refusal(),
            (400, "ATTACHMENT_WRONG_SCOPE".to_owned())
        );
        assert_eq!(send(zed, "yara", "3").await.status, 201);
    }
}

#[tokio::test]
async fn s64_attachment_acl() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["zed", "yara"]).await;
        let (zed, yara, stranger) = (server.agent("zed"), server.agent("yara"), server.agent("stranger"));
        for target in [json!({ "to": "yara" }), json!({ "conversation_id": room })] {
            let made = post(&server, &zed, "/v1/uploads", upload(target)).await.ok();
            let path = format!("/v1/attachments/{}", made["attachment_id"].as_str().expect("an id"));
            for key in [&zed, &yara] {
                let found = get(&server, key, &path).await;
                assert_eq!(found.status, 302);
                assert!(found.header("location").expect("a place").starts_with("http://storage.invalid/"));
                assert!(found.text.is_empty());
            }
            assert_eq!(get(&server, &stranger, &path).await.refusal(), (404, "NOT_FOUND".to_owned()));
        }
    }
}

#[tokio::test]
async fn s65_mute_validation() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (yara, _, _) = friends(&server, "yara", "zed").await;
        let (_, _, foreign) = friends(&server, "alice", "bob").await;
        let agent = |handle: &str| json!({ "target_kind": "agent", "target_handle": handle });
        let mut past = agent("zed");
        past["muted_until"] = json!("2020-01-01T00:00:00Z");
        let mut garbled = agent("zed");
        garbled["muted_until"] = json!("soon");
        let bad = [
            (past, 400, "VALIDATION_ERROR"),
            (garbled, 400, "VALIDATION_ERROR"),
            (json!({ "target_kind": "x" }), 400, "VALIDATION_ERROR"),
            (agent("yara"), 400, "SELF_MUTE"),
            (agent("nobody-here"), 404, "AGENT_NOT_FOUND"),
            (json!({ "target_kind": "conversation", "target_id": foreign }), 403, "NOT_PARTICIPANT"),
            (json!({ "target_kind": "conversation", "target_id": "conv_x" }), 404, "CONVERSATION_NOT_FOUND"),
        ];
        for (body, status, code) in bad {
            let refused = post(&server, &yara, "/v1/mutes", body.clone()).await;
            assert_eq!(refused.refusal(), (status, code.to_owned()), "{body}");
        }
        server.advance(Duration::from_secs(1));
        for _ in 0..10 {
            assert_eq!(post(&server, &yara, "/v1/mutes", agent("zed")).await.status, 201);
        }
        let refused = post(&server, &yara, "/v1/mutes", agent("zed")).await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(refused.header("retry-after"), None);
        assert!((1..=1000).contains(&refused.json()["retry_after_ms"].as_u64().expect("a hint")));
        let listed = get(&server, &yara, "/v1/mutes?kind=agent").await.ok();
        assert_eq!(listed["mutes"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn s66_directory() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let yara = server.agent("yara");
        for handle in ["zed-one", "zed-two", "zed-three"] {
            server.agent(handle);
        }
        post(&server, &yara, "/v1/contacts", json!({ "handle": "zed-two" })).await.ok();
        let search = |query: &'static str| get(&server, &yara, query);
        assert_eq!(search("/v1/directory?q=z").await.status, 400);
        assert_eq!(search("/v1/directory").await.status, 400);
        assert_eq!(search("/v1/directory?q=zed&offset=10001").await.status, 400);
        let anonymous = call(&server, "GET", "/v1/directory?q=zed").send().await.status;
        assert_eq!(anonymous, if profile == Profile::Legacy { 200 } else { 401 });
        let found = search("/v1/directory?q=ZED&limit=2&offset=1").await.ok();
        assert_eq!(
            (found["total"].clone(), found["limit"].clone(), found["offset"].clone()),
            (json!(3), json!(2), json!(1))
        );
        let handles: Vec<&Value> =
            found["agents"].as_array().expect("a list").iter().map(|row| &row["handle"]).collect();
        assert_eq!(handles, ["zed-three", "zed-two"]);
        assert_eq!(found["agents"][1]["in_contacts"], true);
        assert_eq!(search("/v1/directory?q=three").await.ok()["agents"], json!([]));
        assert_eq!(search("/v1/directory?q=zed&limit=1000").await.ok()["limit"], 50);
        server.advance(Duration::from_secs(60));
        for _ in 0..60 {
            search("/v1/directory?q=zed").await.ok();
        }
        let refused = search("/v1/directory?q=zed").await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()));
        assert!(refused.header("retry-after").is_some());
    }
    let builder = AgentChatServer::builder().switches(|switches| switches.strict_directory_offset = false);
    let server = start(builder).await;
    let clamped = get(&server, &server.agent("yara"), "/v1/directory?q=zed&offset=10001").await.ok();
    assert_eq!(clamped["offset"], 10_000);
}

/// Takes one request, answers it, and tells its head and body.
async fn take(listener: &TcpListener, status: u16) -> (String, String) {
    let (mut stream, _) = listener.accept().await.expect("a caller");
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if body.len() == length.parse::<usize>().expect("a number") {
                let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("a listener");
                return (head.to_owned(), body.to_owned());
            }
        }
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.expect("more");
        assert!(length > 0, "the request ends early");
        bytes.extend_from_slice(&piece[..length]);
    }
}

#[tokio::test]
async fn s67_webhook_signature() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, _) = friends(&server, "alice", "bob").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let hook =
            post(&server, &bob, "/v1/webhooks", json!({ "url": url, "events": ["message.new"] })).await.ok();
        assert!(hook["secret"].as_str().is_some_and(|secret| secret.len() == 64));
        let row = say(&server, &alice, "bob", "1", "posted").await.ok();
        let mut deliveries = Vec::new();
        for wait in [0, 10, 30] {
            server.advance(Duration::from_secs(wait));
            let status = if wait == 30 { 200 } else { 500 };
            let (head, body) = take(&listener, status).await;
            let event: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(
                (event["event"].clone(), event["data"]["id"].clone()),
                (json!("message.new"), row["id"].clone())
            );
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                line.expect("a header").to_owned()
            };
            assert_eq!(header("x-agentchat-event"), "message.new");
            let signature = header("x-agentchat-signature");
            assert!(signature.len() == 64 && signature.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            deliveries.push((header("x-agentchat-delivery"), signature, body));
            if status == 500 {
                // The failure is known to the server before the clock moves on.
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert_eq!(server.stored("bob"), 1);
            }
        }
        assert!(deliveries.windows(2).all(|pair| pair[0] == pair[1]), "the same delivery each time");
        // Accepted by the webhook is delivered to the agent.
        server.until_stored("bob", 0).await;
        let listed = get(&server, &bob, "/v1/webhooks").await.ok();
        assert!(listed["webhooks"][0].get("secret").is_none());
    }
}

#[tokio::test]
async fn s68_reply_claims() {
    let server = frozen(Profile::Current).await;
    let key = server.agent("bob");
    let claim = |holder: &'static str, ids: &'static [&'static str], defer: bool| {
        let body = json!({ "message_ids": ids, "holder": holder, "defer_if_active": defer });
        post(&server, &key, "/v1/reply/claim-batch", body)
    };
    assert_eq!(claim("daemon:1", &["b"], false).await.ok(), json!({ "claimed_count": 1 }));
    assert_eq!(claim("daemon:2", &["a", "b", "c"], false).await.ok(), json!({ "claimed_count": 1 }));
    assert_eq!(claim("daemon:1", &["b", "c"], false).await.ok(), json!({ "claimed_count": 2 }));
    assert_eq!(claim("daemon:2", &["b", "c"], false).await.ok(), json!({ "claimed_count": 0 }));
    let lease = json!({ "session_id": "s", "ttl_seconds": 600 });
    call(&server, "PUT", "/v1/reply/active").key(&key).body(lease).send().await.ok();
    assert_eq!(get(&server, &key, "/v1/reply/active").await.ok(), json!({ "active": true }));
    let deferred = claim("daemon:2", &["d"], true).await.ok();
    assert_eq!(deferred, json!({ "claimed_count": 0, "deferred": true }));
    server.advance(Duration::from_secs(600));
    // The lease in the foreground is over, and so are the claims.
    assert_eq!(claim("daemon:2", &["b", "d"], true).await.ok(), json!({ "claimed_count": 2 }));
    let single = json!({ "message_id": "b", "holder": "daemon:1" });
    assert_eq!(post(&server, &key, "/v1/reply/claim", single).await.ok(), json!({ "claimed": false }));
    let server = frozen(Profile::Legacy).await;
    assert_eq!(get(&server, &server.agent("bob"), "/v1/reply/active").await.status, 404);
}
