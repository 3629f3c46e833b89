//! Arguments, good and bad: what may leave and what may not.

use agentchat_core::tools::ToolContext;
use agentchat_core::tools::samples::Samples;
use serde_json::json;

use crate::support::World;
use crate::table::table;

#[tokio::test]
async fn bad_samples_of_every_tool_reach_nothing_and_the_good_one_does() {
    let world = World::new().await;
    let table = table();
    for tool in &world.tools {
        let samples = Samples::of(tool.schema()).unwrap_or_else(|error| panic!("{}: {error}", tool.name()));
        for bad in &samples.bad {
            let answer = tool.call(bad, ToolContext::new()).await;
            assert!(answer.as_json().contains(r#""code":"VALIDATION_ERROR""#), "{}: {bad}", tool.name());
        }
        assert_eq!(world.asked(), [], "{}: a bad sample reached the server", tool.name());
        let row = table.iter().find(|row| row.tool == tool.name());
        if let Some(row) = row {
            world.answer_with(&row.answer);
        }
        let answer = tool.call(&samples.good, ToolContext::new()).await;
        let (asked, local) = (world.asked(), tool.name().contains("_local_"));
        assert_eq!(asked.is_empty(), local, "{}: {} {answer:?}", tool.name(), samples.good);
        if let Some(row) = row {
            assert!(answer.is_ok(), "{}: {}", tool.name(), answer.as_json());
            assert_eq!(asked[0].call.split(' ').next(), row.call.split(' ').next(), "{}", tool.name());
        }
        world.server.faults().clear();
    }
}

#[tokio::test]
async fn the_schema_of_a_handle_says_what_a_handle_is() {
    let world = World::new().await;
    let schema = world.tools.find("agentchat_add_contact").expect("a tool").schema().clone();
    let takes = |handle: &str| schema.check(&json!({ "handle": handle }).to_string()).is_ok();
    let (most, more) = ("a".repeat(30), "a".repeat(31));
    for good in ["abc", "@abc", "a-b", "@a-b", "Tally-Ho", &most, &format!("@{most}")] {
        assert!(takes(good), "{good:?} is refused");
    }
    for bad in
        ["", "@", "ab", "@ab", "@a", "@@abc", "1abc", "a--b", "abc-", "a_bc", &more, &format!("@{more}")]
    {
        assert!(!takes(bad), "{bad:?} goes through");
    }
}

#[tokio::test]
async fn handles_are_checked_here_in_every_tool_that_takes_one() {
    let world = World::new().await;
    let long = "a".repeat(31);
    let mut checked = 0;
    for row in table() {
        for name in ["handle", "to", "peer_handle", "handles", "member_handles"] {
            if !row.sample.as_object().is_some_and(|it| it.contains_key(name)) {
                continue;
            }
            for bad in ["ab", "@ab", "1abc", "a--b", "abc-", "a_bc", "a.bc", "Ärger", &long] {
                let mut arguments = row.sample.clone();
                arguments[name] = if name.ends_with('s') { json!([bad]) } else { json!(bad) };
                let answer = world.call(&row.tool, arguments).await;
                assert_eq!(answer["error"]["code"], "VALIDATION_ERROR", "{} {bad:?}", row.tool);
                checked += 1;
            }
        }
    }
    assert_eq!(world.asked(), []);
    assert!(checked > 150, "only {checked}");
    let answer = world.call("agentchat_get_conversation_messages", json!({ "peer_handle": "@ab" })).await;
    assert_eq!(answer["error"]["code"], "VALIDATION_ERROR");
    assert_eq!(world.asked(), []);
}

#[tokio::test]
async fn two_targets_and_none_reach_nothing() {
    let world = World::new().await;
    for (tool, arguments) in [
        ("agentchat_send_message", json!({ "text": "hi" })),
        ("agentchat_send_message", json!({ "text": "hi", "to": "bob", "conversation_id": "grp_1" })),
        ("agentchat_send_message", json!({ "text": "hi", "conversation_id": "conv_1" })),
        ("agentchat_get_conversation_messages", json!({})),
        ("agentchat_get_conversation_messages", json!({ "conversation_id": "conv_1", "peer_handle": "bob" })),
        ("agentchat_update_my_profile", json!({})),
        ("agentchat_update_group", json!({ "group_id": "grp_1" })),
        ("agentchat_mute_agent", json!({ "handle": "bob", "muted_until": "tomorrow" })),
        ("agentchat_get_conversation_participants", json!({ "conversation_id": ".." })),
    ] {
        let answer = world.call(tool, arguments).await;
        assert_eq!(answer["error"]["code"], "VALIDATION_ERROR", "{tool}: {answer}");
    }
    assert_eq!(world.asked(), []);
}

#[test]
fn an_own_handle_that_is_none_is_a_matter_of_the_configuration() {
    let key = transport_ws::ApiKey::new("ac_0123456789abcdefghijklmnopqrstuvwxyz").expect("a key");
    let config = transport_ws::AgentChatConfig::builder(key).build().expect("usable");
    let client = transport_ws::AgentChat::new(&config).expect("a client");
    let error = transport_ws::tools::tools(&client, "ab").expect_err("too short");
    assert_eq!(error.kind(), agentchat_core::ErrorKind::Config);
    assert!(transport_ws::tools::tools(&client, "@Quokka-9").is_ok());
}
