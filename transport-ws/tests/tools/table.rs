//! Every one of the 38 is called what it should be and asks what it should.

use std::collections::BTreeSet;

use agentchat_core::tools::ToolSpec;
use serde::Deserialize;
use serde_json::Value;

use crate::support::World;

#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) tool: String,
    arguments: Vec<String>,
    required: Vec<String>,
    pub(crate) sample: Value,
    pub(crate) call: String,
    body: Value,
    /// What the server answers; without one, a redirect.
    pub(crate) answer: Value,
    success: Vec<String>,
}

pub(crate) fn table() -> Vec<Row> {
    serde_json::from_str(include_str!("table.json")).expect("the table is JSON")
}

pub(crate) const LATER: [&str; 9] = [
    "agentchat_close_local_thread",
    "agentchat_reopen_local_thread",
    "agentchat_list_local_closed_threads",
    "agentchat_list_unread_by_sender",
    "agentchat_list_needs_reply_candidates",
    "agentchat_check_group_reply_readiness",
    "agentchat_get_group_context",
    "agentchat_list_recent_group_speakers",
    "agentchat_get_group_participants",
];

#[tokio::test]
async fn the_tools_are_these_in_this_order() {
    let world = World::new().await;
    let table = table();
    assert_eq!(table.len(), 38);
    let expected: Vec<&str> = table.iter().map(|row| row.tool.as_str()).chain(LATER).collect();
    assert_eq!(world.tools.names().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn arguments_have_the_names_of_the_table_and_the_same_are_required() {
    let world = World::new().await;
    for row in table() {
        let schema = schema(world.tools.find(&row.tool).expect("a tool"));
        let members: Option<BTreeSet<String>> =
            schema["properties"].as_object().map(|it| it.keys().cloned().collect());
        let expected: BTreeSet<String> = row.arguments.into_iter().collect();
        assert_eq!(members.unwrap_or_default(), expected, "{}", row.tool);
        let required: BTreeSet<String> = schema
            .get("required")
            .map(|it| serde_json::from_value(it.clone()).expect("names"))
            .unwrap_or_default();
        assert_eq!(required, row.required.into_iter().collect(), "{}", row.tool);
    }
}

#[tokio::test]
async fn each_tool_makes_the_call_of_the_table_and_no_other_and_tells_what_came() {
    let world = World::new().await;
    for row in table() {
        world.answer_with(&row.answer);
        let answer = world.call(&row.tool, row.sample).await;
        assert_eq!(answer["ok"], true, "{}: {answer}", row.tool);
        let asked = world.asked();
        assert_eq!(asked.len(), 1, "{}: {asked:?}", row.tool);
        // Where a listing begins is its default.
        let call = asked[0].call.replace("&offset=0", "");
        assert_eq!((call, &asked[0].body), (row.call, &row.body), "{}", row.tool);
        for key in &row.success {
            assert!(!answer[key].is_null() || key == "kind_filter", "{}: no {key} in {answer}", row.tool);
        }
    }
}

#[tokio::test]
async fn what_the_server_says_comes_as_it_was_said() {
    let world = World::new().await;
    let mut seen = 0;
    for row in table() {
        // One key, and all of the answer under it.
        let [key] = &row.success[..] else { continue };
        world.answer_with(&row.answer);
        let answer = world.call(&row.tool, row.sample).await;
        if answer[key].is_object() && row.answer.get(key).is_none() && key != "download" {
            assert_eq!(answer[key], row.answer, "{}", row.tool);
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen}");
}

#[tokio::test]
async fn every_text_is_bounded_and_every_schema_closed() {
    let world = World::new().await;
    let mut texts = 0;
    for tool in &world.tools {
        let schema = schema(tool);
        assert_eq!(schema["additionalProperties"], false, "{}", tool.name());
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let member = member.get("items").unwrap_or(member);
            let kind = member["type"].to_string();
            if kind.contains("string") && member.get("enum").is_none() {
                assert!(member["maxLength"].is_u64(), "{} of {} is as long as it likes", name, tool.name());
                texts += 1;
            }
            if kind.contains("integer") {
                assert!(member.get("maximum").is_some(), "{} of {} is not bounded", name, tool.name());
            }
        }
    }
    assert!(texts > 40, "only {texts} texts were found");
}

#[tokio::test]
async fn lengths_are_those_of_the_table() {
    let world = World::new().await;
    for (tool, member, most) in [
        ("agentchat_send_message", "text", 32_000),
        ("agentchat_send_message", "client_msg_id", 128),
        ("agentchat_update_contact_notes", "notes", 1_000),
        ("agentchat_report_agent", "reason", 500),
        ("agentchat_update_my_profile", "display_name", 80),
        ("agentchat_update_my_profile", "description", 280),
        ("agentchat_set_presence", "custom_message", 200),
        ("agentchat_create_group", "name", 80),
        ("agentchat_create_group", "description", 500),
        ("agentchat_close_local_thread", "reason", 200),
    ] {
        let schema = schema(world.tools.find(tool).expect("a tool"));
        assert_eq!(schema["properties"][member]["maxLength"], most, "{member} of {tool}");
    }
    // Contacts are paged by 100 at most, though other clients offer 200: the endpoint would cut it down.
    for (tool, member, least, most) in [
        ("agentchat_get_conversation_messages", "limit", 1, 200),
        ("agentchat_get_conversation_messages", "before_seq", 1, 9_007_199_254_740_991_u64),
        ("agentchat_list_conversations", "limit", 1, 200),
        ("agentchat_list_contacts", "limit", 1, 100),
        ("agentchat_search_directory", "limit", 1, 50),
        ("agentchat_list_unread_by_sender", "conversation_limit", 1, 100),
        ("agentchat_list_unread_by_sender", "messages_per_conversation", 1, 100),
        ("agentchat_list_needs_reply_candidates", "conversation_limit", 1, 100),
        ("agentchat_list_needs_reply_candidates", "messages_per_conversation", 1, 100),
        ("agentchat_get_group_context", "message_limit", 1, 100),
        ("agentchat_list_recent_group_speakers", "message_limit", 1, 100),
        ("agentchat_list_recent_group_speakers", "speaker_limit", 1, 20),
    ] {
        let schema = schema(world.tools.find(tool).expect("a tool"));
        let member = &schema["properties"][member];
        assert_eq!(
            (member["minimum"].as_u64(), member["maximum"].as_u64()),
            (Some(least), Some(most)),
            "{tool}"
        );
    }
    let batch = schema(world.tools.find("agentchat_get_presence_batch").expect("a tool"));
    let handles = &batch["properties"]["handles"];
    assert_eq!((&handles["minItems"], &handles["maxItems"]), (&1.into(), &100.into()));
}

#[tokio::test]
async fn exactly_one_and_at_least_one_stand_in_the_schema() {
    let world = World::new().await;
    for (tool, rule, names) in [
        ("agentchat_send_message", "oneOf", &["to", "conversation_id"][..]),
        ("agentchat_get_conversation_messages", "oneOf", &["conversation_id", "peer_handle"]),
        ("agentchat_update_my_profile", "anyOf", &["display_name", "description", "inbox_mode"]),
        ("agentchat_update_group", "anyOf", &["name", "description"]),
    ] {
        let schema = schema(world.tools.find(tool).expect("a tool"));
        let named: Vec<&Value> =
            schema[rule].as_array().expect(tool).iter().map(|branch| &branch["required"][0]).collect();
        assert_eq!(named, names, "{tool}");
    }
}

#[tokio::test]
async fn etiquette_names_no_tool_that_is_not_there() {
    let world = World::new().await;
    let text = transport_ws::etiquette(world.tools.names());
    let mut named = 0;
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        if word.starts_with("agentchat_") {
            assert!(world.tools.find(word).is_some(), "{word} is no tool");
            named += 1;
        }
    }
    assert!(named >= 10, "only {named} tools are named");
    // A description that sends a model to another tool must not send it astray either.
    for tool in &world.tools {
        let told = format!("{} {}", tool.description(), tool.schema().as_str());
        for word in told.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            assert!(!word.starts_with("agentchat_") || world.tools.find(word).is_some(), "{word}");
        }
    }
}

#[tokio::test]
async fn reading_tools_are_those_that_only_get() {
    let world = World::new().await;
    for row in table() {
        let tool = world.tools.find(&row.tool).expect("a tool");
        // One question goes by POST, as it is long.
        let reads = row.call.starts_with("GET ") || row.tool == "agentchat_get_presence_batch";
        assert_eq!(tool.is_read_only(), reads, "{}", row.tool);
    }
    let telling = ["agentchat_close_local_thread", "agentchat_reopen_local_thread"];
    for name in LATER {
        let tool = world.tools.find(name).expect("a tool");
        assert_eq!(tool.is_read_only(), !telling.contains(&name), "{name}");
    }
}

fn schema(tool: &ToolSpec) -> Value {
    tool.schema().read().expect("JSON")
}
