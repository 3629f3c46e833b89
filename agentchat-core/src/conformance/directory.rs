//! `register`, `unregister`, `discover`, `report`.

use std::time::Duration;

use super::{Harness, Outcome, attach};
use crate::card::AgentCard;
use crate::directory::{Heartbeat, Query, SearchRan};

/// A registered agent is found by its name, with an address that reaches it.
pub async fn register_makes_an_agent_discoverable_by_name(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let name = unique("coder");
    coder.register(&card(&name, "Writes programs")).await.expect("registered");
    let asker = attach(harness, "asker").await;
    let found = asker.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1, "exactly one agent has this name");
    assert_eq!(found.agents[0].name, name);
    assert_eq!(found.agents[0].address.as_ref(), Some(coder.address()));
    coder.unregister().await.expect("unregistered");
    Outcome::Held
}

/// Registering again under the same name replaces the card.
pub async fn register_replaces_the_card_of_the_same_name(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let name = unique("coder");
    coder.register(&card(&name, "the first card")).await.expect("registered");
    coder.register(&card(&name, "the second card")).await.expect("registered again");
    let found = coder.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1);
    let text = String::from_utf8_lossy(&found.agents[0].card).into_owned();
    assert!(text.contains("the second card"), "{text}");
    coder.unregister().await.expect("unregistered");
    Outcome::Held
}

/// An unregistered agent is not found any more; unregistering twice is fine.
pub async fn unregister_takes_an_agent_out_of_the_directory(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let name = unique("coder");
    coder.register(&card(&name, "Writes programs")).await.expect("registered");
    coder.unregister().await.expect("unregistered");
    coder.unregister().await.expect("twice is fine");
    assert!(coder.discover(&Query::name(&name)).await.expect("an answer").agents.is_empty());
    Outcome::Held
}

/// A tag matches whole and with its case, on the card or on a skill.
pub async fn discover_by_tag_is_exact(harness: &dyn Harness) -> Outcome {
    let one = attach(harness, "one").await;
    if !one.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let (first, second) = (unique("one"), unique("two"));
    let tag = unique("python");
    let on_skill = format!(
        r#"{{"name":"{first}","description":"d","version":"1","skills":[{{"id":"s","name":"s","description":"d","tags":["{tag}"]}}]}}"#
    );
    let near = format!(
        r#"{{"name":"{second}","description":"d","version":"1","skills":[{{"id":"s","name":"s","description":"d","tags":["{tag}x","{}"]}}]}}"#,
        tag.to_uppercase()
    );
    let two = attach(harness, "two").await;
    one.register(&AgentCard::from_json(on_skill).expect("card")).await.expect("registered");
    two.register(&AgentCard::from_json(near).expect("card")).await.expect("registered");
    let found = one.discover(&Query::tag(&tag)).await.expect("an answer");
    let names: Vec<_> = found.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, [first.as_str()]);
    assert_eq!(found.ran, SearchRan::Exact);
    one.unregister().await.expect("unregistered");
    two.unregister().await.expect("unregistered");
    Outcome::Held
}

/// A sentence finds the agent whose card says it can do that, and the answer says which search ran.
pub async fn discover_by_meaning_finds_who_can_do_it(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let (coding, weather) = (unique("coder"), unique("weather"));
    let other = attach(harness, "other").await;
    coder.register(&card(&coding, "Writes Python programs such as servers")).await.expect("registered");
    other.register(&card(&weather, "Tells the forecast of a city")).await.expect("registered");
    let query = Query::meaning("find an agent that can write Python").with_limit(100);
    let found = coder.discover(&query).await.expect("an answer");
    let place = |name: &str| found.agents.iter().position(|agent| agent.name == name);
    let best = place(&coding).expect("the coder is found");
    assert!(place(&weather).is_none_or(|other| other > best), "the coder comes before the weather agent");
    assert_eq!(found.ran == SearchRan::NetworkMeaning, coder.capabilities().semantic_search);
    coder.unregister().await.expect("unregistered");
    other.unregister().await.expect("unregistered");
    Outcome::Held
}

/// A card comes back as it went in: unknown members, their order, and the form of numbers.
pub async fn discover_returns_the_card_byte_for_byte(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().directory {
        return Outcome::Skipped("the network has no directory");
    }
    let name = unique("coder");
    let document =
        format!(r#"{{ "x-unknown":{{"z":1.50,"a":[1e3]}}, "name":"{name}","description":"caf\u00e9 é" }}"#);
    coder.register(&AgentCard::from_json(document.clone()).expect("card")).await.expect("registered");
    let found = coder.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&found.agents[0].card), document);
    coder.unregister().await.expect("unregistered");
    Outcome::Held
}

/// A heartbeat makes an agent count as alive; one that never reported does not.
pub async fn report_can_be_read_by_others(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    if !coder.capabilities().readable_status {
        return Outcome::Skipped("others cannot read an agent's status on this network");
    }
    let (busy, silent) = (unique("busy"), unique("silent"));
    let other = attach(harness, "other").await;
    coder.register(&card(&busy, "Reports")).await.expect("registered");
    other.register(&card(&silent, "Does not report")).await.expect("registered");
    let mut heartbeat = Heartbeat::new("online", Duration::from_secs(60));
    heartbeat.active_tasks = 3;
    coder.report(&heartbeat).await.expect("reported");
    let alive = other.discover(&Query::name(&busy).alive_only()).await.expect("an answer");
    let status = alive.agents[0].status.as_ref().expect("a status");
    assert_eq!((status.status.as_str(), status.active_tasks, status.alive), ("online", 3, true));
    let gone = other.discover(&Query::name(&silent).alive_only()).await.expect("an answer");
    assert!(gone.agents.is_empty(), "an agent that never reported is not known to be alive");
    coder.unregister().await.expect("unregistered");
    other.unregister().await.expect("unregistered");
    Outcome::Held
}

fn card(name: &str, description: &str) -> AgentCard {
    AgentCard::new(name, description).expect("a valid card")
}

/// A name no other run has used, since some directories keep what they were given.
pub(super) fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}
