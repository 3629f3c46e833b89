//! What happened between the lines of the recordings.

use std::time::Duration;

use serde_json::{Value, json};
use transport_ws::testing::{PauseMode, Standing};

use crate::replay::Replay;
use crate::sdk_sockets;
use crate::support::call;

/// Lines that are not replayed.
pub(crate) fn skips(file: &str, line: &Value) -> bool {
    let case = line["case"].as_str().expect("a case");
    if line.get("note").is_some() && line.get("method").is_none() {
        return true;
    }
    if sdk_sockets::is(file) {
        return sdk_sockets::skips(line);
    }
    match (file, case) {
        // The recorded server looks the key up twice if the second hello comes while it is looking.
        ("04_ws_auth_frames", "ws.two_hello_frames_back_to_back") => {
            line["frame"]["type"] == "hello.ok" && line["t_ms"] == 31
        }
        // Three of sixty answers, and two of hundreds of frames.
        ("08_big_backlog_concurrency", "concurrent_one_conversation" | "big_backlog.450") => true,
        // One of ninety answers.
        ("09_guards_limits", "rate_limit.global_60_per_s") => true,
        // News of one socket that came late enough to be heard on the next.
        ("14_shutdown_outage", "shutdown.sigterm") => line["frame"]["type"] == "presence.update",
        // The thirty-first of as many requests; counted by a test of its own.
        ("11_directory_contacts_mutes_conversations", "dir.anon_rate_limit") => true,
        _ => false,
    }
}

/// Sets the scene for a line.
pub(crate) async fn before(replay: &mut Replay, file: &str, line: &Value, lines: &[Value]) {
    let case = line["case"].as_str().expect("a case");
    if std::ptr::eq(line, &lines[0]) {
        populate(replay, lines);
    }
    if sdk_sockets::is(file) {
        return sdk_sockets::before(replay, line, lines).await;
    }
    match &file[..2] {
        "02" => match case {
            "me.ok" => replay.server.set_profile("dave", Some("Dave"), None),
            "suspended.me" => replay.server.set_status("dave", Standing::Suspended),
            "recover.start" => register(replay, "erin").await,
            _ => {}
        },
        "04" if case == "ws.header_ok_no_hello_needed" => replay.server.set_status("dave", Standing::Active),
        "08" if case == "concurrent_same_client_msg_id" && std::ptr::eq(line, first(lines, case)) => {
            for n in 0..60 {
                let (from, to) = if n % 2 == 0 { ("quin", "pete") } else { ("pete", "quin") };
                replay.say(from, to, &format!("c{n}"), "c").await.ok();
            }
        }
        "09" => guards(replay, case, line).await,
        "10" if case == "group.create_invalid" => {
            for letter in ['a', 'b', 'c', 'd', 'e'] {
                let handle = format!("room-g{letter}");
                replay.key(&handle);
                replay.server.set_profile(&handle, Some(&handle.to_uppercase()), None);
            }
        }
        "11" => directory(replay, case, lines).await,
        "13" => keys(replay, case, line, lines).await,
        "14" => outages(replay, case, line).await,
        "20" if line["path"].as_str().is_some_and(|path| path.ends_with("rotate-key")) => {
            replay.server.advance(Duration::from_millis(500));
        }
        "22" if line["path"].as_str().is_some_and(|path| path.ends_with("rotate-key")) => {
            replay.server.advance(Duration::from_millis(1_500));
        }
        "23" => gap(replay, line, lines).await,
        _ => {}
    }
}

/// Whether the server is not there while that connection is tried.
pub(crate) fn is_down(line: &Value) -> bool {
    line["case"] == "shutdown.connect_while_down"
}

/// Whether the client answers pings on that socket.
pub(crate) fn pongs(line: &Value) -> bool {
    !matches!(line["sock"].as_str(), Some("hb-b" | "hb-c"))
}

/// Whether it was the client that broke the connection off here.
pub(crate) fn is_abort(line: &Value) -> bool {
    let aborts = line["case"] == "backlog.socket_killed_after_first_frame" || line["sock"] == "ivan#3";
    aborts && line["frame"]["close"]["code"] == 1006
}

/// Returns once the server knows of it.
pub(crate) async fn until_gone(replay: &mut Replay, line: &Value) {
    let handle = line["sock"].as_str().and_then(|name| name.split('#').next()).expect("a handle");
    replay.server.until_sockets(handle, 0).await;
}

/// Whether a ping or a close comes when its time has come, and not in answer to something.
pub(crate) fn waits(line: &Value) -> bool {
    line["frame"].get("ping").is_some()
        || matches!(
            line["frame"]["close"]["reason"].as_str(),
            Some("HELLO frame required" | "Heartbeat timeout")
        )
}

/// Whether a line is about the key that was handed out last.
pub(crate) fn uses_new_key(line: &Value) -> bool {
    line["case"] == "rotate_key.new_key"
}

fn first<'a>(lines: &'a [Value], case: &str) -> &'a Value {
    lines.iter().find(|line| line["case"] == case).expect("a line")
}

/// Registers as anybody would, which takes the place of one code for a minute.
async fn register(replay: &mut Replay, handle: &str) {
    let email = format!("{handle}@test.local");
    let post = |path: &'static str, body: Value| {
        let server = &replay.server;
        async move { call(server, "POST", path).header("fly-client-ip", handle).body(body).send().await.ok() }
    };
    let begun = post("/v1/register", json!({ "email": email, "handle": handle })).await;
    let code = replay.server.otp_for(&email).expect("a code");
    post("/v1/register/verify", json!({ "pending_id": begun["pending_id"], "code": code })).await;
}

/// Agents that were there before the recording began: all that speak, and some that are only spoken to.
fn populate(replay: &mut Replay, lines: &[Value]) {
    let registered = ["rot", "rec-me", "pya-p2", "pyb-p2", "jsa-j1", "jsb-j1"];
    let mut handles = vec!["carol".to_owned(), "vic".to_owned()];
    for line in lines {
        let text = line.to_string();
        let named = text.split("<REDACTED:").skip(1).filter_map(|rest| rest.split('>').next());
        handles.extend(named.map(str::to_owned));
    }
    for handle in handles {
        if !registered.contains(&handle.as_str()) {
            replay.key(&handle);
        }
    }
}

async fn guards(replay: &mut Replay, case: &str, line: &Value) {
    let server = &replay.server;
    match case {
        "paused.sender_send_mode" => server.set_pause("uma", PauseMode::Send),
        "paused.sender_full_mode" => server.set_pause("uma", PauseMode::Full),
        "paused.after_unpause_reconnect" if line["frame"]["event"] == "connect" => {
            server.set_pause("uma", PauseMode::None);
        }
        "status.sender_suspended" => server.set_status("uma", Standing::Suspended),
        "status.sender_restricted_below_threshold_autolifts" => {
            server.set_status("uma", Standing::Restricted)
        }
        "backlog.warning_header_5000" => server.set_undelivered("vic", 5_000),
        "backlog.warning_9999" => server.set_undelivered("vic", 9_999),
        "backlog.wall_10000" => server.set_undelivered("vic", 10_000),
        "cold_cap" if line["req_body"]["to"] == "cold-99" => {
            for n in 1..=102 {
                replay.key(&format!("cold-{n}"));
            }
            for n in 1..=98 {
                replay.say("walt", &format!("cold-{n}"), &format!("cold-{n}"), "hi").await.ok();
            }
        }
        _ => {}
    }
}

async fn directory(replay: &mut Replay, case: &str, lines: &[Value]) {
    match case {
        "dir.anon" => {
            for handle in ["zed-one", "zed-two", "zed-three", "yara"] {
                replay.key(handle);
                let (name, about) = (format!("{handle} display"), format!("desc {handle}"));
                replay.server.set_profile(handle, Some(&name), Some(&about));
            }
        }
        "dir.anon_rate_limit" => {
            let ask =
                || call(&replay.server, "GET", "/v1/directory?q=zed").header("fly-client-ip", "10.0.0.1");
            for _ in 0..30 {
                ask().send().await.ok();
            }
            let refused = ask().send().await;
            assert_eq!(refused.status, 429);
            assert_eq!(refused.json(), lines[13]["resp_body"]);
            assert_eq!(refused.header("retry-after"), None);
        }
        "history.default" => {
            // What was said meanwhile is in the history itself.
            let rows = first(lines, "history.after_seq_0")["resp_body"].as_array().expect("rows");
            for row in rows.iter().filter(|row| row["seq"].as_u64() > Some(2)) {
                let from = row["sender"].as_str().expect("a sender");
                let to = if from == "yara" { "zed-one" } else { "yara" };
                let id = row["client_msg_id"].as_str().expect("an id");
                replay.say(from, to, id, row["content"]["text"].as_str().expect("text")).await.ok();
            }
        }
        "conv.list" => {
            replay.say("zed-two", "yara", "from-two", "from two").await.ok();
        }
        _ => {}
    }
}

async fn keys(replay: &mut Replay, case: &str, line: &Value, lines: &[Value]) {
    match case {
        "rotate_key" if std::ptr::eq(line, first(lines, case)) => {
            register(replay, "rot").await;
            replay.server.advance(Duration::from_millis(1_100));
        }
        "recover" if std::ptr::eq(line, first(lines, case)) => register(replay, "rec-me").await,
        "sync_order_vs_seq.ws_drain" => replay.server.advance(Duration::from_secs(61)),
        _ => {}
    }
}

async fn outages(replay: &mut Replay, case: &str, line: &Value) {
    let connects = line["frame"]["event"] == "connect";
    let closes = line["frame"].get("close").is_some();
    match case {
        "shutdown.sigterm" if line["note"] == "SIGTERM sent to the API process" => {
            replay.server.down().await.expect("the port");
        }
        "shutdown.reconnect_after_restart" if connects => replay.server.up().await.expect("the port"),
        "shutdown.sigkill" if closes => replay.server.kill().await.expect("the port"),
        "shutdown.sigkill.presence_stale_after_crash" => replay.server.up().await.expect("the port"),
        "outage.redis_down.health" => replay.server.faults().bus_down(true),
        // The send waited until the bus was back.
        "outage.redis_down.send" => replay.server.faults().bus_down(false),
        "outage.database_down.me" => replay.server.faults().database_down(Some(Duration::ZERO)),
        "outage.database_down2.already_connected" if connects => replay.server.faults().database_down(None),
        "outage.database_down2.ws_hello" if connects => {
            replay.server.faults().database_down(Some(Duration::ZERO));
        }
        "outage.database_down2.me_after" => replay.server.faults().database_down(None),
        _ => {}
    }
}

/// What the other side did while one listened.
async fn gap(replay: &mut Replay, line: &Value, lines: &[Value]) {
    if std::ptr::eq(line, &lines[0]) {
        let body = json!({ "name": "gapgroup", "member_handles": ["pyb-p2"] });
        replay.unrecorded("pya-p2", "POST", "/v1/groups", body).await.ok();
    }
    let payload = &line["frame"]["payload"];
    let Some(group) = payload["conversation_id"].as_str() else { return };
    let group = replay.matching.translate(group);
    let event = match payload["content"]["text"].as_str() {
        Some("m2") => Some(json!({ "name": "gap 1" })),
        Some("m4") => Some(json!({ "name": "gap 3" })),
        _ => None,
    };
    if let Some(change) = event {
        replay.unrecorded("pya-p2", "PATCH", &format!("/v1/groups/{group}"), change).await.ok();
    }
    let mut body = json!({ "conversation_id": group });
    for name in ["client_msg_id", "content"] {
        body[name] = payload[name].clone();
    }
    replay.unrecorded("pya-p2", "POST", "/v1/messages", body).await.ok();
}

/// Whose key it is where the recording does not say.
pub(crate) fn unnamed(line: &Value) -> &'static str {
    let case = line["case"].as_str().expect("a case");
    match case {
        "py.sync" => "pyb-p2",
        "js.sync" => "jsb-j1",
        _ if case.starts_with("js.rt.") => "jsb-j1",
        _ if case.starts_with("js.") => "jsa-j1",
        _ => "pya-p2",
    }
}
