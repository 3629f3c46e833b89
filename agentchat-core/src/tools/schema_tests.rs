//! Schemas made from types: what they take and what they refuse.

use super::*;

fn schema() -> ToolSchema {
    let text = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Args","type":"object",
        "properties":{
            "to":{"type":["string","null"],"maxLength":5},
            "conversation_id":{"type":"string"},
            "limit":{"type":"integer","format":"uint32","minimum":1,"maximum":200}},
        "additionalProperties":false}"#;
    ToolSchema::from_json(text).expect("a schema")
}

fn fault_of(schema: &ToolSchema, arguments: &str) -> String {
    let error = schema.check(arguments).expect_err(arguments);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[test]
fn what_says_nothing_to_a_model_is_left_out() {
    let text = schema().as_str().to_owned();
    assert!(!text.contains("$schema") && !text.contains("title") && !text.contains("uint32"), "{text}");
    assert!(text.contains("maxLength"), "{text}");
}

#[test]
fn faults_say_where_and_what_without_the_values() {
    let schema = schema();
    for (arguments, says) in [
        (r#"{"to":"SECRET"}"#, "at /to: value is longer than 5 characters"),
        (r#"{"limit":0}"#, "at /limit: value is less than the minimum of 1"),
        (r#"{"limit":"SECRET"}"#, "at /limit: value is not of type"),
        (r#"{"more":"SECRET"}"#, "'more' was unexpected"),
        (r#"["SECRET"]"#, "value is not of type"),
        (r#""SECRET"#, "they are no JSON"),
    ] {
        let fault = fault_of(&schema, arguments);
        assert!(fault.contains(says) && !fault.contains("SECRET"), "{arguments}: {fault}");
    }
    assert_eq!(fault_of(&schema, r#"{"limit":0,"more":1}"#).matches("; ").count(), 1);
}

#[test]
fn nothing_and_null_stand_for_no_members() {
    for arguments in ["", "  ", "null", "{}"] {
        schema().check(arguments).expect(arguments);
    }
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    let error = schema().check(&"[".repeat(LARGEST + 1)).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    // Deep nesting is an error, not a stack that overflows.
    assert!(fault_of(&schema(), &"[".repeat(LARGEST)).contains("no JSON"));
}

#[test]
fn one_of_several_members_can_be_demanded_and_a_model_is_told_so() {
    let schema = schema().with_exactly_one_of(&["to", "conversation_id"]).expect("known names");
    schema.check(r#"{"to":"bob","limit":3}"#).expect("one");
    for arguments in ["{}", r#"{"to":"bob","conversation_id":"c"}"#] {
        let fault = fault_of(&schema, arguments);
        assert!(fault.contains("give exactly one of `to`, `conversation_id`"), "{fault}");
    }
    assert!(fault_of(&schema, r#"{"to":null}"#).contains("at /to"));
    assert!(schema.as_str().contains("oneOf"));
    let flat = schema.to_flat_json();
    assert!(!flat.contains("oneOf") && flat.contains("Give exactly one of `to`"), "{flat}");
}

#[test]
fn several_rules_hold_beside_each_other() {
    let schema = schema()
        .with_at_least_one_of(&["to", "limit"])
        .and_then(|schema| schema.with_at_least_one_of(&["to", "conversation_id"]))
        .expect("known names");
    schema.check(r#"{"to":"bob"}"#).expect("both");
    schema.check(r#"{"limit":1,"conversation_id":"c"}"#).expect("both");
    assert!(fault_of(&schema, r#"{"limit":1}"#).contains("at least one of `to`, `conversation_id`"));
    assert!(fault_of(&schema, r#"{"conversation_id":"c"}"#).contains("at least one of `to`, `limit`"));
    let error = schema.with_exactly_one_of(&["to", "nobody"]).expect_err("unknown");
    assert!(error.to_string().contains("nobody"));
}

#[test]
fn an_open_object_is_refused_with_its_place_and_no_reference_is_followed_outside() {
    for (text, says) in [
        (r#"{"type":"object","properties":{}}"#, "the whole"),
        (r#"{"type":"object","additionalProperties":{"type":"string"}}"#, "the whole"),
        (r#"{"type":"string"}"#, "the whole"),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{"a":{"type":"array","items":{"type":"object"}}}}"#,
            "/properties/a/items",
        ),
        (r#"{"type":"object","additionalProperties":false,"$defs":{"a":{"properties":{}}}}"#, "/$defs/a"),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{"a":{"type":"wrong"}}}"#,
            "no schema",
        ),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{"a":{"$ref":"https://h/s"}}}"#,
            "no schema",
        ),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{"a":{"pattern":"(?=x)"}}}"#,
            "no schema",
        ),
        ("nonsense", "no JSON"),
    ] {
        let error = ToolSchema::from_json(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    let map = r#"{"type":"object","additionalProperties":false,
        "properties":{"a":{"type":"object","additionalProperties":{"type":"string"}},"any":true}}"#;
    ToolSchema::from_json(map).expect("a map of strings, and anything, are asked for by name");
    ToolSchema::none().expect("made").check("{}").expect("no members");
}
