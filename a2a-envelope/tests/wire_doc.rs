//! The wire document says what the code does: its examples are read, its tables compared.

mod support;

use std::collections::BTreeSet;

use a2a_envelope::{
    A2aVersion, AnswerPolicy, CALLBACK_TTL, ErrorCode, Headers, Limits, MQ9_BINDING, Operation, Origin,
    Received, RegistryEntry, TaskState, is_credential, names, with_callback,
};

const WIRE: &str = include_str!("../WIRE.md");

/// The text of every block of a kind, and what follows it.
fn blocks(kind: &str) -> Vec<(&'static str, &'static str)> {
    let fence = format!("```{kind}\n");
    WIRE.split(fence.as_str())
        .skip(1)
        .map(|rest| rest.split_once("\n```\n").unwrap_or_else(|| panic!("an open block of {kind}")))
        .collect()
}

/// The rows of the table under a heading row.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = WIRE.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect()
}

fn read(text: &str) -> Received {
    let has_headers = text.lines().next().is_some_and(|line| line.contains(": ") && !line.starts_with('{'));
    let (block, body) =
        if has_headers { text.split_once("\n\n").expect("an empty line") } else { ("", text) };
    let pairs = block.lines().map(|line| line.split_once(": ").expect("a header"));
    Received::read(Headers::from_pairs(pairs).unwrap(), body.to_owned(), &Limits::default()).unwrap()
}

/// What a reader makes of a message, in the words of the page.
fn words(got: &Received) -> BTreeSet<String> {
    let mut words = vec![format!("dialect `{:?}`", got.dialect), format!("kind `{:?}`", got.kind)];
    words.extend(got.operation().map(|operation| format!("operation `{operation}`")));
    words.extend(got.version.map(|version| format!("version `{version}`")));
    words.extend(got.correlation.as_ref().map(|found| format!("correlation `{}`", found.id)));
    words.extend(got.answer.as_ref().map(|found| format!("answer `{}`", found.address)));
    words.extend(Some(got.text()).filter(|text| !text.is_empty()).map(|text| format!("text `{text}`")));
    if got.kind == a2a_envelope::MessageKind::Reply {
        words.extend(got.event().map(|event| format!("event `{}`", event.class_name())));
        words.extend(got.event().and_then(|event| event.state()).map(|state| format!("state `{state}`")));
        words.push(format!("last `{}`", got.is_last()));
    }
    words.into_iter().collect()
}

#[test]
fn every_message_on_the_page_reads_as_it_says() {
    let blocks = blocks("message");
    assert!(blocks.len() >= 9, "only {} messages", blocks.len());
    for (text, rest) in blocks {
        let line =
            rest.lines().find_map(|line| line.strip_prefix("reads as: ")).expect("a line that says so");
        let got = read(text);
        assert_eq!(got.check(&Limits::default()), Ok(()), "{text}");
        let said: BTreeSet<String> = line.split(", ").map(str::to_owned).collect();
        // A text is given where it is worth it; everything else is complete.
        let found: BTreeSet<String> = words(&got)
            .into_iter()
            .filter(|word| !word.starts_with("text") || line.contains("text"))
            .collect();
        assert_eq!(found, said, "{text}");
    }
}

#[test]
fn every_header_of_the_format_is_on_the_page_and_no_other() {
    let listed: BTreeSet<&str> = table("| header | on | value |").iter().map(|row| row[0]).collect();
    let known = [
        names::ENVELOPE,
        names::METHOD,
        names::REPLY_TO,
        names::CORRELATION_ID,
        names::TYPE,
        names::SEQ,
        names::GENERATION,
        names::TASK_ID,
        names::CONTEXT_ID,
        names::LAST,
        names::A2A_VERSION,
        names::A2A_EXTENSIONS,
        names::IDEMPOTENCY_KEY,
        names::DEADLINE,
        names::TRACEPARENT,
        names::TRACESTATE,
        names::TASK_INBOX,
        names::RESUME_AFTER,
        names::IF_GENERATION,
        names::ORIGIN_REF,
        names::ORIGIN_HOP,
        names::SIGNATURE,
    ];
    assert_eq!(listed, known.into_iter().collect());
    assert!(WIRE.contains(&format!("`{}`", names::LOCAL_PREFIX)));
}

#[test]
fn what_a_request_loses_is_what_the_page_says() {
    let (_, sentence) = WIRE.split_once("what only an answering server says: ").unwrap();
    let (sentence, _) = sentence.split_once(".\n").unwrap();
    let said: Vec<&str> = sentence.split(',').map(|name| name.trim().trim_matches('`')).collect();
    assert_eq!(said.len(), 5);
    let mut headers = Headers::from_pairs([(names::METHOD, "GetTask"), (names::ENVELOPE, "1")]).unwrap();
    let before = headers.clone();
    said.iter().for_each(|name| drop(headers.set(name, "1").unwrap()));
    assert_eq!(Received::read(headers, "", &Limits::default()).unwrap().envelope.headers, before);
}

#[test]
fn operations_are_spelled_as_on_the_page() {
    let rows = table("| operation, 1.0 | 0.2, 0.3 | 0.1 |");
    assert_eq!(rows.len(), Operation::ALL.len());
    for (row, operation) in rows.iter().zip(Operation::ALL) {
        let name = |version| operation.method_in(version).unwrap_or("—");
        let middle = row[1].trim_end_matches(" (0.3)").trim_matches('`');
        assert_eq!(
            [row[0], middle, row[2]],
            [name(A2aVersion::V1), name(A2aVersion::V0_3), name(A2aVersion::V0_1)]
        );
        let in_0_2 = if row[1].ends_with("(0.3)") { "—" } else { middle };
        assert_eq!(name(A2aVersion::V0_2), in_0_2);
    }
}

#[test]
fn states_are_spelled_as_on_the_page() {
    let rows = table("| state, 1.0 | 0.x | |");
    assert_eq!(rows.len(), TaskState::ALL.len());
    for (row, state) in rows.iter().zip(TaskState::ALL) {
        assert_eq!([row[0], row[1]], [state.as_str(), state.name_in(A2aVersion::V0_3)]);
        assert_eq!(
            (row[2] == "terminal", row[2] == "interrupted"),
            (state.is_terminal(), state.is_interrupted())
        );
    }
}

#[test]
fn error_codes_are_those_on_the_page() {
    let rows = table("| code | reason | |");
    assert_eq!(rows.len(), ErrorCode::ALL.len());
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        assert_eq!([row[0], row[1]], [code.to_string().as_str(), code.reason().unwrap_or("—")]);
    }
}

#[test]
fn the_one_edit_is_the_one_on_the_page() {
    let (before, after) = (blocks("before")[0].0, blocks("after")[0].0);
    assert_eq!(with_callback(before.as_bytes(), "mq9://broker/cb7f", None, false).unwrap(), after);
    assert_eq!(CALLBACK_TTL.as_secs(), 86_400);
    assert!(WIRE.contains("86,400 seconds"));
}

#[test]
fn answer_addresses_are_followed_as_on_the_page() {
    let policy = AnswerPolicy::connected_to("mq9://hub.example:4332").unwrap();
    let rows = table("| address, connected to `mq9://hub.example:4332` | |");
    assert!(rows.len() > 6);
    for row in rows {
        assert_eq!(policy.accepts(row[0]), row[1] == "followed", "{}", row[0]);
    }
}

#[test]
fn credentials_are_named_as_on_the_page() {
    let (_, list) = WIRE.split_once("Headers named ").unwrap();
    let (list, _) = list.split_once(" are left out").unwrap();
    let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(names.len(), 14);
    for name in names {
        let whole = if name.starts_with('-') { format!("x{name}") } else { name.to_owned() };
        assert!(is_credential(&whole), "{name}");
    }
}

#[test]
fn every_registry_entry_on_the_page_is_found_where_it_says() {
    let lines: Vec<&str> = blocks("registry")[0].0.lines().collect();
    assert!(lines.len() >= 4);
    for line in lines {
        let entry = RegistryEntry::read(line.as_bytes()).unwrap();
        assert_eq!(entry.mailbox.as_deref(), Some("mq9://broker/support.inbox"), "{line}");
        assert_eq!(entry.name.as_deref(), Some("support"));
    }
}

#[test]
fn numbers_on_the_page_are_those_of_the_code() {
    let limits = Limits::default();
    assert_eq!((limits.max_body, limits.max_wrapped), (4 << 20, (8 << 20) + (64 << 10)));
    assert_eq!((limits.max_depth, limits.max_headers, Headers::MAX_COUNT), (128, 128, 128));
    assert_eq!((Headers::MAX_VALUE, Headers::MAX_TOTAL), (4_096, 16_384));
    assert_eq!((Origin::MAX_TOKEN, Origin::MAX_HOPS), (256, 8));
    for said in [
        "4,096 bytes",
        "16,384 bytes",
        "body 4 MiB",
        "8 MiB + 64 KiB",
        "128 levels",
        "1 to 256 characters",
        "the most is 8",
    ] {
        assert!(WIRE.contains(said), "{said}");
    }
    assert!(WIRE.contains(MQ9_BINDING) && WIRE.contains(Origin::EXTENSION));
}
