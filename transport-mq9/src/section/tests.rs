//! The section as hosts write it, and as they should not.

use agentchat_core::ErrorKind;

use super::*;

fn read(text: &str) -> Result<Mq9Section> {
    serde_json::from_str(text).map_err(|error| Error::new(ErrorKind::Config, "test", error.to_string()))
}

fn env(variables: &[(&str, &str)]) -> EnvReader {
    EnvReader::of(variables.iter().copied())
}

/// All that hosts are known to write.
const SECTION: &str = r#"{
    "broker": "mq9://broker.internal:4332", "agent_id": "Coder-Prod-001", "ttl": 600,
    "capabilities": {"streaming": true, "push_notifications": true},
    "agent_card": {
        "name": "Night coder", "description": "Writes programs while people sleep",
        "skills": [{"id": "rust", "name": "Rust programs", "description": "Writes programs in Rust",
            "tags": ["rust"], "examples": ["a web server"]}]
    }
}"#;

#[test]
fn the_section_says_where_who_and_for_how_long() {
    let section = read(SECTION).expect("fine");
    assert!(section.is_enabled());
    assert_eq!(section.agent_id(), Some("Coder-Prod-001"));
    assert_eq!(section.ttl(), Duration::from_secs(600));
    assert_eq!(section.heartbeat(), Duration::from_secs(200));
    assert!(!section.keeps_inbox());
    let connector = section.builder().expect("fine").expect("on").build().expect("usable");
    let address = connector.address().as_str().to_owned();
    assert!(address.starts_with("mq9://broker.internal:4332/coder.prod.001."), "{address}");
}

#[test]
fn the_card_is_what_was_generated_with_what_the_section_says_in_its_place() {
    let inbox = Address::of("mq9", "broker.internal:4332/coder").expect("an address");
    let generated = || CardBuilder::from_toolsets("plain", []).description("An agent").version("2.1.0");
    let card = read(SECTION).expect("fine").card(generated(), &inbox).expect("a card");
    let text = String::from_utf8(card.document().to_vec()).expect("UTF-8");
    assert_eq!((card.name(), card.description()), ("Night coder", "Writes programs while people sleep"));
    for member in [
        r#""streaming":true"#,
        r#""pushNotifications":true"#,
        r#""version":"2.1.0""#,
        r#""id":"rust""#,
        r#""url":"mq9://broker.internal:4332/coder""#,
        "a web server",
    ] {
        assert!(text.contains(member), "no {member} in {text}");
    }
    let plain = Mq9Section::default().card(generated(), &inbox).expect("a card");
    assert_eq!((plain.name(), plain.description()), ("plain", "An agent"));
    let error = Mq9Section::default().card(CardBuilder::new("plain"), &inbox).expect_err("no description");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("description"), "{error}");
}

#[test]
fn without_a_broker_nothing_is_on_whatever_else_is_set_and_no_broker_is_a_default() {
    for text in [
        "{}",
        "null",
        r#"{"broker": null}"#,
        r#"{"broker": ""}"#,
        r#"{"agent_id": "a", "ttl": 600, "inbox": "a.b", "token": "t"}"#,
    ] {
        let section = read(text).expect(text);
        assert!(!section.is_enabled() && section.builder().expect("fine").is_none(), "{text}");
        let section = section.with_env(&env(&[("MQ9_TOKEN", "t"), ("MQ9_AGENT_ID", "b")])).expect("fine");
        assert!(section.builder().expect("fine").is_none(), "{text}");
    }
    assert_eq!(read("{}").expect("fine").ttl(), Duration::from_secs(300));
}

#[tokio::test]
async fn an_agent_of_a_section_without_a_broker_starts_and_is_off() {
    let section = read(r#"{"agent_id": "a"}"#).expect("fine");
    let connector = section.builder().expect("fine").map(Mq9ConnectorBuilder::build).transpose();
    let agent = agentchat_core::Agent::builder(connector.expect("fine")).start().await.expect("started");
    assert!(!agent.is_enabled());
}

#[test]
fn a_section_with_a_broker_says_whose_it_is() {
    let section = read(r#"{"broker": "mq9://b"}"#).expect("fine");
    let error = section.builder().expect_err("whose?");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("mq9.agent_id is missing"), "{error}");
    let section = section.with_env(&env(&[("MQ9_AGENT_ID", "a")])).expect("fine");
    assert!(section.builder().expect("the environment says it").is_some());
}

#[test]
fn the_environment_goes_before_the_file_and_leaves_what_it_does_not_name() {
    let file = r#"{"broker": "mq9://file:1111", "agent_id": "file", "ttl": 600, "user": "u", "password": "p",
        "inbox_file": "/file/inbox", "group": "file", "partition": "0/2"}"#;
    let section = read(file).expect("fine").with_env(&env(&[])).expect("fine");
    assert_eq!((section.agent_id(), section.ttl().as_secs()), (Some("file"), 600));
    assert!(section.keeps_inbox());
    let over = env(&[
        ("MQ9_URL", "mq9://env:2222"),
        ("MQ9_TTL", "30"),
        ("MQ9_TOKEN", "t"),
        ("MQ9_INBOX", "from.env"),
        ("MQ9_PARTITION", "1/2"),
    ]);
    let section = section.with_env(&over).expect("two logins of two places do not exclude each other");
    assert_eq!((section.agent_id(), section.ttl().as_secs()), (Some("file"), 30));
    assert!(matches!(section.layer.login, Some(Login::Token(_))), "the login is one thing");
    assert_eq!((section.layer.group.as_deref(), section.layer.partition), (Some("file"), Some((1, 2))));
    let connector = section.builder().expect("fine").expect("on").build().expect("usable");
    assert_eq!(connector.address().as_str(), "mq9://env:2222/from.env");
    // The other way round: a generated inbox in place of a named one.
    let named = read(r#"{"broker": "mq9://b", "agent_id": "a", "inbox": "from.file"}"#).expect("fine");
    let section = named.with_env(&env(&[("MQ9_INBOX_PREFIX", "env")])).expect("fine");
    let connector = section.builder().expect("fine").expect("on").build().expect("usable");
    assert!(connector.address().name().starts_with("env."), "{}", connector.address().name());
}

#[test]
fn each_bad_value_is_named_by_its_path_and_none_is_shown() {
    for (text, path) in [
        (r#"{"broker": "SECRET"}"#, "mq9.broker cannot be used"),
        (r#"{"broker": 4711}"#, "mq9.broker must be a text"),
        (r#"{"broker": "mq9://u:SECRET@/x"}"#, "mq9.broker cannot be used"),
        (r#"{"agent_id": ["SECRET"]}"#, "mq9.agent_id must be a text"),
        (r#"{"ttl": "SECRET"}"#, "mq9.ttl must be a whole number, 3 to 604800"),
        (r#"{"ttl": 0}"#, "mq9.ttl must be a whole number, 3 to 604800"),
        (r#"{"ttl": 1.5}"#, "mq9.ttl must be"),
        (r#"{"ttl": -4711}"#, "mq9.ttl must be"),
        (r#"{"user": "SECRET"}"#, "mq9.password must be set beside mq9.user"),
        (r#"{"password": "SECRET"}"#, "mq9.user must be set beside mq9.password"),
        (r#"{"password": 4711, "user": "u"}"#, "mq9.password must be a text"),
        (r#"{"token": "SECRET", "nkey_seed": "SECRET"}"#, "mq9.token excludes mq9.nkey_seed"),
        (r#"{"inbox": "SECRET box"}"#, "mq9.inbox cannot be used"),
        (r#"{"inbox": "a.b", "inbox_file": "SECRET"}"#, "mq9.inbox excludes mq9.inbox_file"),
        (r#"{"inbox": "a.b", "inbox_prefix": "c"}"#, "mq9.inbox excludes mq9.inbox_prefix"),
        (r#"{"inbox_prefix": "SECRET box"}"#, "mq9.inbox_prefix cannot be used"),
        (r#"{"partition": "4/4"}"#, "mq9.partition cannot be used"),
        (r#"{"capabilities": "SECRET"}"#, "mq9.capabilities must be a section"),
        (r#"{"capabilities": {"streaming": "SECRET"}}"#, "mq9.capabilities.streaming must be true or false"),
        (r#"{"capabilities": {"swimming": "SECRET"}}"#, "mq9.capabilities.swimming is not known"),
        (r#"{"agent_card": {"name": 4711}}"#, "mq9.agent_card.name must be a text"),
        (r#"{"agent_card": {"skills": {}}}"#, "mq9.agent_card.skills must be a list"),
        (r#"{"agent_card": {"skills": [{"id": 4711}]}}"#, "mq9.agent_card.skills[0].id must be a text"),
        (r#"{"agent_card": {"skills": [{"name": "SECRET"}]}}"#, "mq9.agent_card.skills[0].id is missing"),
        (r#"{"agent_card": {"nmae": "SECRET"}}"#, "mq9.agent_card.nmae is not known"),
        (r#"{"brokre": "SECRET"}"#, "mq9.brokre is not known"),
        (r#""SECRET""#, "a section of keys and values"),
    ] {
        let shown = read(text).expect_err(text).to_string();
        assert!(shown.contains(path), "{text}: {shown}");
        assert!(!shown.contains("SECRET") && !shown.contains("4711"), "{text}: {shown}");
    }
    for (name, value) in [("MQ9_TTL", "SECRET"), ("MQ9_TTL", "2"), ("MQ9_URL", "SECRET")] {
        let error = Mq9Section::default().with_env(&env(&[(name, value)])).expect_err(value);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(name) && !shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn the_section_prints_without_what_guards_something() {
    let text = r#"{"broker": "mq9://u:SECRET@b", "agent_id": "a", "token": "SECRET", "inbox": "secretbox"}"#;
    let shown = format!("{:?}", read(text).expect("fine"));
    assert!(shown.contains("agent_id"), "{shown}");
    assert!(!shown.contains("SECRET") && !shown.contains("secretbox"), "{shown}");
}
