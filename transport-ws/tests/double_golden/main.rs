//! The recordings of a real server, replayed in their order against one double: same requests and frames,
//! equivalent answers.
#![cfg(feature = "test-server")]

mod frames;
mod matching;
mod replay;
mod scenes;
mod sdk_sockets;
#[path = "../support/mod.rs"]
mod support;

use replay::Replay;

/// How many lines of a recording are replayed, and how many are not: notes, samples of a crowd, and what
/// [`scenes::skips`] and [`sdk_sockets::skips`] give a reason for.
const COUNTS: [(&str, usize, usize); 19] = [
    ("01_register_verify", 28, 0),
    ("02_me_profile_auth", 26, 0),
    ("03_send_validation_replay", 44, 0),
    ("04_ws_auth_frames", 131, 1),
    ("05_live_delivery_read_presence", 67, 1),
    ("06_presence_push", 35, 0),
    ("07_backlog_sync_ack", 62, 1),
    ("08_big_backlog_concurrency", 10, 13),
    ("09_guards_limits", 60, 4),
    ("10_groups", 83, 1),
    ("11_directory_contacts_mutes_conversations", 105, 2),
    ("12_heartbeat", 26, 0),
    ("13_key_rotation_delete_order", 46, 2),
    ("14_shutdown_outage", 59, 7),
    ("20_sdk_python_http", 33, 0),
    ("21_sdk_python_realtime", 380, 1),
    ("22_sdk_npm_rest", 22, 0),
    ("22_sdk_npm_sockets", 373, 8),
    ("23_sdk_group_seq_gap", 16, 0),
];

#[tokio::test]
async fn the_double_answers_as_the_recorded_server_did() {
    let mut replay = Replay::start().await;
    for (file, replayed, skipped) in COUNTS {
        let counts = replay.file(file).await;
        assert_eq!(counts, (replayed, skipped), "{file}: lines replayed and skipped");
    }
}
