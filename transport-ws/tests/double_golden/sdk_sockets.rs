//! The sockets of public SDKs: what their peers sent meanwhile, and where two things raced.
//!
//! The recorded server reads what is stored while a client asks for the same by REST, and writes rows of
//! senders who wrote at once in the order in which they were committed. Neither can be told in advance, so
//! such lines are brought into the one order that the double has: the answer of a sync that saw what was
//! stored comes before its socket, and drained rows come by their numbers. A live message that overtook the
//! drain does so here, too.

use serde_json::Value;
use transport_ws::testing::PushFault;

use crate::replay::Replay;

/// Whether a recording is one of these.
pub(crate) fn is(file: &str) -> bool {
    matches!(file, "21_sdk_python_realtime" | "22_sdk_npm_sockets")
}

/// The lines in the order in which they are replayed.
pub(crate) fn arranged(lines: Vec<Value>) -> Vec<Value> {
    let mut arranged: Vec<Value> = Vec::with_capacity(lines.len());
    for case in lines.chunk_by(|one, next| one["case"] == next["case"]) {
        let (mut before, mut after): (Vec<Value>, Vec<Value>) =
            case.iter().cloned().partition(saw_what_was_stored);
        let mut rows: Vec<Value> = after.iter().filter(|line| is_drained(line)).cloned().collect();
        rows.sort_by_key(|line| std::cmp::Reverse(seq(line)));
        for line in after.iter_mut().filter(|line| is_drained(line)) {
            *line = rows.pop().expect("as many as there were");
        }
        arranged.append(&mut before);
        arranged.append(&mut after);
    }
    arranged
}

/// Lines that are not replayed.
pub(crate) fn skips(line: &Value) -> bool {
    let close = &line["frame"]["close"]["code"];
    match (line["dir"].as_str(), line["case"].as_str()) {
        // The client did not wait for the answer to its goodbye.
        (Some("s2c"), _) if *close == 1006 => true,
        // The echo of the server's own.
        (Some("c2s"), Some("py.rt.bad_key" | "js.rt.bad_key")) => *close == 1008,
        // One of the six rows was not marked yet when the cursor came.
        (None, Some("js.rt.backlog_sequential")) => line["resp_body"]["acked"] == 1,
        _ => false,
    }
}

/// What the peer sends before a line.
pub(crate) async fn before(replay: &mut Replay, line: &Value, lines: &[Value]) {
    let case: Vec<&Value> = lines.iter().filter(|other| other["case"] == line["case"]).collect();
    let drained = case.iter().copied().filter(|line| is_drained(line));
    if std::ptr::eq(line, case[0]) {
        for row in drained.clone() {
            send(replay, row).await;
        }
    }
    let overtaken =
        case.iter().position(|line| is_live(line)) < case.iter().position(|line| is_drained(line));
    if line["frame"]["event"] == "connect" && overtaken {
        replay.server.faults().pushes(drained.clone().map(|_| PushFault::Hold));
    }
    if is_live(line) {
        send(replay, line).await;
    }
    if overtaken && drained.clone().next().is_some_and(|first| std::ptr::eq(first, line)) {
        replay.server.faults().release_pushes();
    }
}

async fn send(replay: &mut Replay, line: &Value) {
    let row = &line["frame"]["payload"];
    let text = |member: &Value| member.as_str().expect("text").to_owned();
    let from = text(&row["sender"]);
    let to = if from.starts_with("py") { "pyb-p2" } else { "jsb-j1" };
    let answer =
        replay.say(&from, to, &text(&row["client_msg_id"]), &text(&row["content"]["text"])).await.ok();
    assert_eq!(answer["seq"], row["seq"], "the conversation is where it was");
}

fn saw_what_was_stored(line: &Value) -> bool {
    line["resp_body"].as_array().is_some_and(|rows| rows.first().is_some_and(|row| row["status"] == "stored"))
}

fn is_live(line: &Value) -> bool {
    line["frame"]["type"] == "message.new" && !is_drained(line)
}

fn is_drained(line: &Value) -> bool {
    line["frame"]["type"] == "message.new" && line["frame"]["payload"].get("delivery_id").is_some()
}

fn seq(line: &Value) -> u64 {
    line["frame"]["payload"]["seq"].as_u64().expect("a number")
}
