//! Eight things that other AgentChat tools got wrong, each a promise here.

use std::time::{Duration, Instant};

use agentchat_core::tools::ToolContext;
use agentchat_core::tools::samples::Samples;
use serde_json::json;
use transport_ws::http::RetryPolicy;
use transport_ws::testing::HttpFault;

use crate::support::{OWN, World, ok};
use crate::table::{LATER, table};

#[tokio::test]
async fn defect_1_a_sent_message_is_json_and_the_backlog_warning_a_member_of_its_own() {
    let world = World::new().await;
    world.server.agent("tally-ho");
    let send = json!({ "to": "tally-ho", "text": "hi" });
    let answer = ok(&world.tools, "agentchat_send_message", send.clone()).await;
    assert_eq!(answer["message"]["content"], json!({ "text": "hi" }));
    assert_eq!((&answer["message"]["sender"], &answer["replayed"]), (&json!(OWN), &json!(false)));
    assert_eq!(answer.get("backlog_warning"), None);
    world.server.set_undelivered("tally-ho", 5_123);
    let answer = ok(&world.tools, "agentchat_send_message", send).await;
    assert_eq!(answer["backlog_warning"], json!({ "handle": "tally-ho", "waiting": 5_123 }));
}

#[tokio::test]
async fn defect_2_a_peer_is_found_by_the_type_and_participants_of_the_rows() {
    let world = World::new().await;
    let peer = world.tools_of("tally-ho");
    ok(&peer, "agentchat_send_message", json!({ "to": OWN, "text": "are you there?" })).await;
    let answer =
        ok(&world.tools, "agentchat_get_conversation_messages", json!({ "peer_handle": "@Tally-Ho" })).await;
    assert_eq!(answer["messages"][0]["content"]["text"], "are you there?");
    let id = answer["conversation_id"].as_str().expect("an id");
    let calls: Vec<String> = world.asked().into_iter().skip(1).map(|it| it.call).collect();
    assert_eq!(calls, ["GET /v1/conversations".to_owned(), format!("GET /v1/messages/{id}?limit=50")]);
    let unknown =
        world.call("agentchat_get_conversation_messages", json!({ "peer_handle": "nobody-1" })).await;
    assert_eq!(unknown["error"]["class"], "not_found");
}

#[tokio::test]
async fn defect_3_contacts_are_paged_by_offset_and_no_cursor_is_offered() {
    let world = World::new().await;
    for handle in ["bob", "eve", "tally-ho"] {
        world.server.agent(handle);
        ok(&world.tools, "agentchat_add_contact", json!({ "handle": handle })).await;
    }
    let answer = ok(&world.tools, "agentchat_list_contacts", json!({ "limit": 2, "offset": 2 })).await;
    assert_eq!((&answer["contacts"][0]["handle"], &answer["total"]), (&json!("tally-ho"), &json!(3)));
    let cursor = world.call("agentchat_list_contacts", json!({ "cursor": "x" })).await;
    assert_eq!(cursor["error"]["code"], "VALIDATION_ERROR");
}

#[tokio::test]
async fn defect_4_a_network_that_is_down_is_an_answer_of_every_tool() {
    let mut world = World::new().await;
    world.server.kill().await.expect("killed");
    let later = LATER.into_iter().filter(|name| !name.contains("_local_")).map(|name| {
        let tool = world.tools.find(name).expect("a tool");
        let samples = Samples::of(tool.schema()).expect("samples");
        (name.to_owned(), serde_json::from_str(&samples.good).expect("JSON"))
    });
    let all: Vec<_> = table().into_iter().map(|row| (row.tool, row.sample)).chain(later).collect();
    assert_eq!(all.len(), 38 + 6);
    for (tool, arguments) in all {
        let answer = world.call(&tool, arguments).await;
        assert_eq!(answer["error"]["code"], "CONNECTION_ERROR", "{tool}: {answer}");
        assert_eq!(answer["error"]["class"], "disconnected");
    }
}

#[tokio::test]
async fn defect_5_the_code_a_model_branches_on_is_the_servers_own() {
    let world = World::new().await;
    let stranger = world.tools_of("tally-ho");
    ok(&stranger, "agentchat_update_my_profile", json!({ "inbox_mode": "contacts_only" })).await;
    let send = json!({ "to": "tally-ho", "text": "hi" });
    let answer = world.call("agentchat_send_message", send.clone()).await;
    assert_eq!(answer["error"]["code"], "INBOX_RESTRICTED");
    assert_eq!(answer["error"]["class"], "forbidden");
    let fault = HttpFault::error(429, "COLD_OUTREACH_CAP_EXCEEDED", "Too many");
    world.server.faults().on("POST /v1/messages", fault);
    let answer = world.call("agentchat_send_message", send).await;
    assert_eq!(answer["error"]["code"], "COLD_OUTREACH_CAP_EXCEEDED");
    assert_eq!(answer["error"]["class"], "rate_limited");
}

#[tokio::test]
async fn defect_6_nothing_is_tried_before_its_time_and_past_the_deadline_the_answer_comes_at_once() {
    let world = World::trying(RetryPolicy::default()).await;
    let began = Instant::now();
    world.server.faults().repeat("GET /v1/mutes", 9, HttpFault::status(429).retry_after("120"));
    let answer = world.call("agentchat_list_mutes", json!({})).await;
    assert_eq!(answer["error"]["retry_after_seconds"], 120);
    assert_eq!(world.asked().len(), 1, "asked again before its time");
    world.server.faults().clear();
    // A wait that fits in is kept, and not shortened; one that does not fit into the call is not begun.
    world.server.faults().repeat("GET /v1/mutes", 9, HttpFault::status(429).retry_after("6"));
    let tool = world.tools.find("agentchat_list_mutes").expect("a tool");
    let context = ToolContext::new().with_deadline(Duration::from_secs(4));
    let answer = tool.call("{}", context).await;
    assert!(answer.as_json().contains(r#""retry_after_seconds":6"#), "{}", answer.as_json());
    assert_eq!(world.asked().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for what it could not have");
}

#[tokio::test]
async fn defect_6_a_wait_that_fits_in_is_waited_for_to_its_end() {
    let world = World::trying(RetryPolicy::default()).await;
    world.server.faults().on("GET /v1/mutes", HttpFault::status(429).retry_after("1"));
    let began = Instant::now();
    ok(&world.tools, "agentchat_list_mutes", json!({})).await;
    assert_eq!(world.asked().len(), 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "it came too early");
}

#[tokio::test]
async fn defect_7_a_call_repeated_by_the_framework_is_one_message_and_a_failure_tells_its_id() {
    let world = World::new().await;
    world.server.agent("tally-ho");
    let send = json!({ "to": "tally-ho", "text": "once" });
    let tool = world.tools.find("agentchat_send_message").expect("a tool");
    let context = || ToolContext::new().with_call_id("run 1", "call_1");
    // The first answer is lost after the message was stored.
    world.server.drop_next_response(true);
    let lost: serde_json::Value = tool.call_with(&send, context()).await.read().expect("JSON");
    assert_eq!((&lost["ok"], &lost["error"]["code"]), (&json!(false), &json!("CONNECTION_ERROR")));
    let key = lost["error"]["client_msg_id"].as_str().expect("the id it was sent under").to_owned();
    let again: serde_json::Value = tool.call_with(&send, context()).await.read().expect("JSON");
    assert_eq!((&again["replayed"], &again["message"]["client_msg_id"]), (&json!(true), &json!(key)));
    // A model that repeats it by hand has the id from the error.
    let mut by_hand = send.clone();
    by_hand["client_msg_id"] = json!(key);
    assert_eq!(ok(&world.tools, "agentchat_send_message", by_hand).await["replayed"], true);
    assert_eq!(world.server.stored("tally-ho"), 1);
}

#[tokio::test]
async fn defect_7_a_group_is_not_made_twice_by_a_repeated_call() {
    let world = World::new().await;
    let tool = world.tools.find("agentchat_create_group").expect("a tool");
    let create = json!({ "name": "Night shift" });
    let context = || ToolContext::new().with_call_id("run 1", "call_1");
    let first: serde_json::Value = tool.call_with(&create, context()).await.read().expect("JSON");
    let again: serde_json::Value = tool.call_with(&create, context()).await.read().expect("JSON");
    assert!(first["group"]["id"].is_string(), "{first}");
    assert_eq!(first["group"]["id"], again["group"]["id"]);
}

#[tokio::test]
async fn defect_8_a_handle_of_two_characters_goes_nowhere() {
    let world = World::new().await;
    for handle in ["ab", "@ab", "a"] {
        let answer = world.call("agentchat_get_agent_profile", json!({ "handle": handle })).await;
        assert_eq!(answer["error"]["code"], "VALIDATION_ERROR", "{handle}");
    }
    assert_eq!(world.asked(), []);
}
