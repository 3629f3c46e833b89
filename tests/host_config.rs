//! A host's own YAML, with a section for each network: what is in it is used, what is wrong in it is named.

use agentchat_core::EnvReader;
use serde::Deserialize;
use transport_mq9::Mq9Section;
use transport_ws::AgentChatSection;

#[derive(Debug, Deserialize)]
struct Host {
    #[serde(default)]
    mq9: Mq9Section,
    #[serde(default)]
    agentchat: AgentChatSection,
}

const FILE: &str = include_str!("../examples/host_config.yaml");

fn read(yaml: &str) -> Result<Host, String> {
    // What this reader says otherwise quotes the lines around a fault, whatever is in them.
    serde_saphyr::from_str(yaml).map_err(|error: serde_saphyr::Error| error.without_snippet().to_string())
}

fn nothing() -> EnvReader {
    EnvReader::of([("NOTHING", "")])
}

#[test]
fn the_sections_of_a_hosts_file_are_read_and_the_hosts_own_keys_are_its_own() {
    let host = read(FILE).expect("fine");
    assert_eq!((host.mq9.agent_id(), host.mq9.ttl().as_secs()), (Some("coder-prod-001"), 600));
    let connector = host.mq9.builder().expect("fine").expect("on").build().expect("usable");
    let address = connector.address().as_str();
    assert!(address.starts_with("mq9://broker.internal:4332/coder.prod.001."), "{address}");
    assert_eq!((host.agentchat.handle(), host.agentchat.is_enabled()), (Some("night-coder"), false));
}

#[test]
fn a_file_without_sections_or_with_empty_ones_turns_nothing_on() {
    for yaml in ["plugins: {enabled: [mq9]}", "mq9:\nagentchat:\n", "mq9: {}\nagentchat: {}", "mq9: ~"] {
        let host = read(yaml).expect(yaml);
        assert!(!host.mq9.is_enabled() && !host.agentchat.is_enabled(), "{yaml}");
        let (mq9, chat) = (host.mq9.with_env(&nothing()), host.agentchat.with_env(&nothing()));
        assert!(mq9.expect("fine").builder().expect("fine").is_none(), "{yaml}");
        assert!(chat.expect("fine").config().expect("fine").is_none(), "{yaml}");
    }
}

#[test]
fn what_is_wrong_in_yaml_is_named_by_its_path_and_not_shown() {
    for (yaml, path) in [
        ("mq9: {broker: SECRET}", "mq9.broker cannot be used"),
        ("mq9: {broker: 4711}", "mq9.broker must be a text: put it between quotation marks"),
        ("mq9: {agent_id: true}", "mq9.agent_id must be a text"),
        ("mq9: {ttl: SECRET}", "mq9.ttl must be a whole number"),
        ("mq9: {ttl: 0x126700}", "mq9.ttl"),
        ("mq9: {token: 4711}", "mq9.token must be a text"),
        ("mq9: {password: [SECRET]}", "mq9.password must be a text"),
        ("mq9: {agent_card: {skills: [{id: a}]}}", "mq9.agent_card.skills[0].name is missing"),
        (
            "mq9: {agent_card: {skills: [{id: a, name: b, description: c, tag: x}]}}",
            "skills[0].tag is not known",
        ),
        ("mq9: {brokre: SECRET}", "mq9.brokre is not known"),
        ("mq9: SECRET", "a section of keys and values is expected"),
        ("agentchat: {api_key: 4711}", "agentchat.api_key must be a text"),
        ("agentchat: {api_key: ac_SECRET}", "agentchat.api_key cannot be used"),
        ("agentchat: {hande: SECRET}", "agentchat.hande is not known"),
        ("agentchat: {invitations: SECRET}", "agentchat.invitations cannot be used"),
    ] {
        let shown = read(yaml).expect_err(yaml);
        assert!(shown.contains(path), "{yaml}: {shown}");
        assert!(!shown.contains("SECRET") && !shown.contains("4711"), "{shown}");
    }
}
