//! Limits of sending: S20 to S22, S27, S28.

use std::time::Duration;

use serde_json::json;
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{BOTH, Socket, friends, frozen, group, say, sync, tell};

async fn fill(server: &AgentChatServer, key: &str, to: &str, count: usize) {
    for n in 0..count {
        assert_eq!(say(server, key, to, &format!("fill-{to}-{n}"), "x").await.status, 201);
    }
}

#[tokio::test]
async fn s20_rate_60() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, _) = friends(&server, "alice", "bob").await;
        server.advance(Duration::from_secs(1));
        fill(&server, &alice, "bob", 60).await;
        let refused = say(&server, &alice, "bob", "61st", "x").await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("1"));
        server.advance(Duration::from_secs(1));
        assert_eq!(say(&server, &alice, "bob", "61st", "x").await.status, 201);
    }
}

#[tokio::test]
async fn s21_group_rate_20() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let handles = ["alice", "bob", "carol"];
        let room = group(&server, &handles).await;
        for n in 0..20 {
            let key = server.agent(handles[n % 3]);
            assert_eq!(tell(&server, &key, &room, &format!("m{n}"), "x").await.status, 201);
        }
        for handle in handles {
            let refused = tell(&server, &server.agent(handle), &room, "21st", "x").await;
            assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()), "{handle}");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        server.advance(Duration::from_secs(1));
        assert_eq!(tell(&server, &server.agent("bob"), &room, "21st", "x").await.status, 201);
    }
}

#[tokio::test]
async fn s22_cold_cap() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let walt = server.agent("walt");
        for n in 0..102 {
            server.agent(&format!("cold-{n}"));
        }
        for n in 0..100 {
            server.advance(Duration::from_millis(100));
            assert_eq!(say(&server, &walt, &format!("cold-{n}"), &format!("c{n}"), "hi").await.status, 201);
        }
        let refused = say(&server, &walt, "cold-100", "c100", "hi").await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(refused.header("retry-after"), None);
        say(&server, &server.agent("cold-1"), "walt", "reply", "yes").await.ok();
        server.advance(Duration::from_secs(1));
        assert_eq!(say(&server, &walt, "cold-100", "c100", "hi").await.status, 201);
        assert_eq!(say(&server, &walt, "cold-101", "c101", "hi").await.status, 429);
        server.advance(Duration::from_secs(86_400));
        assert_eq!(say(&server, &walt, "cold-101", "c101", "hi").await.status, 201);
    }
}

#[tokio::test]
async fn s27_backlog() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, _) = friends(&server, "alice", "vic").await;
        server.set_undelivered("vic", 4_999);
        let below = say(&server, &alice, "vic", "1", "x").await;
        assert_eq!((below.status, below.header("x-backlog-warning")), (201, None));
        server.set_undelivered("vic", 5_000);
        let warned = say(&server, &alice, "vic", "2", "x").await;
        assert_eq!((warned.status, warned.header("x-backlog-warning")), (201, Some("vic=5000")));
        let replay = say(&server, &alice, "vic", "2", "x").await;
        assert_eq!((replay.status, replay.header("x-backlog-warning")), (200, Some("vic=5001")));
        server.set_undelivered("vic", 10_000);
        let refused = say(&server, &alice, "vic", "3", "x").await;
        assert_eq!(refused.refusal(), (429, "RECIPIENT_BACKLOGGED".to_owned()));
        assert_eq!(refused.header("retry-after"), None);
        let details = refused.json().get("details").cloned();
        let expected = json!({ "recipient_handle": "vic", "undelivered_count": 10_000 });
        assert_eq!(details, (profile == Profile::Current).then_some(expected));
    }
}

#[tokio::test]
async fn s28_backlog_group_skip() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["alice", "bob", "vic"]).await;
        let vic = server.agent("vic");
        let mut socket = Socket::hello(&server, &vic).await;
        server.set_undelivered("vic", 10_000);
        let sent = tell(&server, &server.agent("alice"), &room, "1", "x").await;
        assert_eq!((sent.status, sent.json()["skipped_recipients"].clone()), (201, json!(["vic"])));
        socket.quiet(&server, "vic").await;
        assert!(sync(&server, &vic).await.is_empty());
        let replay = tell(&server, &server.agent("alice"), &room, "1", "x").await;
        assert_eq!((replay.status, replay.json().get("skipped_recipients").cloned()), (200, None));
    }
}
