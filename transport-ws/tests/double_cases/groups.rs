//! Groups: S54 to S57.

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{
    Answer, BOTH, Socket, ack_all, call, delete, frozen, get, group, post, say, sync, tell,
};

async fn act(server: &AgentChatServer, method: &str, handle: &str, path: String) -> Answer {
    call(server, method, path).key(&server.agent(handle)).send().await
}

fn events(rows: &[Value]) -> Vec<String> {
    let events = rows.iter().filter_map(|row| row["content"]["data"]["event"].as_str());
    events.map(str::to_owned).collect()
}

#[tokio::test]
async fn s54_group_lifecycle() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (ga, gb, gc) = (server.agent("room-ga"), server.agent("room-gb"), server.agent("room-gc"));
        call(&server, "POST", "/v1/contacts/room-ga/block").key(&gc).send().await.ok();
        let mut invited = Socket::hello(&server, &gb).await;
        let body = json!({ "name": "Room", "member_handles": ["room-gb", "nobody-here", "room-gc", "room-ga", "room-gb"] });
        let made = post(&server, &ga, "/v1/groups", body).await;
        assert_eq!(made.status, 201);
        let made = made.json();
        let results = made["add_results"].as_array().expect("a list");
        assert_eq!(results.len(), 1, "{results:?}");
        assert_eq!(results[0]["outcome"], "invited");
        let room = made["group"]["id"].as_str().expect("an id").to_owned();
        let frame = invited.event("group.invite.received").await;
        assert_eq!(get(&server, &gb, "/v1/groups/invites").await.ok(), json!([frame]));
        assert_eq!(
            (frame["id"].clone(), frame["group_id"].clone()),
            (results[0]["invite_id"].clone(), json!(room))
        );
        // Not a member yet.
        assert_eq!(
            get(&server, &gb, &format!("/v1/groups/{room}")).await.refusal(),
            (404, "GROUP_NOT_FOUND".to_owned())
        );
        let accept = format!("/v1/groups/invites/{}/accept", frame["id"].as_str().expect("an id"));
        let detail = act(&server, "POST", "room-gb", accept.clone()).await.ok();
        assert_eq!(
            (detail["member_count"].clone(), detail["your_role"].clone()),
            (json!(2), json!("member"))
        );
        assert_eq!(
            act(&server, "POST", "room-gb", accept).await.refusal(),
            (404, "INVITE_NOT_FOUND".to_owned())
        );
        // Both see the arrival: the newcomer, and nobody who caused it.
        assert_eq!(events(&sync(&server, &gb).await), ["member_joined"]);
        assert!(sync(&server, &ga).await.is_empty());
        assert_eq!(sync(&server, &gb).await[0]["sender"], "room-ga");
        let again =
            post(&server, &ga, &format!("/v1/groups/{room}/members"), json!({ "handle": "room-gb" })).await;
        assert_eq!((again.status, again.json()["outcome"].clone()), (201, json!("already_member")));
    }
}

#[tokio::test]
async fn s54_a_contact_joins_at_once_on_the_older_server() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (ga, gb) = (server.agent("room-ga"), server.agent("room-gb"));
        post(&server, &gb, "/v1/contacts", json!({ "handle": "room-ga" })).await.ok();
        let body = json!({ "name": "Room", "member_handles": ["room-gb"] });
        let made = post(&server, &ga, "/v1/groups", body).await.ok();
        let outcome = if profile == Profile::Legacy { "joined" } else { "invited" };
        assert_eq!(made["add_results"][0]["outcome"], outcome);
    }
}

#[tokio::test]
async fn s55_group_roles() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["creator", "admin", "member", "other"]).await;
        let path = |rest: &str| format!("/v1/groups/{room}{rest}");
        let on =
            |method: &'static str, handle: &'static str, rest: &str| act(&server, method, handle, path(rest));
        on("POST", "creator", "/members/admin/promote").await.ok();
        let refusals = [
            ("DELETE", "member", "/members/other", 403, "FORBIDDEN"),
            ("POST", "member", "/members/other/promote", 403, "FORBIDDEN"),
            ("DELETE", "admin", "/members/admin", 400, "VALIDATION_ERROR"),
            ("DELETE", "admin", "/members/creator", 403, "FORBIDDEN"),
            ("DELETE", "admin", "/members/stranger", 404, "NOT_MEMBER"),
            ("POST", "admin", "/members/creator/demote", 403, "FORBIDDEN"),
            ("POST", "admin", "/members/member/demote", 400, "NOT_ADMIN"),
            ("POST", "creator", "/members/admin/promote", 404, "NOT_MEMBER"),
            ("DELETE", "admin", "", 403, "FORBIDDEN"),
            ("DELETE", "stranger", "", 404, "GROUP_NOT_FOUND"),
        ];
        server.agent("stranger");
        for (method, handle, rest, status, code) in refusals {
            assert_eq!(
                on(method, handle, rest).await.refusal(),
                (status, code.to_owned()),
                "{method} {handle} {rest}"
            );
        }
        assert_eq!(
            on("DELETE", "admin", "/members/other").await.ok(),
            json!({ "message": "Member removed" })
        );
        // The last admin stays one.
        on("POST", "creator", "/leave").await.ok();
        let last = on("POST", "admin", "/members/admin/demote").await;
        assert_eq!(last.refusal(), (400, "LAST_ADMIN".to_owned()));
        on("POST", "admin", "/members/member/promote").await.ok();
        on("POST", "member", "/members/admin/demote").await.ok();
        let detail = on("GET", "admin", "").await.ok();
        assert_eq!(detail["your_role"], "member");
        let seen = events(&sync(&server, &server.agent("member")).await);
        assert_eq!(seen, ["admin_promoted", "member_removed", "member_left", "admin_promoted"]);
    }
}

#[tokio::test]
async fn s56_leave_promotes() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["first", "second", "third"]).await;
        tell(&server, &server.agent("second"), &room, "1", "undelivered").await.ok();
        let left = act(&server, "POST", "first", format!("/v1/groups/{room}/leave")).await.ok();
        assert_eq!(left, json!({ "message": "Left group", "promoted_handle": "second" }));
        // What the leaver had not got counts as delivered.
        assert!(sync(&server, &server.agent("first")).await.is_empty());
        let rows = sync(&server, &server.agent("third")).await;
        assert_eq!(events(&rows), ["member_left", "admin_promoted"]);
        let promotion = &rows[2];
        assert_eq!(
            (promotion["sender"].clone(), promotion["content"]["data"]["actor_handle"].clone()),
            (json!("second"), Value::Null)
        );
        let name = format!("sys_{}", promotion["id"].as_str().expect("an id"));
        assert_eq!(promotion["client_msg_id"], json!(name));
        let left = act(&server, "POST", "third", format!("/v1/groups/{room}/leave")).await.ok();
        assert_eq!(left["promoted_handle"], Value::Null);
        let again = act(&server, "POST", "third", format!("/v1/groups/{room}/leave")).await;
        assert_eq!(again.refusal(), (404, "GROUP_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn s57_group_delete() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["room-ga", "room-gb", "room-gc"]).await;
        let (ga, gb, gc) = (server.agent("room-ga"), server.agent("room-gb"), server.agent("room-gc"));
        server.agent("outsider");
        tell(&server, &ga, &room, "1", "never delivered").await.ok();
        let mut own = Socket::hello(&server, &ga).await;
        let mut socket = Socket::hello(&server, &gb).await;
        socket.event("message.new").await;
        let deleted = delete(&server, &ga, &format!("/v1/groups/{room}")).await.ok();
        assert_eq!(deleted["message"], "Group deleted");
        let row = socket.event("message.new").await;
        assert_eq!(
            (row["type"].clone(), row["content"]["data"]["event"].clone()),
            (json!("system"), json!("group_deleted"))
        );
        let details =
            json!({ "group_id": room, "deleted_by_handle": "room-ga", "deleted_at": deleted["deleted_at"] });
        assert_eq!(socket.event("group.deleted").await, details);
        own.quiet(&server, "room-ga").await;
        for path in [format!("/v1/groups/{room}"), format!("/v1/messages/{room}")] {
            let gone = get(&server, &gb, &path).await;
            assert_eq!(gone.refusal(), (410, "GROUP_DELETED".to_owned()));
            assert_eq!(gone.json()["details"], details);
        }
        assert_eq!(tell(&server, &gb, &room, "2", "x").await.refusal(), (410, "GROUP_DELETED".to_owned()));
        assert_eq!(delete(&server, &ga, &format!("/v1/groups/{room}")).await.status, 410);
        let outside = act(&server, "GET", "outsider", format!("/v1/groups/{room}")).await;
        assert_eq!(outside.refusal(), (404, "GROUP_NOT_FOUND".to_owned()));
        // Who was away finds the end, and nothing before it.
        assert_eq!(events(&sync(&server, &gc).await), ["group_deleted"]);
        assert_eq!(sync(&server, &gc).await.len(), 1);
    }
}

#[tokio::test]
async fn s57_an_admin_may_end_an_orphaned_group() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["creator", "admin", "member"]).await;
        act(&server, "POST", "creator", format!("/v1/groups/{room}/members/admin/promote")).await.ok();
        delete(&server, &server.agent("creator"), "/v1/agents/creator").await.ok();
        let refused = act(&server, "DELETE", "member", format!("/v1/groups/{room}")).await;
        assert_eq!(refused.refusal(), (403, "FORBIDDEN".to_owned()));
        act(&server, "DELETE", "admin", format!("/v1/groups/{room}")).await.ok();
    }
}

#[tokio::test]
async fn invitations_respect_their_policy_and_can_be_turned_down() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["host", "guest"]).await;
        let (host, shy) = (server.agent("host"), server.agent("shy"));
        let closed = json!({ "settings": { "group_invite_policy": "contacts_only" } });
        call(&server, "PATCH", "/v1/agents/shy").key(&shy).body(closed).send().await.ok();
        let invite = |handle: &'static str| {
            post(&server, &host, "/v1/groups", json!({ "name": "n", "member_handles": [handle] }))
        };
        assert_eq!(invite("shy").await.ok()["add_results"], json!([]));
        let path = format!("/v1/groups/{room}/members");
        let refused = post(&server, &host, &path, json!({ "handle": "shy" })).await;
        assert_eq!(refused.refusal(), (403, "INBOX_RESTRICTED".to_owned()));
        let open = server.agent("open");
        let first = post(&server, &host, &path, json!({ "handle": "open" })).await.ok();
        let second = post(&server, &host, &path, json!({ "handle": "open" })).await.ok();
        assert_eq!(first, second);
        let own = format!("/v1/groups/invites/{}", first["invite_id"].as_str().expect("an id"));
        assert_eq!(delete(&server, &shy, &own).await.refusal(), (404, "INVITE_NOT_FOUND".to_owned()));
        delete(&server, &open, &own).await.ok();
        assert_eq!(delete(&server, &open, &own).await.status, 404);
        // A direct message is another matter than an invitation.
        say(&server, &host, "shy", "1", "hello").await.ok();
        ack_all(&server, &shy).await;
    }
}
