//! Where cards come from: toolsets, an operator's configuration, registries.

mod support;

use a2a_envelope::{CardBuilder, CardOverride, Error, RawCard, RegistryEntry, Skill, Tool, Toolset};
use support::fixture;

const BOX: &str = "mq9://broker/hermes.inbox";

fn toolsets() -> Vec<Toolset> {
    vec![
        Toolset::new(
            "terminal",
            [
                Tool::new("run", "Runs a command").with_display_name("Run").with_tags(["shell", "terminal"]),
                Tool::new("read", "Reads a file").with_examples(["Read main.rs"]),
            ],
        ),
        Toolset::new("code", [Tool::new("write", "").with_display_name("")]),
    ]
}

fn card(toolsets: Vec<Toolset>) -> RawCard {
    CardBuilder::from_toolsets("hermes", toolsets)
        .description("Hermes agent")
        .version("1.0.0")
        .mq9_interface(BOX)
        .build()
        .unwrap()
}

#[test]
fn each_tool_is_a_skill() {
    let skills = card(toolsets()).view().skills;
    let want = [
        Skill::new("code-write", "write", "write").with_tags(["code"]),
        Skill::new("terminal-read", "read", "Reads a file")
            .with_tags(["terminal"])
            .with_examples(["Read main.rs"]),
        Skill::new("terminal-run", "Run", "Runs a command").with_tags(["terminal", "shell"]),
    ];
    assert_eq!(skills, want);
}

#[test]
fn the_same_tools_in_any_order_give_the_same_bytes() {
    let mut shuffled = toolsets();
    shuffled.reverse();
    shuffled.iter_mut().for_each(|set| set.tools.reverse());
    assert_eq!(card(shuffled), card(toolsets()));
}

#[test]
fn ids_are_unique_whatever_the_names_are() {
    let sets = vec![
        Toolset::new("a", [Tool::new("b-c", "one"), Tool::new("b-c", "one"), Tool::new("b-c", "two")]),
        Toolset::new("a-b", [Tool::new("c", "three"), Tool::new("c-2", "four")]),
    ];
    let ids = |sets| {
        card(sets).view().skills.into_iter().map(|skill| (skill.id, skill.description)).collect::<Vec<_>>()
    };
    let got = ids(sets.clone());
    // The one that is there twice counts once, and the natural id "a-b-c-2" is not taken by a number.
    let want = [("a-b-c", "one"), ("a-b-c-2", "four"), ("a-b-c-3", "two"), ("a-b-c-4", "three")];
    assert_eq!(got, want.map(|(id, text)| (id.to_owned(), text.to_owned())));
    let mut turned = sets;
    turned.reverse();
    assert_eq!(ids(turned), got);
}

#[test]
fn an_agent_without_tools_has_one_skill_of_its_own_name() {
    let skills = card(Vec::new()).view().skills;
    assert_eq!((skills.len(), skills[0].id.as_str()), (1, "hermes"));
}

/// The configuration of the seed, as any serde format hands it over.
const SEED: &str = r#"{
    "name": "Custom Hermes Coder",
    "description": "Specialized coding agent",
    "skills": [{"id": "rust-codegen", "name": "Rust code generation",
                "description": "Generate Rust code from natural language",
                "tags": ["rust", "codegen"], "examples": ["Write a Rust HTTP server"]}]
}"#;

fn generated() -> CardBuilder {
    CardBuilder::from_toolsets("hermes", toolsets())
        .description("Hermes agent")
        .version("1.0.0")
        .mq9_interface(BOX)
}

#[test]
fn what_an_operator_gives_replaces_field_by_field_and_the_rest_is_generated() {
    let seed: CardOverride = serde_json::from_str(SEED).unwrap();
    let view = generated().streaming(true).overridden(&seed).build().unwrap().view();
    assert_eq!((view.name.as_deref(), view.version.as_deref()), (Some("Custom Hermes Coder"), Some("1.0.0")));
    assert_eq!(view.skills.len(), 1);
    assert_eq!((view.skills[0].id.as_str(), view.skills[0].examples.len()), ("rust-codegen", 1));
    assert!(view.streaming);

    let name: CardOverride = serde_json::from_str(r#"{"name":"other"}"#).unwrap();
    let view = generated().overridden(&name).build().unwrap().view();
    assert_eq!((view.name.as_deref(), view.description.as_deref()), (Some("other"), Some("Hermes agent")));
    assert_eq!(view.skills.len(), 3);
    assert_eq!(generated().overridden(&CardOverride::default()).build(), generated().build());
}

#[test]
fn capabilities_come_from_the_configuration_in_either_spelling() {
    for text in [
        r#"{"capabilities":{"streaming":true,"push_notifications":true}}"#,
        r#"{"capabilities":{"streaming":true,"pushNotifications":true}}"#,
    ] {
        let config: CardOverride = serde_json::from_str(text).unwrap();
        let view = generated().overridden(&config).build().unwrap().view();
        assert!(view.streaming && view.push_notifications, "{text}");
    }
    let half: CardOverride = serde_json::from_str(r#"{"capabilities":{"streaming":false}}"#).unwrap();
    let view = generated().streaming(true).push_notifications(true).overridden(&half).build().unwrap().view();
    assert!(!view.streaming && view.push_notifications);
}

#[test]
fn a_misspelt_key_of_a_configuration_is_named() {
    for (text, key) in [
        (r#"{"descripton":"x"}"#, "descripton"),
        (r#"{"capabilities":{"stream":true}}"#, "stream"),
        (r#"{"skills":[{"id":"a","tag":[]}]}"#, "tag"),
    ] {
        let error = serde_json::from_str::<CardOverride>(text).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn an_override_is_checked_as_everything_else() {
    let empty: CardOverride = serde_json::from_str(r#"{"skills":[]}"#).unwrap();
    assert_eq!(
        generated().overridden(&empty).build().unwrap_err().to_string(),
        "agent card: `skills` is required"
    );
}

#[test]
fn a_card_carries_no_credentials() {
    let error = generated().mq9_interface("mq9://user:secret@host/box").build().unwrap_err();
    assert_eq!(error.to_string(), "answer address: it carries credentials");
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn every_shape_a_registry_lists_an_agent_in_is_read() {
    let v1 = fixture("card_v1.json");
    let hermes = fixture("card_hermes.json").trim();
    let inbox = "mq9://broker.internal:4222/support.inbox";
    for (text, name, held, mailbox) in [
        (v1.trim().to_owned(), "support", v1.trim(), inbox),
        (hermes.to_owned(), "hermes-prod-001", hermes, BOX),
        (format!(r#"{{"name":"reg","agent_info":{}}}"#, quoted(v1)), "reg", v1, inbox),
        (format!(r#"{{"name":"reg","agent_info": {hermes} }}"#), "reg", hermes, BOX),
        (
            format!(r#"{{"agent_id":"7","name":"reg","description":"d","agent_info":{}}}"#, quoted(v1)),
            "reg",
            v1,
            inbox,
        ),
        (
            format!(r#"{{"name":"reg","mailbox":"other","payload":"words","agent_card":{hermes}}}"#),
            "reg",
            hermes,
            BOX,
        ),
        (format!(r#"{{"name":"reg","payload":{}}}"#, quoted(hermes)), "reg", hermes, BOX),
        (format!(r#"{{"agent_card":{hermes}}}"#), "hermes-prod-001", hermes, BOX),
    ] {
        let entry = RegistryEntry::read(text.as_bytes()).unwrap();
        assert_eq!(entry.name.as_deref(), Some(name), "{text}");
        assert_eq!(entry.card.as_ref().map(RawCard::as_str), Some(held), "{text}");
        assert_eq!(entry.mailbox.as_deref(), Some(mailbox), "{text}");
    }
}

#[test]
fn what_the_facade_leaves_in_a_registry_is_an_entry_without_a_card() {
    let entry = RegistryEntry::read(br#"{"name":"demo","payload":"Translates text","mailbox":"demo.inbox"}"#)
        .unwrap();
    assert_eq!((entry.card, entry.description.as_deref()), (None, Some("Translates text")));
    assert_eq!(entry.mailbox.as_deref(), Some("demo.inbox"));
}

#[test]
fn a_mailbox_beside_a_card_counts_as_its_own_mailbox_would() {
    let mailbox = |card: &str| {
        let text = format!(r#"{{"mailbox":"beside","agent_card":{card}}}"#);
        RegistryEntry::read(text.as_bytes()).unwrap().mailbox.unwrap()
    };
    assert_eq!(
        mailbox(r#"{"supportedInterfaces":[{"url":"mq9://broker/first"}],"mailbox":"second"}"#),
        "mq9://broker/first"
    );
    assert_eq!(mailbox(r#"{"mailbox":"second"}"#), "second");
    assert_eq!(mailbox(r#"{"metadata":{"mq9":{"mailbox":"third"}},"url":"mq9://broker/last"}"#), "beside");
}

#[test]
fn a_whole_answer_is_read_and_a_broken_entry_hides_no_other() {
    let entries = r#"[{"name":"a","agent_info":"{\"mailbox\":\"a.in\"}"},7,{"name":"b","agent_info":"{broken"},{"name":"c"}]"#;
    for text in [entries.to_owned(), format!(r#"{{"error":"","agents":{entries}}}"#)] {
        let got = RegistryEntry::read_all(text.as_bytes()).unwrap();
        let names: Vec<_> = got.iter().map(|entry| entry.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!((got[0].mailbox.as_deref(), got[1].card.is_none()), (Some("a.in"), true));
    }
    assert_eq!(RegistryEntry::read_all(br#"{"name":"one"}"#).unwrap().len(), 1);
    assert_eq!(RegistryEntry::read_all(br#"{"agents":[]}"#).unwrap().len(), 0);
    for broken in ["", "{", "7", "\"x\""] {
        assert!(RegistryEntry::read_all(broken.as_bytes()).is_err(), "{broken}");
    }
    assert!(matches!(RegistryEntry::read(b"[]"), Err(Error::Member { .. })));
}

#[test]
fn debug_prints_no_mailbox() {
    let entry = RegistryEntry::read(br#"{"name":"a","mailbox":"secretbox"}"#).unwrap();
    assert!(!format!("{entry:?}").contains("secretbox"));
}
