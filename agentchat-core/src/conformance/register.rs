//! `register`, `unregister`, `report`.

use std::time::Duration;

use super::kit::{attach, findable, pair, require, unique};
use super::{Harness, Outcome};
use crate::card::AgentCard;
use crate::directory::{Heartbeat, Query};

/// A registered agent is found by its name, with an address that reaches it.
pub async fn register_makes_an_agent_discoverable_by_name(harness: &dyn Harness) -> Outcome {
    let (asker, coder) = pair(harness).await;
    require!(coder; Directory);
    let name = findable(&coder, "coder");
    coder.register(&card(&name, "Writes programs")).await.expect("registered");
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
    require!(coder; Directory);
    let name = findable(&coder, "coder");
    coder.register(&card(&name, "the first card")).await.expect("registered");
    coder.register(&card(&name, "the second card")).await.expect("registered again");
    let found = coder.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1);
    let text = String::from_utf8_lossy(&found.agents[0].card).into_owned();
    assert!(text.contains("the second card"), "{text}");
    coder.unregister().await.expect("unregistered");
    Outcome::Held
}

/// Registering under a name that another agent holds replaces it: the name leads to the new inbox.
pub async fn register_replaces_whoever_holds_the_name(harness: &dyn Harness) -> Outcome {
    let (first, second) = pair(harness).await;
    require!(first; Directory, Cards);
    let name = unique("coder");
    first.register(&card(&name, "the first one")).await.expect("registered");
    second.register(&card(&name, "the second one")).await.expect("registered in its place");
    let found = first.discover(&Query::name(&name)).await.expect("an answer");
    let inboxes: Vec<_> = found.agents.iter().map(|agent| agent.address.as_ref()).collect();
    assert_eq!(inboxes, [Some(second.address())]);
    second.unregister().await.expect("unregistered");
    Outcome::Held
}

/// An unregistered agent is not found any more; unregistering twice is fine.
pub async fn unregister_takes_an_agent_out_of_the_directory(harness: &dyn Harness) -> Outcome {
    let coder = attach(harness, "coder").await;
    require!(coder; Directory, Cards);
    let name = unique("coder");
    coder.register(&card(&name, "Writes programs")).await.expect("registered");
    coder.unregister().await.expect("unregistered");
    coder.unregister().await.expect("twice is fine");
    assert!(coder.discover(&Query::name(&name)).await.expect("an answer").agents.is_empty());
    Outcome::Held
}

/// Unregistering takes out the agent's own entry and no other: also not that of whoever took its name.
pub async fn unregister_leaves_others_in_the_directory(harness: &dyn Harness) -> Outcome {
    let (first, second) = pair(harness).await;
    require!(first; Directory, Cards);
    let (taken, other) = (unique("taken"), unique("other"));
    first.register(&card(&taken, "the first one")).await.expect("registered");
    second.register(&card(&taken, "the second one")).await.expect("registered in its place");
    first.unregister().await.expect("there is nothing left of it");
    let found = first.discover(&Query::name(&taken)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1, "the name belongs to another one now");
    first.register(&card(&other, "the first one again")).await.expect("registered");
    second.unregister().await.expect("unregistered");
    let found = second.discover(&Query::name(&other)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1);
    first.unregister().await.expect("unregistered");
    Outcome::Held
}

/// A heartbeat makes an agent count as alive; one that never reported does not.
pub async fn report_can_be_read_by_others(harness: &dyn Harness) -> Outcome {
    let (coder, other) = pair(harness).await;
    require!(coder; ReadableStatus);
    let (busy, silent) = (unique("busy"), unique("silent"));
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

pub(super) fn card(name: &str, description: &str) -> AgentCard {
    AgentCard::new(name, description).expect("a valid card")
}
