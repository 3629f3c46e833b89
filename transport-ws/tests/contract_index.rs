//! Every case of the wire contract has a test: its id is in the name of a test function of this crate.
//!
//! The contract numbers what a client must do (C01 and on) and what a server does (S01 and on, which the
//! double is held to). This reads the sources, so a test that is renamed or removed is missed here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a client must do, from C01 on.
const CLIENT: [&str; 98] = [
    "bearer_on_every_call",
    "unset_members_omitted",
    "path_normalise_and_encode",
    "unknown_members_kept",
    "empty_success_body",
    "non_json_success",
    "error_without_json",
    "error_json_without_code",
    "unknown_code_by_status",
    "request_id_attached",
    "retry_get_503",
    "no_retry_plain_post",
    "retry_post_with_idem_key",
    "retry_budget",
    "retry_after_seconds",
    "retry_after_date",
    "retry_after_garbage",
    "retry_after_over_cap",
    "retry_after_from_body",
    "timeout_is_connection_error",
    "redirect_not_followed",
    "upload_put_without_key",
    "hooks_mask_key",
    "generates_client_msg_id",
    "same_id_on_retry",
    "replay_visible",
    "group_vs_handle_routing",
    "direct_id_refused_locally_or_400",
    "size_guard",
    "backlog_header",
    "skipped_recipients",
    "awaiting_reply",
    "backlogged_not_retried",
    "cold_cap_aliases",
    "per_second_limit_retried",
    "ambiguous_then_awaiting",
    "paused_and_suspended",
    "register_flow",
    "otp_errors",
    "recover_ambiguous",
    "recover_no_pending_id",
    "email_caps",
    "hello_shape",
    "frames_before_ok_not_dispatched",
    "hello_timeout_retries",
    "fatal_1008",
    "fatal_4401_4403_http401",
    "retry_other_codes",
    "rotated_key",
    "backoff_curve",
    "backoff_not_reset_by_flapping",
    "backoff_reset_after_stable",
    "single_timer",
    "answers_ping",
    "dead_peer",
    "unknown_frame_types",
    "oversize_frame",
    "dispose",
    "ack_after_handler",
    "no_ack_on_failure",
    "no_ack_if_not_negotiated",
    "ack_mode_per_connection",
    "duplicate_skips_but_acks",
    "dedup_across_reconnect",
    "failed_not_cached",
    "dedup_bound",
    "drain_on_connect",
    "drain_pages",
    "null_delivery_id",
    "positional_cursor",
    "clean_prefix",
    "drain_freeze_on_failure",
    "no_progress_page",
    "sync_not_array",
    "drain_live_overlap",
    "invites_polled",
    "crash_replay",
    "in_order",
    "reorder",
    "gap_filled",
    "gap_unfillable",
    "gap_http_error",
    "gap_without_rest",
    "buffer_cap",
    "every_gap_detected",
    "late_lower_seq",
    "own_send_no_gap",
    "conversations_independent",
    "slow_handler_isolated",
    "system_event_row",
    "read_receipt_shapes",
    "group_deleted",
    "pagination",
    "mute_status_404",
    "webhook_verify",
    "render_context",
    "reply_claim_fail_open",
    "leader_lock_follower_takeover",
];

/// What a server does, from S01 on.
const SERVER: [&str; 70] = [
    "auth_required",
    "suspended_gate",
    "request_id_echo",
    "register_verify",
    "handle_rules",
    "handle_never_reused",
    "otp_limits",
    "recover_masks",
    "rotate_invalidates",
    "delete_account",
    "send_xor",
    "send_201_then_200",
    "concurrent_duplicates",
    "id_scope_per_sender",
    "seq_contiguous",
    "response_shape",
    "size_limit",
    "check_order",
    "direct_id_rejected",
    "rate_60",
    "group_rate_20",
    "cold_cap",
    "awaiting_reply",
    "reply_establishes",
    "inbox_modes",
    "block_both_ways",
    "backlog",
    "backlog_group_skip",
    "pause_modes",
    "mute",
    "sync_basic",
    "sync_limits",
    "sync_cursor",
    "sync_ack",
    "ack_isolation",
    "history_cursors",
    "history_visibility",
    "delivery_view",
    "read",
    "hide_message",
    "hello_ok",
    "hello_failures",
    "header_auth",
    "push_fanout",
    "legacy_mark_on_send",
    "ack_mode_retains",
    "ack_semantics",
    "drain_order_and_cap",
    "drain_only_new_socket",
    "heartbeat_close",
    "slow_consumer",
    "presence",
    "presence_privacy",
    "group_lifecycle",
    "group_roles",
    "leave_promotes",
    "group_delete",
    "system_events_not_pushed",
    "invite_cap",
    "idempotency_key",
    "idem_5xx_released",
    "enforcement",
    "uploads",
    "attachment_acl",
    "mute_validation",
    "directory",
    "webhook_signature",
    "reply_claims",
    "context_block",
    "fault_injection",
];

/// Cases that deliberately have no test here, and why.
const ELSEWHERE: [(&str, &str); 0] = [];

#[test]
fn every_case_of_the_contract_has_a_test() {
    let tests = tests_by_case();
    let mut missing = Vec::new();
    for (id, name) in cases() {
        let reason = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == id);
        match (tests.get(&id), reason) {
            (None, None) => missing.push(format!("{id} ({name})")),
            (Some(tests), Some(_)) => panic!("{id} is said to be elsewhere, and is here: {tests:?}"),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "no test carries {missing:?}");
}

#[test]
fn every_test_with_an_id_is_of_a_case() {
    let known: Vec<String> = cases().map(|(id, _)| id).collect();
    for (id, tests) in tests_by_case() {
        assert!(known.contains(&id), "the contract has no {id}: {tests:?}");
    }
}

#[test]
fn ids_are_read_from_names_and_nothing_else() {
    let source = "    #[tokio::test]\n    async fn c01_a_and_s70_b() {\n#[test]\nfn plain() {\nfn c02_helper() {\n\
                  #[test]\n#[should_panic]\nfn c3_x_cc04_c05() {";
    let mut found = BTreeMap::new();
    read(source, &mut found);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["c01", "c05", "s70"]);
}

fn cases() -> impl Iterator<Item = (String, &'static str)> {
    let numbered = |letter: char, names: &'static [&'static str]| {
        (1..).zip(names).map(move |(number, name)| (format!("{letter}{number:02}"), *name))
    };
    numbered('c', &CLIENT).chain(numbered('s', &SERVER))
}

/// The test functions of this crate that carry an id, by id.
fn tests_by_case() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut places = vec![];
    for folder in ["src", "tests"] {
        places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    }
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let inside = fs::read_dir(place).expect("readable").map(|entry| entry.expect("an entry").path());
            places.extend(inside);
        } else if place.extension().is_some_and(|kind| kind == "rs") && !place.ends_with(file!()) {
            read(&fs::read_to_string(place).expect("readable"), &mut found);
        }
    }
    found
}

/// Adds the tests of one file.
fn read(source: &str, found: &mut BTreeMap<String, Vec<String>>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let name = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test) {
            for id in name.split('_').filter(|part| is_id(part)) {
                found.entry(id.to_owned()).or_default().push(name.to_owned());
            }
        }
        // Comments may stand between an attribute and its function.
        is_test &= line.starts_with("//");
    }
}

fn is_id(part: &str) -> bool {
    part.len() == 3 && part.starts_with(['c', 's']) && part[1..].bytes().all(|byte| byte.is_ascii_digit())
}
