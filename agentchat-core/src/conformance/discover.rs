//! `discover`.

use super::kit::{attach, findable, pair, require, unique};
use super::register::card;
use super::{Harness, Outcome};
use crate::card::AgentCard;
use crate::directory::{Query, SearchRan};

/// A tag matches whole and with its case, on the card or on a skill.
pub async fn discover_by_tag_is_exact(harness: &dyn Harness) -> Outcome {
    let (one, two) = pair(harness).await;
    require!(one; Directory, Cards);
    let tag = unique("python");
    let (first, second) = (unique("one"), unique("two"));
    let near = [format!("{tag}x"), tag.to_uppercase()];
    one.register(&card_with_skill(&first, &[&tag])).await.expect("registered");
    two.register(&card_with_skill(&second, &[&near[0], &near[1]])).await.expect("registered");
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
    let (coder, other) = pair(harness).await;
    require!(coder; Directory, Cards);
    let (coding, weather) = (unique("coder"), unique("weather"));
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
    require!(coder; Directory, Cards);
    let name = unique("coder");
    let document =
        format!(r#"{{ "x-unknown":{{"z":1.50,"a":[1e3]}}, "name":"{name}","description":"caf\u00e9 é" }}"#);
    coder.register(&AgentCard::from_json(document.clone()).expect("card")).await.expect("registered");
    let found = coder.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&found.agents[0].card), document);
    coder.unregister().await.expect("unregistered");
    Outcome::Held
}

/// An answer that finds nobody is empty, not an error.
pub async fn discover_of_nobody_is_empty(harness: &dyn Harness) -> Outcome {
    let asker = attach(harness, "asker").await;
    require!(asker; Directory);
    let mut queries = vec![Query::name(unique("nobody"))];
    // Tags are on cards.
    if asker.capabilities().cards {
        queries.push(Query::tag(unique("nothing")));
    }
    for query in queries {
        let found = asker.discover(&query).await.expect("an answer");
        assert!(found.agents.is_empty(), "{query:?} finds {:?}", found.agents);
    }
    Outcome::Held
}

/// No more agents are returned than were asked for.
pub async fn discover_gives_no_more_than_asked_for(harness: &dyn Harness) -> Outcome {
    let (one, two) = pair(harness).await;
    require!(one; Directory);
    let tag = unique("shared");
    let (first, second) = (findable(&one, "one"), findable(&two, "two"));
    one.register(&card_with_skill(&first, &[&tag])).await.expect("registered");
    two.register(&card_with_skill(&second, &[&tag])).await.expect("registered");
    // Where there are no cards there are no tags that two of them share.
    let (query, both) = match one.capabilities().cards {
        true => (Query::tag(&tag), 2),
        false => (Query::name(&first), 1),
    };
    for (limit, expected) in [(0, 0), (1, 1), (2, both), (100, both)] {
        let found = one.discover(&query.clone().with_limit(limit)).await.expect("an answer");
        assert_eq!(found.agents.len(), expected, "at most {limit}");
    }
    one.unregister().await.expect("unregistered");
    two.unregister().await.expect("unregistered");
    Outcome::Held
}

fn card_with_skill(name: &str, tags: &[&str]) -> AgentCard {
    let tags: Vec<String> = tags.iter().map(|tag| format!("{tag:?}")).collect();
    let card = format!(
        r#"{{"name":"{name}","description":"d","version":"1","skills":[{{"id":"s","name":"s","description":"d","tags":[{}]}}]}}"#,
        tags.join(",")
    );
    AgentCard::from_json(card).expect("card")
}
