//! The conformance suite: what every transport must do, as ordinary functions.
//!
//! The cases hold a transport to what its [capabilities](crate::Capabilities) declare and to nothing more:
//! without a durable inbox no message is sent before somebody reads, without an order none is expected.
//! [`Loopback`](crate::Loopback) is the reference that keeps every promise.
//!
//! # Running it
//!
//! Write a [`Harness`]: a connector for each agent name, and as many of the faults as you can make happen.
//! Then give [`conformance_tests!`](crate::conformance_tests) the backend's name and an expression that
//! makes a fresh harness; it expands to one test per case.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use agentchat_core::conformance::{Harness, Skip, run_all};
//! use agentchat_core::{Connector, Loopback};
//! use async_trait::async_trait;
//!
//! struct InProcess(Loopback);
//!
//! #[async_trait]
//! impl Harness for InProcess {
//!     async fn connector(&self, name: &str) -> Arc<dyn Connector> {
//!         Arc::new(self.0.connector(name).expect("a valid name"))
//!     }
//!
//!     fn expected_skips(&self) -> Vec<Skip> {
//!         // What the network does not do, and the faults that this harness does not make.
//!         let mut skips = vec![Skip::EndsWithConnection, Skip::Numbered];
//!         skips.extend([Skip::Outage, Skip::Restart, Skip::Stall, Skip::Expire]);
//!         skips
//!     }
//!
//!     async fn cut(&self) -> bool {
//!         self.0.cut();
//!         true
//!     }
//! }
//!
//! // In a file under tests/:
//! mod every_case {
//!     use super::*;
//!     agentchat_core::conformance_tests!("in-process", InProcess(Loopback::new()));
//! }
//!
//! // Or all at once, in a program:
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let report = run_all(|| async { InProcess(Loopback::new()) }).await;
//! println!("{report}");
//! assert!(report.is_good());
//! # }
//! ```
//!
//! [`InSessions`] makes of such a harness one whose agents are sessions: give the macro both.
//!
//! # No promise goes untested in silence
//!
//! - A case that needs a capability the transport does not declare, or a fault the harness cannot make, is
//!   skipped and prints why. A skip whose reason is not in [`Harness::expected_skips`] fails.
//! - The case [`declare_names_every_skip`] fails when that list has grown old.
//! - Once every case of a backend has ended in one process, the sum is printed.
//! - A network that may be missing is given as `optional` expression, an `Option` of a harness. The
//!   environment variable `CONFORMANCE_EXPECT` names the backends, with commas or blanks between, that
//!   must not be missing.
//! - With `CONFORMANCE_REPORT` set to a directory, each backend's outcomes are appended to a file of its
//!   name there, one line for each case: `held` or `skipped`, the case, and why, between tabs. A gate reads
//!   from it that every backend it expects has run.
//!
//! # Stability
//!
//! The names of the cases and the [`Harness`] trait follow semantic versioning; *adding* a case, a fault
//! with a default, or a reason to skip is a minor change.

mod ack;
mod agent;
mod backlog;
mod backpressure;
mod declare;
mod discover;
mod errors;
mod harness;
mod idempotency;
mod kit;
mod ordering;
mod reconnect;
mod register;
mod report;
mod run;
mod send;
mod sessions;
mod shutdown;
mod skip;
mod stall;
mod state_and_history;
mod subscribe;

pub use ack::*;
pub use agent::*;
pub use backlog::*;
pub use backpressure::*;
pub use declare::*;
pub use discover::*;
pub use errors::*;
pub use harness::Harness;
pub use idempotency::*;
pub use ordering::*;
pub use reconnect::*;
pub use register::*;
pub use report::{Report, run_all};
pub use run::{Case, CaseFuture, Outcome, print_skipped, run_as_test};
pub use send::*;
pub use sessions::InSessions;
pub use shutdown::*;
pub use skip::Skip;
pub use stall::*;
pub use state_and_history::*;
pub use subscribe::*;

/// Every case of the suite.
pub const CASES: &[Case] = crate::conformance_tests!(@cases table);

/// The case of that name.
///
/// # Panics
/// If there is none.
pub fn case(name: &str) -> &'static Case {
    let found = CASES.iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("there is no case named {name}"))
}

/// Expands to one `#[tokio::test]` per case of the suite.
///
/// First the backend's name, then an expression that makes a fresh
/// [`Harness`](crate::conformance::Harness) for each case; it may `await`. With `optional` before it, it
/// makes an `Option` of one, and `None` skips the cases. Without a name, the backend is called like the
/// module. The crate that uses it needs `tokio` with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_tests {
    (@cases $($then:tt)*) => {
        $crate::conformance_tests! { @$($then)*;
            declare_names_every_skip
            declare_the_same_on_every_attachment
            register_makes_an_agent_discoverable_by_name
            register_replaces_the_card_of_the_same_name
            register_replaces_whoever_holds_the_name
            unregister_takes_an_agent_out_of_the_directory
            unregister_leaves_others_in_the_directory
            report_can_be_read_by_others
            discover_by_tag_is_exact
            discover_by_meaning_finds_who_can_do_it
            discover_returns_the_card_byte_for_byte
            discover_of_nobody_is_empty
            discover_gives_no_more_than_asked_for
            send_delivers_every_part_of_a_message
            send_carries_headers_unchanged
            send_carries_binary_bodies_unchanged
            send_carries_a_body_at_the_limit_and_none_over_it
            send_expires_with_its_ttl
            send_held_back_arrives_after_its_delay
            send_under_one_key_keeps_the_newest
            send_dropped_at_any_point_can_be_repeated
            send_many_at_once_loses_none
            repeat_is_recognised_where_the_network_says_so
            repeat_of_anothers_id_is_a_message_of_its_own
            repeat_is_handled_once
            repeat_with_another_content_is_a_conflict
            subscribe_again_gives_what_is_unsettled
            subscribe_waits_may_be_dropped
            subscribe_given_up_takes_nothing_along
            subscribe_opens_a_fresh_inbox
            subscribe_reads_an_existing_inbox_again
            subscribe_keeps_many_inboxes_apart
            subscribe_to_an_inbox_that_never_was_is_refused
            subscribe_ends_by_dropping_without_a_runtime
            subscribe_outlives_the_transports_handle
            ack_settles_for_good
            ack_of_nothing_leaves_everything_to_come_again
            ack_out_of_order_settles_exactly_those
            ack_of_everything_in_any_order_leaves_nothing
            ack_twice_is_fine
            ack_of_an_unknown_tag_is_refused_by_name
            ack_of_an_earlier_attachment_settles_no_other_message
            order_holds_within_each_of_many_conversations
            order_holds_over_a_reconnect
            order_puts_urgent_messages_first
            order_of_a_conversation_stands_over_its_priorities
            catch_up_gives_the_backlog_in_order_first
            catch_up_with_nothing_is_told
            catch_up_is_told_though_the_bounds_are_full
            catch_up_is_not_told_before_the_end
            catch_up_runs_into_live_without_gap_or_repetition
            hold_back_at_the_bound_in_messages
            hold_back_at_the_bound_in_bytes
            hold_back_of_one_reader_leaves_others_alone
            cut_ends_the_attachment_and_loses_nothing
            cut_is_survived_and_loses_nothing
            cut_during_sends_loses_nothing
            outage_is_told_as_worth_trying_again
            outage_is_waited_out
            restart_keeps_what_was_accepted
            expire_is_told_once_and_is_final
            stall_ends_every_call_by_its_deadline
            stall_that_ends_is_a_delay
            close_ends_the_calls_under_way
            close_ends_subscriptions_with_the_reason
            close_again_is_closed
            close_makes_every_verb_answer_closed
            close_detached_keeps_the_agent_findable
            close_retired_takes_the_agent_out_of_the_directory
            refuse_malformed_messages_by_name
            refuse_a_send_to_nobody
            refuse_addresses_of_other_networks
            refuse_what_the_network_lacks
            refuse_tells_no_secret
            refuse_bounds_of_zero
            put_keeps_the_newest_value
            put_keeps_keys_and_inboxes_apart
            replay_gives_a_stretch_of_a_conversation
            replay_numbers_both_sides_of_a_conversation
            call_gets_its_replies_in_order
            call_ends_by_its_deadline
            serve_tries_a_failed_message_again
            serve_keeps_conversations_in_order_and_apart
        }
    };
    (@table; $($case:ident)*) => {
        &[$($crate::conformance::Case::new(stringify!($case), |harness| {
            ::std::boxed::Box::pin($crate::conformance::$case(harness))
        })),*]
    };
    (@tests $backend:expr, $harness:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness = $harness;
                let harness = harness.as_ref().map(|harness| harness as &dyn $crate::conformance::Harness);
                let case = $crate::conformance::case(stringify!($case));
                $crate::conformance::run_as_test($backend, case, harness).await;
            }
        )*
    };
    (optional $harness:expr) => {
        $crate::conformance_tests!(@cases tests module_path!(), $harness);
    };
    ($backend:literal, optional $harness:expr) => {
        $crate::conformance_tests!(@cases tests $backend, $harness);
    };
    ($backend:literal, $harness:expr) => {
        $crate::conformance_tests!(@cases tests $backend, ::std::option::Option::Some($harness));
    };
    ($harness:expr) => {
        $crate::conformance_tests!(@cases tests module_path!(), ::std::option::Option::Some($harness));
    };
}
