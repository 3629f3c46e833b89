//! The nine later tools, over a server that thinks.

use serde_json::{Value, json};

use crate::support::{OWN, World, client, ok};

async fn say(world: &World, from: &str, to: Value) -> String {
    let tools = world.tools_of(from);
    let mut arguments = json!({ "text": format!("from {from}") });
    let member = if to.as_str().is_some_and(|to| to.starts_with("grp_")) { "conversation_id" } else { "to" };
    arguments[member] = to;
    let answer = ok(&tools, "agentchat_send_message", arguments).await;
    answer["message"]["id"].as_str().expect("an id").to_owned()
}

/// A group of [`OWN`], who made it, and others.
async fn group(world: &World, others: &[&str]) -> String {
    for other in others {
        world.server.agent(other);
    }
    let create = json!({ "name": "Night shift", "member_handles": others });
    let made = ok(&world.tools, "agentchat_create_group", create).await;
    assert_eq!(made["not_invited"], json!([]), "{made}");
    for other in others {
        let tools = world.tools_of(other);
        let invites = ok(&tools, "agentchat_list_group_invites", json!({})).await;
        let accept = json!({ "invite_id": invites["invites"][0]["id"] });
        ok(&tools, "agentchat_accept_group_invite", accept).await;
    }
    made["group"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn threads_are_closed_and_opened_without_a_word_to_the_server() {
    let world = World::new().await;
    let one = json!({ "conversation_id": "conv_1" });
    let closed = json!({ "conversation_id": "conv_1", "reason": "done" });
    let answer = ok(&world.tools, "agentchat_close_local_thread", closed).await;
    assert_eq!((&answer["closed_conversation_id"], &answer["reason"]), (&json!("conv_1"), &json!("done")));
    assert!(answer["closed_at"].as_str().is_some_and(|at| at.ends_with('Z')) && answer["local_only"] == true);
    ok(&world.tools, "agentchat_close_local_thread", json!({ "conversation_id": "conv_2" })).await;
    let list = ok(&world.tools, "agentchat_list_local_closed_threads", json!({})).await;
    let ids: Vec<&Value> =
        list["closed_threads"].as_array().expect("a list").iter().map(|it| &it["conversation_id"]).collect();
    assert_eq!(ids, ["conv_2", "conv_1"], "the newest is not first");
    let answer = ok(&world.tools, "agentchat_reopen_local_thread", one.clone()).await;
    assert_eq!(answer["reopened"], true);
    assert_eq!(ok(&world.tools, "agentchat_reopen_local_thread", one).await["reopened"], false);
    assert_eq!(world.asked(), []);
}

#[tokio::test]
async fn unread_messages_are_counted_by_sender_from_the_newest_back() {
    let world = World::new().await;
    let group = group(&world, &["bob", "eve"]).await;
    let read = say(&world, "bob", json!(OWN)).await;
    ok(&world.tools, "agentchat_mark_message_read", json!({ "message_id": read })).await;
    say(&world, "bob", json!(OWN)).await;
    say(&world, "bob", json!(OWN)).await;
    say(&world, "eve", json!(OWN)).await;
    say(&world, OWN, json!("eve")).await;
    say(&world, "bob", json!(group)).await;
    world.server.clear_journal();
    let answer = ok(&world.tools, "agentchat_list_unread_by_sender", json!({})).await;
    let senders: Vec<(&Value, &Value)> = answer["senders"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (&it["sender"], &it["unread_count"]))
        .collect();
    assert_eq!(senders, [(&json!("bob"), &json!(3))], "eve was answered; one of bob's was read: {answer}");
    assert_eq!((&answer["sender_count"], &answer["unread_count"]), (&json!(1), &json!(3)));
    let mut calls: Vec<String> = world.asked().into_iter().map(|it| it.call).collect();
    assert_eq!((calls.len(), calls.remove(0).as_str()), (4, "GET /v1/conversations"));
    assert!(calls.iter().all(|call| call.ends_with("?limit=20")), "{calls:?}");

    let direct = json!({ "kind": "direct", "conversation_limit": 1, "messages_per_conversation": 1 });
    let answer = ok(&world.tools, "agentchat_list_unread_by_sender", direct).await;
    assert_eq!(answer["conversations_looked_at"], 1);
}

#[tokio::test]
async fn what_waits_for_an_answer_is_what_was_said_last_by_another() {
    let world = World::new().await;
    say(&world, "bob", json!(OWN)).await;
    say(&world, OWN, json!("bob")).await;
    let read = say(&world, "eve", json!(OWN)).await;
    ok(&world.tools, "agentchat_mark_message_read", json!({ "message_id": read })).await;
    say(&world, "tally-ho", json!(OWN)).await;
    let from = |answer: &Value| -> Vec<String> {
        let list = answer["conversations"].as_array().expect("a list");
        list.iter().map(|it| it["from"].as_str().expect("a handle").to_owned()).collect()
    };
    let answer = ok(&world.tools, "agentchat_list_needs_reply_candidates", json!({})).await;
    assert_eq!((from(&answer), &answer["count"]), (vec!["tally-ho".to_owned(), "eve".to_owned()], &json!(2)));
    let unread = json!({ "only_unread": true });
    let answer = ok(&world.tools, "agentchat_list_needs_reply_candidates", unread).await;
    assert_eq!(from(&answer), ["tally-ho"]);
}

#[tokio::test]
async fn a_conversation_that_may_not_be_read_hides_no_other() {
    let world = World::new().await;
    say(&world, "bob", json!(OWN)).await;
    say(&world, "eve", json!(OWN)).await;
    world.server.faults().on("GET /v1/messages/*", transport_ws::testing::HttpFault::status(404));
    let answer = ok(&world.tools, "agentchat_list_unread_by_sender", json!({})).await;
    assert_eq!(
        (&answer["sender_count"], answer["not_readable"].as_array().map(Vec::len)),
        (&json!(1), Some(1))
    );
    world.server.faults().on("GET /v1/messages/*", transport_ws::testing::HttpFault::status(500));
    let answer = world.call("agentchat_list_unread_by_sender", json!({})).await;
    assert_eq!(answer["error"]["code"], "INTERNAL_ERROR", "a server that fails is no empty inbox");
}

#[tokio::test]
async fn a_group_is_seen_from_all_sides() {
    let world = World::new().await;
    let group = group(&world, &["eve", "bob"]).await;
    for from in ["bob", "eve", "bob", OWN] {
        say(&world, from, json!(group)).await;
    }
    let id = json!({ "group_id": group });
    let roster = ok(&world.tools, "agentchat_get_group_participants", id.clone()).await;
    let handles = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        list.iter().map(|it| it["handle"].as_str().expect("a handle").to_owned()).collect()
    };
    assert_eq!(handles(&roster["participants"]), [OWN, "bob", "eve"], "admins first, then by handle");
    assert_eq!(roster["your_role"], "admin");

    let speakers = json!({ "group_id": group, "speaker_limit": 2 });
    let answer = ok(&world.tools, "agentchat_list_recent_group_speakers", speakers).await;
    assert_eq!(handles(&answer["recent_speakers"]), [OWN, "bob"], "the last one first, and two of them");
    assert_eq!(answer["recent_speakers"][1]["message_count"], 2);

    world.server.clear_journal();
    let answer = ok(&world.tools, "agentchat_get_group_context", id).await;
    let calls: Vec<String> = world.asked().into_iter().map(|it| it.call).collect();
    let expected = [format!("GET /v1/groups/{group}"), format!("GET /v1/messages/{group}?limit=30")];
    assert_eq!(calls, expected);
    assert_eq!(answer["suggested_reply_targets"], json!(["bob", "eve"]), "not oneself, the last first");
    assert_eq!(
        (answer["roster"].as_array().map(Vec::len), &answer["last_message_is_own"]),
        (Some(3), &json!(true))
    );
    assert!(answer["activity_state"].is_string());
}

#[tokio::test]
async fn whether_a_group_can_be_answered_is_looked_up_and_not_assumed() {
    let world = World::new().await;
    let group = group(&world, &["bob"]).await;
    let ask = async |target: &str| {
        let arguments = json!({ "group_id": group, "target_handle": target });
        let answer = ok(&world.tools, "agentchat_check_group_reply_readiness", arguments).await;
        ["can_reply", "target_present", "target_is_self"].map(|key| answer[key].as_bool().expect("known"))
    };
    assert_eq!(ask("@Bob").await, [true, true, false]);
    assert_eq!(ask("nobody-1").await, [true, false, false]);
    assert_eq!(ask(OWN).await, [true, true, true]);
    // A group whose members one is not among.
    world.answer_with(&json!({ "id": group, "members": [{ "handle": "bob" }] }));
    assert_eq!(ask("bob").await, [false, true, false]);
}

#[tokio::test]
async fn closed_threads_outlive_the_tools_where_a_file_is_given() {
    let world = World::new().await;
    let path = std::env::temp_dir().join(format!("closed-{}.json", agentchat_core::ClientMsgId::random()));
    let tools = || {
        let threads = transport_ws::tools::LocalThreads::at(&path).expect("none yet, or a good one");
        transport_ws::tools::more_tools(&client(&world.server, OWN), OWN, &threads).expect("tools")
    };
    ok(&tools(), "agentchat_close_local_thread", json!({ "conversation_id": "conv_1" })).await;
    let list = ok(&tools(), "agentchat_list_local_closed_threads", json!({})).await;
    assert_eq!(list["closed_threads"][0]["conversation_id"], "conv_1");
    std::fs::write(&path, "SECRET").expect("written");
    let threads = transport_ws::tools::LocalThreads::at(&path);
    assert!(threads.is_err_and(|error| !format!("{error:?}").contains("SECRET")));
    std::fs::remove_file(&path).expect("it was made");
}
