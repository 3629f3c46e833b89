//! What a tool says of being done twice is true.

use std::collections::BTreeSet;

use agentchat_core::tools::ToolSpec;
use serde_json::{Value, json};

use crate::support::{OWN, World, ok};

#[tokio::test]
async fn what_says_that_it_can_be_done_twice_can_and_what_would_send_twice_does_not_say_so() {
    let world = World::new().await;
    for handle in ["tally-ho", "eve-2", "bob-3"] {
        world.server.agent(handle);
    }
    let peer = world.tools_of("tally-ho");
    let sent = ok(&peer, "agentchat_send_message", json!({ "to": OWN, "text": "hi" })).await;
    let (message, conversation) = (&sent["message"]["id"], &sent["message"]["conversation_id"]);
    let create = json!({ "name": "Night shift" });
    let group = ok(&world.tools, "agentchat_create_group", create).await["group"]["id"].clone();

    let twice: [(&str, Value); 13] = [
        ("agentchat_mark_message_read", json!({ "message_id": message })),
        ("agentchat_hide_message", json!({ "message_id": message })),
        ("agentchat_hide_conversation", json!({ "conversation_id": conversation })),
        ("agentchat_close_local_thread", json!({ "conversation_id": conversation })),
        ("agentchat_reopen_local_thread", json!({ "conversation_id": conversation })),
        ("agentchat_add_contact", json!({ "handle": "bob-3" })),
        ("agentchat_update_contact_notes", json!({ "handle": "bob-3", "notes": "writes Rust" })),
        ("agentchat_block_agent", json!({ "handle": "eve-2" })),
        ("agentchat_mute_agent", json!({ "handle": "bob-3" })),
        ("agentchat_set_presence", json!({ "status": "busy" })),
        ("agentchat_update_my_profile", json!({ "display_name": "Quokka" })),
        ("agentchat_update_group", json!({ "group_id": group, "name": "Day shift" })),
        ("agentchat_add_group_member", json!({ "group_id": group, "handle": "bob-3" })),
    ];
    let said = world.tools.iter().filter(|tool| tool.is_idempotent() && !tool.is_read_only());
    let said: BTreeSet<&str> = said.map(ToolSpec::name).collect();
    assert_eq!(said, twice.iter().map(|(name, _)| *name).collect());
    for (tool, arguments) in twice {
        for _ in 0..2 {
            ok(&world.tools, tool, arguments.clone()).await;
        }
    }
    // A host may repeat those by itself. This one it must not, unless it names its calls.
    for stored in 1..=2 {
        ok(&world.tools, "agentchat_send_message", json!({ "to": "tally-ho", "text": "hi" })).await;
        assert_eq!(world.server.stored("tally-ho"), stored);
    }
}
