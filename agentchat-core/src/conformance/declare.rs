//! What is declared is so.

use std::collections::BTreeSet;

use super::kit::attach;
use super::{Harness, Outcome, Skip};

/// The harness lists every reason for which cases are skipped, and no other: a list that has grown old
/// would let a promise go untested.
pub async fn declare_names_every_skip(harness: &dyn Harness) -> Outcome {
    let bob = attach(harness, "bob").await;
    let able = bob.capabilities();
    let follows = |skip: &Skip| skip.follows_from(able);
    let mut lacking: BTreeSet<_> = Skip::OF_CAPABILITIES.into_iter().filter(follows).collect();
    let able = [
        (Skip::Cut, harness.cut().await),
        (Skip::Outage, harness.outage().await),
        (Skip::Restart, {
            harness.heal().await;
            harness.restart().await
        }),
        (Skip::Stall, harness.stall().await),
        (Skip::Expire, {
            harness.heal().await;
            harness.expire().await
        }),
    ];
    harness.heal().await;
    lacking.extend(able.into_iter().filter(|(_, able)| !able).map(|(skip, _)| skip));
    let expected: BTreeSet<_> = harness.expected_skips().into_iter().collect();
    assert_eq!(expected, lacking, "the harness expects the left, and what is lacking is on the right");
    attach(harness, "bob").await;
    Outcome::Held
}

/// Every attachment of one connector has the same inbox and the same capabilities, also side by side.
pub async fn declare_the_same_on_every_attachment(harness: &dyn Harness) -> Outcome {
    let connector = harness.connector("bob").await;
    let first = connector.connect().await.expect("attached");
    let second = connector.connect().await.expect("attached");
    let other = attach(harness, "alice").await;
    assert_eq!(first.address(), second.address());
    assert_eq!(first.capabilities(), second.capabilities());
    assert_ne!(first.address(), other.address(), "another name has another inbox");
    let schemes = first.capabilities().schemes;
    assert!(schemes.contains(&first.address().scheme()), "it can send to itself: {schemes:?}");
    Outcome::Held
}
