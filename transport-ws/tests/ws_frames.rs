//! What a server pushes beside messages.
#![cfg(feature = "test-server")]

mod ws_support;

use agentchat_core::{Body, CloseMode, Connector, Outbound};
use serde_json::json;
use transport_ws::api::GroupDraft;
use transport_ws::testing::Profile;
use transport_ws::wire::{PresenceStatus, ServerFrame};
use transport_ws::{Frames, Pushed};
use ws_support::{World, backlog, message, read, say, within};

async fn next(frames: &mut Frames) -> ServerFrame {
    match within(frames.next()).await {
        Pushed::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_kind_of_frame_is_told_with_what_it_says_and_messages_go_on() {
    for profile in [Profile::Legacy, Profile::Current] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.connector("bob"));
        let mut frames = bob.frames();
        let attached = bob.connect().await.expect("attached");
        let mut events = read(&attached).await;
        backlog(&mut events).await;
        let push = |kind: &str, payload: serde_json::Value| {
            assert_eq!(world.server.push_raw("bob", &json!({"type": kind, "payload": payload})), 1);
        };
        push("message.read", json!({"message_id": "msg_1", "read_by": "alice", "read_at": null, "new": 1}));
        let ServerFrame::Read(receipt) = next(&mut frames).await else { panic!("a receipt") };
        assert_eq!(
            (receipt.message_id.as_deref(), receipt.reader.as_deref()),
            (Some("msg_1"), Some("alice"))
        );
        assert_eq!(receipt.extra.json("new").as_deref(), Some("1"));
        push(
            "presence.update",
            json!({"handle": "alice", "status": "busy", "custom_message": "on call", "new": 2}),
        );
        let ServerFrame::Presence(presence) = next(&mut frames).await else { panic!("presence") };
        assert_eq!((presence.handle.as_str(), presence.status), ("alice", PresenceStatus::Busy));
        assert_eq!(presence.extra.json("new").as_deref(), Some("2"));
        for started in [true, false] {
            let kind = if started { "typing.start" } else { "typing.stop" };
            push(kind, json!({"conversation_id": "conv_1", "sender": "alice", "new": 3}));
            let ServerFrame::Typing(typing) = next(&mut frames).await else { panic!("typing") };
            assert_eq!((typing.conversation_id.as_str(), typing.started), ("conv_1", started));
            assert_eq!(typing.extra.json("new").as_deref(), Some("3"));
        }
        push("rate_limit.warning", json!({"endpoint": "POST /v1/messages", "remaining": 4, "new": 4}));
        let ServerFrame::RateLimit(warning) = next(&mut frames).await else { panic!("a warning") };
        assert_eq!((warning.remaining, warning.extra.json("new").as_deref()), (Some(4), Some("4")));
        push("group.deleted", json!({"group_id": "grp_1", "deleted_by_handle": "alice", "new": 5}));
        let ServerFrame::GroupDeleted(gone) = next(&mut frames).await else { panic!("a deletion") };
        assert_eq!((gone.group_id.as_str(), gone.extra.json("new").as_deref()), ("grp_1", Some("5")));
        push("zebra.event", json!({"stripes": [1, 2]}));
        let ServerFrame::Unknown { kind, payload } = next(&mut frames).await else { panic!("unknown") };
        assert_eq!((kind.as_str(), payload.json.as_str()), ("zebra.event", r#"{"stripes":[1,2]}"#));
        // What is no frame is passed over, and messages are no business of these.
        world.server.push_text("bob", "no json");
        say(&alice, &attached, "a").await;
        assert_eq!(message(&mut events).await.body, Body::text("a"));
        assert!(frames.ready().is_none());
        attached.close(CloseMode::Detach).await.expect("closed");
        // It goes on with the next attachment.
        let _attached = bob.connect().await.expect("attached");
        push("zebra.event", json!({}));
        assert!(matches!(next(&mut frames).await, ServerFrame::Unknown { .. }));
    }
}

#[tokio::test]
async fn c92_a_group_that_is_gone_is_told_beside_its_message() {
    let world = World::new().await;
    let (alice, bob) = (world.connector("alice"), world.connector("bob"));
    let mut frames = bob.frames();
    let attached = bob.connect().await.expect("attached");
    let mut events = read(&attached).await;
    backlog(&mut events).await;
    let made = alice.client().create_group(&GroupDraft::new("Night shift").with_member("bob"), None).await;
    let group = made.expect("made").group.id;
    for invitation in bob.client().invitations().await.expect("asked") {
        bob.client().accept_invitation(&invitation.id, None).await.expect("accepted");
    }
    alice.client().delete_group(&group, None).await.expect("deleted");
    let gone = loop {
        if let ServerFrame::GroupDeleted(gone) = next(&mut frames).await {
            break gone;
        }
    };
    assert_eq!((gone.group_id.as_str(), gone.deleted_by_handle.as_deref()), (group.as_str(), Some("alice")));
    let to = agentchat_core::Address::of("agentchat", &group).expect("an address");
    let error = attached.send(&Outbound::new(to, Body::text("late"))).await.expect_err("it is gone");
    assert_eq!(error.code(), Some("GROUP_DELETED"));
}
