//! The conformance suite: what every transport must do, as ordinary functions.
//!
//! Give [`conformance_tests!`](crate::conformance_tests) a [`Harness`] and it expands to one test per
//! case. A case that needs a capability the transport does not declare, or a fault the harness cannot
//! make, is skipped and prints why.
//!
//! The cases hold a transport to what its capabilities declare and to nothing more: without a durable
//! inbox no message is sent before somebody reads, without an order none is expected.
//!
//! The names of the cases and the [`Harness`] trait follow semantic versioning; *adding* a case is a
//! minor change.

mod agent;
mod directory;
mod inbox;
mod send;

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;

pub use agent::*;
pub use directory::*;
pub use inbox::*;
pub use send::*;

use crate::delivery::Delivery;
use crate::options::SubscribeOptions;
use crate::transport::{Connector, Event, EventStream, Transport};

/// What the suite needs of a network under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A connector for the agent `name` of this harness. The same name must lead to the same inbox, and
    /// a name used in two harnesses to two inboxes.
    async fn connector(&self, name: &str) -> Arc<dyn Connector>;

    /// Cuts every connection, if the harness can; connecting again must work.
    async fn cut(&self) -> bool {
        false
    }
}

/// How a case ended. A failed one panics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// It ran, and what it promises held.
    Held,
    /// It does not apply: why.
    Skipped(&'static str),
}

/// Runs a case with a limit of a minute, printing its name when it was skipped.
pub async fn run(name: &str, case: impl Future<Output = Outcome>) {
    match tokio::time::timeout(Duration::from_secs(60), case).await {
        Ok(Outcome::Held) => {}
        Ok(Outcome::Skipped(why)) => print_skipped(name, why),
        Err(_) => panic!("{name} did not end within a minute"),
    }
}

/// Says that a case was skipped, past the test runner, which hides what passing tests print.
pub fn print_skipped(name: &str, why: &str) {
    // In one write, so that cases that run side by side do not mix their lines.
    let _ = std::io::stderr().write_all(format!("skipped {name}: {why}\n").as_bytes());
}

/// Expands to one `#[tokio::test]` per case of the suite. The argument is an expression that makes a
/// fresh [`Harness`](crate::conformance::Harness); it may `await`. With `optional` before it, it makes an
/// `Option` of one, and `None` skips the cases.
#[macro_export]
macro_rules! conformance_tests {
    (optional $harness:expr) => {
        $crate::conformance_tests!(@all $harness);
    };
    (@all $harness:expr) => {
        $crate::conformance_tests!(@each $harness;
            register_makes_an_agent_discoverable_by_name
            register_replaces_the_card_of_the_same_name
            unregister_takes_an_agent_out_of_the_directory
            discover_by_tag_is_exact
            discover_by_meaning_finds_who_can_do_it
            discover_returns_the_card_byte_for_byte
            report_can_be_read_by_others
            send_delivers_every_part_of_a_message
            send_carries_binary_bodies_unchanged
            send_to_nobody_is_refused
            send_of_too_large_a_body_is_refused_before_it_is_sent
            send_repeated_is_recognised_where_the_network_says_so
            send_repeated_under_one_id_is_handled_once
            subscribe_gives_the_backlog_in_order_before_it_is_caught_up
            subscribe_delivers_urgent_messages_first
            subscribe_stops_taking_in_when_too_much_is_unsettled
            subscribe_again_gives_what_is_unsettled
            subscribe_opens_a_fresh_inbox
            subscribe_reads_an_existing_inbox_again
            ack_settles_for_good
            ack_of_nothing_leaves_everything_to_come_again
            put_keeps_the_newest_value
            a_cut_ends_the_attachment_and_loses_nothing
            a_cut_is_survived_and_loses_nothing
            close_ends_subscriptions_and_may_be_repeated
            call_gets_its_replies_in_order
            call_ends_by_its_deadline
            serve_tries_a_failed_message_again
            close_detached_keeps_the_agent_findable
            close_retired_takes_it_out_of_the_directory
        );
    };
    (@each $harness:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                match $harness {
                    Some(harness) => {
                        let case = $crate::conformance::$case(&harness);
                        $crate::conformance::run(stringify!($case), case).await;
                    }
                    None => $crate::conformance::print_skipped(stringify!($case), "there is no network to test"),
                }
            }
        )*
    };
    ($harness:expr) => {
        $crate::conformance_tests!(@all Some($harness));
    };
}

/// Attaches `name` to the network under test.
async fn attach(harness: &dyn Harness, name: &str) -> Arc<dyn Transport> {
    harness.connector(name).await.connect().await.expect("the network under test accepts connections")
}

/// Subscribes to the agent's own inbox.
async fn read_own(transport: &Arc<dyn Transport>) -> EventStream {
    transport.subscribe(SubscribeOptions::own()).await.expect("the own inbox can be read").events
}

/// The next message; other events are passed over.
async fn next_message(events: &mut EventStream) -> Delivery {
    loop {
        let event = within(events.next()).await.expect("the stream goes on").expect("no error");
        if let Event::Message(delivery) = event {
            return delivery;
        }
    }
}

/// Everything up to [`Event::CaughtUp`].
async fn backlog(events: &mut EventStream) -> Vec<Delivery> {
    let mut found = Vec::new();
    loop {
        match within(events.next()).await.expect("the stream goes on").expect("no error") {
            Event::Message(delivery) => found.push(delivery),
            Event::CaughtUp => return found,
            _ => {}
        }
    }
}

/// Whether no message comes for a while; other events are passed over.
async fn is_quiet(events: &mut EventStream) -> bool {
    let message = async {
        loop {
            match events.next().await {
                Some(Ok(Event::Message(_))) => return,
                Some(Ok(_)) => {}
                ended => panic!("the stream goes on: {ended:?}"),
            }
        }
    };
    tokio::time::timeout(QUIET, message).await.is_err()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens within 20 s")
}

/// How long nothing must happen to show that nothing does.
const QUIET: Duration = Duration::from_millis(300);

/// The texts of some deliveries.
fn texts(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str().expect("text")).collect()
}
