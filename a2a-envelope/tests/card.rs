//! Agent cards: exact bytes, lenient reading, one text splice, deterministic writing.

mod support;

use a2a_envelope::{CardBuilder, CardRule, Error, Limits, MQ9_BINDING, RawCard, Skill};
use proptest::prelude::*;
use support::{fixture, foreign_member, json_text, seeded};

fn card(name: &str) -> RawCard {
    RawCard::new(fixture(name)).unwrap()
}

fn read(text: &str) -> RawCard {
    RawCard::new(text.to_owned()).unwrap()
}

const URL: &str = "mq9://broker.internal:4222/coder.inbox";
const ENTRY: &str = r#"{"url":"mq9://broker.internal:4222/coder.inbox","protocolBinding":"https://agentchat-rs.github.io/bindings/mq9/v1","protocolVersion":"1.0"}"#;

fn builder() -> CardBuilder {
    CardBuilder::new("coder")
        .description("Writes Rust")
        .version("0.4.0")
        .mq9_interface(URL)
        .streaming(true)
        .push_notifications(true)
        .output_modes(["text/plain", "application/json"])
        .skill(
            Skill::new("rust-codegen", "Rust code generation", "Generate Rust code from natural language")
                .with_tags(["rust", "codegen"])
                .with_examples(["Write a Rust HTTP server"]),
        )
        .skill(Skill::new("review", "Review", "Reads \"diffs\""))
}

#[test]
fn the_exact_text_is_kept() {
    for name in ["card_v1.json", "card_v0_3.json", "card_hermes.json", "card_signed.json"] {
        let card = card(name);
        assert_eq!(card.as_str(), fixture(name));
        assert_eq!(card.as_bytes(), fixture(name).as_bytes());
        assert_eq!(card.into_bytes(), fixture(name));
    }
}

#[test]
fn a_1_0_card_is_read() {
    let view = card("card_v1.json").view();
    assert_eq!(view.name.as_deref(), Some("support"));
    assert_eq!(view.description.as_deref(), Some("Answers questions about orders"));
    assert_eq!(view.version.as_deref(), Some("2.1.0"));
    assert_eq!(view.tags, ["orders", "support", "refunds"]);
    assert!(view.streaming && !view.push_notifications);
    let orders = Skill::new("orders", "Orders", "Order status")
        .with_tags(["orders", "support"])
        .with_examples(["Where is order 5?"]);
    assert_eq!(view.skills[0], orders);
    assert_eq!((view.skills.len(), view.skills[1].id.as_str()), (2, "returns"));
    let interfaces: Vec<_> = view
        .interfaces
        .iter()
        .map(|i| (i.url.as_str(), i.protocol_binding.as_deref(), i.protocol_version.as_deref(), i.is_mq9()))
        .collect();
    assert_eq!(
        interfaces,
        [
            ("https://agents.example.org/a2a", Some("JSONRPC"), Some("1.0"), false),
            ("mq9://broker.internal:4222/support.inbox", Some(MQ9_BINDING), Some("1.0"), true),
        ]
    );
}

#[test]
fn a_0_3_card_is_read_by_its_own_names() {
    let view = card("card_v0_3.json").view();
    let interfaces: Vec<_> = view
        .interfaces
        .iter()
        .map(|i| (i.url.as_str(), i.protocol_binding.as_deref(), i.protocol_version.as_deref()))
        .collect();
    assert_eq!(
        interfaces,
        [
            ("mq9s://broker/legacy.inbox", Some("JSONRPC"), Some("0.3.0")),
            ("https://legacy.example.org/rest", Some("HTTP+JSON"), Some("0.3.0")),
        ]
    );
}

#[test]
fn tags_at_the_top_come_first_and_each_once() {
    let view = card("card_hermes.json").view();
    assert_eq!(view.tags, ["hermes", "code", "terminal"]);
    assert_eq!(view.skills[0].description, "");
}

#[test]
fn a_field_of_another_type_reads_as_absent_and_spoils_nothing() {
    let view = read(
        r#"{"name":7,"version":null,"tags":"x","skills":[1,{"id":"a","tags":[1,"t"]}],
            "supportedInterfaces":[{"url":1},{"url":"u"},"v"],"capabilities":[],"description":"d","description":"e"}"#,
    )
    .view();
    assert_eq!((view.name, view.version, view.description.as_deref()), (None, None, Some("e")));
    assert_eq!((view.skills.len(), view.tags), (1, vec!["t".to_owned()]));
    assert_eq!((view.interfaces.len(), view.interfaces[0].url.as_str()), (1, "u"));
    assert!(!view.streaming);
    assert_eq!(read("{}").view(), Default::default());
}

#[test]
fn the_mailbox_is_found_in_its_order() {
    assert_eq!(card("card_v1.json").mailbox().as_deref(), Some("mq9://broker.internal:4222/support.inbox"));
    assert_eq!(card("card_v0_3.json").mailbox().as_deref(), Some("mq9s://broker/legacy.inbox"));
    assert_eq!(card("card_hermes.json").mailbox().as_deref(), Some("mq9://broker/hermes.inbox"));
    assert_eq!(card("card_signed.json").mailbox(), None);

    let steps = [
        r#""supportedInterfaces":[{"url":"https://x"},{"url":"MQ9S://broker/1"}]"#,
        r#""mailbox":"2""#,
        r#""metadata":{"mq9":{"mailbox":"3","mail_address":"4"}}"#,
        r#""url":"mq9://broker/5","additionalInterfaces":[{"url":"mq9://broker/6"}]"#,
    ];
    let want = ["MQ9S://broker/1", "2", "3", "mq9://broker/5"];
    for (first, want) in want.iter().enumerate() {
        let text = format!("{{{}}}", steps[first..].join(","));
        assert_eq!(read(&text).mailbox().as_deref(), Some(*want), "{text}");
    }
    let address = r#"{"mailbox":"","metadata":{"mq9":{"mailbox":null,"mail_address":"4"}}}"#;
    assert_eq!(read(address).mailbox().as_deref(), Some("4"));
    let extra = r#"{"url":"https://x","additionalInterfaces":[{"url":"mq9://broker/6"}]}"#;
    assert_eq!(read(extra).mailbox().as_deref(), Some("mq9://broker/6"));
    assert_eq!(read(r#"{"url":"https://x/mq9://y","mailbox":3}"#).mailbox(), None);
}

#[test]
fn signatures_are_noticed() {
    assert!(card("card_signed.json").is_signed());
    for (text, signed) in [
        ("{}", false),
        (r#"{"signatures":[]}"#, false),
        (r#"{"signatures":null}"#, false),
        (r#"{"signatures":[{}]}"#, true),
        (r#"{"signatures":{}}"#, true),
        (r#"{"s\u0069gnatures":[0]}"#, true),
        (r#"{"x":{"signatures":[{}]}}"#, false),
    ] {
        assert_eq!(read(text).is_signed(), signed, "{text}");
    }
}

#[test]
fn an_interface_is_added_and_nothing_else_changes() {
    for (before, after) in [
        ("{}", format!(r#"{{"supportedInterfaces":[{ENTRY}]}}"#)),
        (r#"{ "n": 1.0 }"#, format!(r#"{{ "n": 1.0,"supportedInterfaces":[{ENTRY}] }}"#)),
        (r#"{"supportedInterfaces":null}"#, format!(r#"{{"supportedInterfaces":[{ENTRY}]}}"#)),
        (
            r#"{"supportedInterfaces":[ ],"z":1e400}"#,
            format!(r#"{{"supportedInterfaces":[{ENTRY} ],"z":1e400}}"#),
        ),
        (
            r#"{"supportedInterfaces":[{"url":"https://x"}]}"#,
            format!(r#"{{"supportedInterfaces":[{{"url":"https://x"}},{ENTRY}]}}"#),
        ),
    ] {
        let edited = read(before).with_interface(URL).unwrap();
        assert_eq!(edited.as_str(), after);
        assert_eq!(edited.mailbox().as_deref(), Some(URL));
    }
}

#[test]
fn an_interface_is_not_added_where_it_must_not() {
    let refused = |text: &str, url: &str| read(text).with_interface(url).unwrap_err();
    assert_eq!(refused(fixture("card_signed.json"), URL), Error::Card(CardRule::Signed));
    for taken in [
        fixture("card_v1.json").to_owned(),
        fixture("card_v0_3.json").to_owned(),
        format!(r#"{{"supportedInterfaces":[{{"url":"x","protocolBinding":"{MQ9_BINDING}"}}]}}"#),
    ] {
        assert_eq!(refused(&taken, URL), Error::Card(CardRule::InterfaceExists), "{taken}");
    }
    for url in ["https://x", "mq9:box", "mq9", "", "xmq9://b/c"] {
        assert_eq!(refused("{}", url), Error::Card(CardRule::UnknownScheme), "{url}");
    }
    assert_eq!(
        refused(r#"{"supportedInterfaces":{}}"#, URL).to_string(),
        "`supportedInterfaces` is not an array"
    );
    assert_eq!(
        refused(r#"{"supportedInterfaces":[],"supportedInterfaces":[]}"#, URL).to_string(),
        "`supportedInterfaces` is there more than once"
    );
}

#[test]
fn what_is_no_card_is_refused() {
    let words = |bytes: &'static [u8]| RawCard::new(bytes).unwrap_err().to_string();
    assert_eq!(words(b"[]"), "`$` is not an object");
    assert_eq!(words(b"{\"a\":}"), "not JSON at byte 5: expected a value");
    assert_eq!(words(b"{\"\xff"), "not UTF-8 from byte 2 on");
    let error = RawCard::within("{\"a\":[[]]}", &Limits::default().with_max_depth(2)).unwrap_err();
    assert_eq!(error.to_string(), "max_depth (levels) is 2, found 3: 1 over");
}

#[test]
fn a_built_card_is_the_golden_one_every_time() {
    for _ in 0..3 {
        assert_eq!(builder().build().unwrap().as_str(), fixture("card_built.json"));
    }
    let card = builder().build().unwrap();
    assert_eq!(card.mailbox().as_deref(), Some(URL));
    assert!(!card.is_signed());
    assert_eq!(card.name().as_deref(), Some("coder"));
}

#[test]
fn a_built_card_has_only_fields_of_a2a_1_0() {
    const KNOWN: [&str; 8] = [
        "name",
        "description",
        "version",
        "supportedInterfaces",
        "capabilities",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    ];
    let value: serde_json::Value = serde_json::from_str(builder().build().unwrap().as_str()).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), KNOWN.len());
    assert!(keys.iter().all(|key| KNOWN.contains(key)), "{keys:?}");
    assert_eq!(value["capabilities"].as_object().unwrap().len(), 2);
    assert_eq!(value["supportedInterfaces"][0].as_object().unwrap().len(), 3);
    assert_eq!(value["skills"][1]["tags"], serde_json::json!([]));
}

#[test]
fn defaults_are_text_and_no_capabilities() {
    let card = CardBuilder::new("n").description("d").version("1").mq9_interface("mq9://broker/b");
    let value: serde_json::Value =
        serde_json::from_str(card.skills([Skill::new("s", "S", "d")]).build().unwrap().as_str()).unwrap();
    assert_eq!(value["defaultInputModes"], serde_json::json!(["text/plain"]));
    assert_eq!(value["defaultOutputModes"], serde_json::json!(["text/plain"]));
    assert_eq!(value["capabilities"], serde_json::json!({"streaming": false, "pushNotifications": false}));
}

#[test]
fn a_missing_field_is_named() {
    let plain = || CardBuilder::new("n").description("d").version("1");
    let skill = || Skill::new("s", "S", "d");
    let none: [&str; 0] = [];
    for (builder, words) in [
        (CardBuilder::new(""), "agent card: `name` is required"),
        (CardBuilder::new("n"), "agent card: `description` is required"),
        (CardBuilder::new("n").description("d"), "agent card: `version` is required"),
        (plain(), "agent card: `supportedInterfaces` is required"),
        (plain().mq9_interface(""), "agent card: `supportedInterfaces.url` is required"),
        (plain().interface("u", "", "1.0"), "agent card: `supportedInterfaces.protocolBinding` is required"),
        (plain().interface("u", "GRPC", ""), "agent card: `supportedInterfaces.protocolVersion` is required"),
        (plain().mq9_interface(URL), "agent card: `skills` is required"),
        (plain().mq9_interface(URL).skill(Skill::new("", "S", "d")), "agent card: `skills.id` is required"),
        (plain().mq9_interface(URL).skill(Skill::new("s", "", "d")), "agent card: skill `s` requires `name`"),
        (
            plain().mq9_interface(URL).skill(Skill::new("s", "S", "")),
            "agent card: skill `s` requires `description`",
        ),
        (
            plain().mq9_interface(URL).skill(skill()).skill(Skill::new("t", "T", "d")).skill(skill()),
            "agent card: two skills have the id `s`",
        ),
        (
            plain().mq9_interface(URL).skill(skill()).input_modes(none),
            "agent card: `defaultInputModes` is required",
        ),
        (
            plain().mq9_interface(URL).skill(skill()).output_modes([""]),
            "agent card: `defaultOutputModes` is required",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), words);
    }
}

#[test]
fn debug_prints_no_mailbox() {
    for name in ["card_v1.json", "card_v0_3.json", "card_hermes.json"] {
        let card = card(name);
        let printed = format!("{card:?} {:?}", card.view());
        assert!(!printed.contains(".inbox"), "{printed}");
    }
    assert!(!format!("{:?}", builder()).contains(".inbox"));
    assert!(format!("{:?}", card("card_v1.json").view()).contains("https://agents.example.org/a2a"));
}

proptest! {
    #![proptest_config(seeded(256))]

    #[test]
    fn any_unsigned_card_gains_exactly_one_interface(
        before in prop::collection::vec(foreign_member(), 0..4),
        elements in prop::collection::vec(json_text(), 0..3),
        after in prop::collection::vec(foreign_member(), 0..4),
    ) {
        let text = |elements: &str| {
            let list = format!("\"supportedInterfaces\":[{elements}]");
            let members: Vec<_> =
                before.iter().cloned().chain([list]).chain(after.iter().cloned()).collect();
            format!("{{{}}}", members.join(","))
        };
        let old = elements.join(",");
        let new = elements.iter().cloned().chain([ENTRY.to_owned()]).collect::<Vec<_>>().join(",");
        let edited = read(&text(&old)).with_interface(URL).unwrap();
        prop_assert_eq!(edited.as_str(), text(&new));
    }

    #[test]
    fn whatever_goes_into_a_builder_reads_back(
        texts in prop::collection::vec("\\PC{1,20}", 7),
        tags in prop::collection::vec("\\PC{0,8}", 0..4),
    ) {
        let skill = Skill::new(&texts[3], &texts[4], &texts[5]).with_tags(tags).with_examples([&texts[6]]);
        let card = CardBuilder::new(&texts[0]).description(&texts[1]).version(&texts[2]).mq9_interface(URL).skill(skill.clone());
        let view = card.build().unwrap().view();
        prop_assert_eq!(view.name.as_ref(), Some(&texts[0]));
        prop_assert_eq!(view.description.as_ref(), Some(&texts[1]));
        prop_assert_eq!(view.version.as_ref(), Some(&texts[2]));
        prop_assert_eq!(view.skills, vec![skill]);
    }
}
