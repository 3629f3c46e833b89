//! Text ranking without an index: how well each document answers a query by shared words.
//!
//! This is word overlap weighted by rarity, with light stemming. It knows no synonyms and no other
//! language; it is what a list of agents can be ordered by when the broker has no search.

use std::collections::{HashMap, HashSet};

/// Words that say nothing about what an agent can do.
const STOPWORDS: [&str; 36] = [
    "a", "an", "and", "are", "agent", "agents", "as", "at", "be", "by", "can", "do", "find", "for", "from",
    "have", "help", "i", "in", "is", "it", "me", "my", "need", "of", "on", "or", "please", "some", "someone",
    "that", "the", "to", "want", "who", "with",
];

/// The documents that share a word with `query`, best first: index and score, ties in input order.
///
/// A query without a single telling word ranks nothing.
pub(crate) fn rank<D: AsRef<str>>(query: &str, documents: &[D]) -> Vec<(usize, f32)> {
    let wanted: HashSet<String> = words(query).collect();
    let bags: Vec<HashSet<String>> = documents.iter().map(|text| words(text.as_ref()).collect()).collect();
    let mut spread: HashMap<&str, usize> = HashMap::new();
    for word in bags.iter().flatten() {
        *spread.entry(word).or_default() += 1;
    }
    let rarity = |word: &str| {
        let seen = spread.get(word).copied().unwrap_or(0) as f32;
        (1.0 + bags.len() as f32 / (1.0 + seen)).ln()
    };
    let mut scored: Vec<(usize, f32)> = bags
        .iter()
        .enumerate()
        .map(|(at, bag)| (at, wanted.iter().map(|word| likeness(word, bag) * rarity(word)).sum()))
        .filter(|(_, score)| *score > 0.0)
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored
}

/// 1 for the word itself, less for one that shares a long beginning.
fn likeness(word: &str, bag: &HashSet<String>) -> f32 {
    if bag.contains(word) {
        return 1.0;
    }
    let akin = |other: &String| {
        let shared = word.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        shared >= 4 && shared * 3 >= word.chars().count().max(other.chars().count()) * 2
    };
    if bag.iter().any(akin) { 0.6 } else { 0.0 }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !STOPWORDS.contains(&word.as_str()))
        .map(|word| stem(&word).to_owned())
}

/// Drops the commonest English endings from words long enough to bear it.
fn stem(word: &str) -> &str {
    for ending in ["ations", "ation", "ators", "ator", "ings", "ing", "ers", "er", "es", "ed", "s", "e"] {
        if let Some(root) = word.strip_suffix(ending)
            && root.chars().count() >= 3
        {
            return root;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::rank;

    const CARDS: [&str; 3] = [
        "Translator. Translates English and Chinese documents",
        "Coder. Writes Python programs, HTTP servers and tests",
        "Weather. Tells the forecast for a city",
    ];

    #[test]
    fn the_agent_that_can_do_it_comes_first() {
        let found = rank("find an agent that can write Python", &CARDS);
        assert_eq!(found.first().map(|hit| hit.0), Some(1));
        assert_eq!(rank("translation of a document", &CARDS).first().map(|hit| hit.0), Some(0));
    }

    #[test]
    fn a_query_that_shares_no_word_finds_nothing() {
        assert!(rank("an agent for me please", &CARDS).is_empty());
        assert!(rank("quantum chemistry", &CARDS).is_empty());
    }

    #[test]
    fn equal_scores_keep_the_order_of_the_list() {
        assert_eq!(rank("python", &["python", "python"]).iter().map(|hit| hit.0).collect::<Vec<_>>(), [0, 1]);
    }
}
