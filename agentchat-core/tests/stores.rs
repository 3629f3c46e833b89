//! What stores promise, run over every store.
#![cfg(all(feature = "conformance", feature = "store-redb"))]

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use agentchat_core::store::testing as cases;
use agentchat_core::store::{
    Cursor, CursorStore, DedupStore, DurableStore, MemoryStore, OutboxStore, ParkedReason, StoreLimits,
    StoredSend,
};
use agentchat_core::{Address, Body, ClientMsgId, ErrorKind, Outbound, Reached};
use proptest::prelude::*;

const MAX: usize = 7;
const MAX_BYTES: u64 = 10_000;
const MAX_AGE: Duration = Duration::from_secs(60);

/// A path for one store, emptied at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.store", ClientMsgId::random())))
    }

    async fn open(&self, limits: StoreLimits) -> DurableStore {
        DurableStore::open_with(&self.0, limits).await.expect("opened")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn roomy() -> StoreLimits {
    StoreLimits::default()
}

fn few() -> StoreLimits {
    roomy().with_max_sends(MAX).with_max_cursors(MAX).with_max_settled(MAX)
}

fn light() -> StoreLimits {
    roomy().with_max_send_bytes(MAX_BYTES)
}

fn brief() -> StoreLimits {
    roomy().with_max_settled_age(MAX_AGE)
}

macro_rules! over_every_store {
    ($($case:ident($limits:expr $(, $argument:expr)?);)*) => {
        mod memory {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    cases::$case(&MemoryStore::with_limits($limits) $(, $argument)?).await;
                }
            )*
        }

        mod durable {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let place = Place::new();
                    cases::$case(&place.open($limits).await $(, $argument)?).await;
                }
            )*
        }
    };
}

over_every_store! {
    outbox_keeps_every_part_of_a_message(roomy());
    outbox_keeps_its_order(roomy());
    outbox_knows_one_content_per_id(roomy());
    outbox_forgets_what_is_removed(roomy());
    outbox_parks_and_returns(roomy());
    outbox_refuses_what_exceeds_its_count(few(), MAX);
    outbox_refuses_what_exceeds_its_bytes(light(), MAX_BYTES);
    outbox_takes_many_at_once(roomy());
    cursors_are_the_last_ones_set(roomy());
    cursors_are_listed_by_prefix(roomy());
    cursors_outside_the_rule_are_refused(roomy());
    cursors_are_bounded(few(), MAX);
    settled_ids_are_known_and_ordered(roomy());
    settled_ids_keep_their_latest_time(roomy());
    settled_ids_are_bounded_by_count(few(), MAX);
    settled_ids_are_bounded_by_age(brief(), MAX_AGE);
    settled_ids_outside_the_rule_are_refused(roomy());
}

#[tokio::test]
async fn a_durable_store_holds_everything_after_a_restart() {
    let place = Place::new();
    let store = place.open(roomy()).await;
    cases::outbox_before_a_restart(&store).await;
    cases::positions_before_a_restart(&store, &store).await;
    store.close().await.expect("closed");
    let store = place.open(roomy()).await;
    cases::outbox_after_a_restart(&store).await;
    cases::positions_after_a_restart(&store, &store).await;
}

#[tokio::test]
async fn limits_that_were_lowered_keep_what_is_there() {
    let place = Place::new();
    let store = place.open(roomy()).await;
    cases::outbox_before_a_restart(&store).await;
    drop(store);
    let store = place.open(roomy().with_max_sends(1)).await;
    let loaded = store.load().await.expect("loaded");
    assert_eq!(loaded.len(), 3);
    store.save(&loaded[0].clone().with_attempts(9)).await.expect("it has its room");
    assert!(store.save(&message(99, 0)).await.is_err());
}

/// One step of a store's life.
#[derive(Debug, Clone)]
enum Step {
    Save(u8, u64, u32),
    SaveOther(u8),
    Remove(u8),
    Park(u8),
    Unpark(u8),
    Set(u8, u8),
    Clear(u8),
    Insert(u8, u64),
    Forget(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0_u8..10;
    let step = prop_oneof![
        4 => (id.clone(), 0_u64..4, 0_u32..3).prop_map(|(id, at, attempts)| Step::Save(id, at, attempts)),
        1 => id.clone().prop_map(Step::SaveOther),
        2 => id.clone().prop_map(Step::Remove),
        2 => id.clone().prop_map(Step::Park),
        1 => id.clone().prop_map(Step::Unpark),
        2 => (id.clone(), any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
        1 => id.clone().prop_map(Step::Clear),
        3 => (0_u8..20, 0_u64..100_000).prop_map(|(id, at)| Step::Insert(id, at)),
        1 => (0_u64..100_000).prop_map(Step::Forget),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_durable_store_answers_like_the_one_in_memory(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let limits = few().with_max_settled_age(MAX_AGE);
            let (place, memory) = (Place::new(), MemoryStore::with_limits(limits));
            let mut durable = place.open(limits).await;
            for step in &steps {
                if matches!(step, Step::Restart) {
                    durable.close().await.expect("closed");
                    durable = place.open(limits).await;
                }
                assert_eq!(apply(&memory, step).await, apply(&durable, step).await, "after {step:?}");
            }
        });
    }
}

/// Does `step` and tells what came of it, with everything that the store then holds.
async fn apply<S: OutboxStore + CursorStore + DedupStore>(store: &S, step: &Step) -> String {
    let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(millis);
    let name = |id: u8| message(id, 0).id().clone();
    let outcome = match step {
        Step::Save(id, position, attempts) => {
            store.save(&message(*id, *position).with_attempts(*attempts)).await
        }
        Step::SaveOther(id) => {
            let mut other = message(*id, 0);
            other.message.body = Body::text("another");
            store.save(&other).await
        }
        Step::Remove(id) => store.remove(&name(*id)).await,
        Step::Park(id) => {
            let reason = ParkedReason::new(ErrorKind::Timeout, Reached::Unknown, "late", at(1));
            store.park(&name(*id), &reason).await
        }
        Step::Unpark(id) => store.unpark(&name(*id)).await.map(drop),
        Step::Set(key, value) => store.set(&key.to_string(), &Cursor::new(vec![*value])).await,
        Step::Clear(key) => store.clear(&key.to_string()).await,
        Step::Insert(id, millis) => store.insert(&id.to_string(), at(*millis)).await,
        Step::Forget(millis) => store.forget_older_than(at(*millis)).await,
        Step::Restart => Ok(()),
    };
    let mut cursors = Vec::new();
    for key in 0..10_u8 {
        cursors.push(store.get(&key.to_string()).await.expect("read").map(|cursor| cursor.bytes().clone()));
    }
    let outcome = outcome.map_err(|error| (error.kind(), error.advice(), error.to_string()));
    let (outbox, parked) = (store.load().await.expect("read"), store.parked().await.expect("read"));
    let settled = store.newest(usize::MAX).await.expect("read");
    format!("{outcome:?} {outbox:?} {parked:?} {cursors:?} {settled:?}")
}

fn message(id: u8, position: u64) -> StoredSend {
    let to = Address::parse("loopback://somebody").expect("valid");
    let name = ClientMsgId::new(format!("m-{id}")).expect("valid");
    StoredSend::new(position, Outbound::new(to, Body::text(format!("body {id}"))).with_id(name))
}
