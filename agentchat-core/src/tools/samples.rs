//! Samples of arguments, made from a schema: for tests that show that bad ones never reach the network.

use serde_json::{Map, Value, json};

use super::schema::{ToolSchema, validator};
use crate::error::{Error, Result};

/// Arguments, good and bad, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Samples {
    /// They meet the schema, with every member that is not excluded by another.
    pub good: String,
    /// They do not, each for another reason.
    pub bad: [String; 3],
}

impl Samples {
    /// Samples for `schema`. Each is checked against it. The values are the schema's own where it names some
    /// (`const`, `enum`, `default`, `examples`), else the smallest that fit.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported), naming the member, where no good value is found, which a pattern may cause:
    /// `examples` beside it help.
    pub fn of(schema: &ToolSchema) -> Result<Self> {
        let whole = schema.value();
        let good = good(schema, whole)?;
        let refused = |value: &Value| schema.check(&value.to_string()).is_err();
        let bad: Vec<String> =
            bad(whole, &good).into_iter().filter(refused).take(3).map(|value| value.to_string()).collect();
        let bad = bad.try_into().map_err(|_| none("the schema refuses too little"))?;
        Ok(Self { good: good.to_string(), bad })
    }
}

/// All members; then, where rules exclude some beside others, as many as they allow.
fn good(schema: &ToolSchema, whole: &Value) -> Result<Value> {
    let mut members = Map::new();
    let required = strings(whole.get("required"));
    if let Some(Value::Object(properties)) = whole.get("properties") {
        for (name, property) in properties {
            match value(whole, property, 0) {
                Some(value) => drop(members.insert(name.clone(), value)),
                None if !required.contains(&name.as_str()) => {}
                None => return Err(none(&format!("no value was found for `{name}`"))),
            }
        }
    }
    let fits =
        |members: &Map<String, Value>| schema.check(&Value::Object(members.clone()).to_string()).is_ok();
    let optional: Vec<String> =
        members.keys().filter(|name| !required.contains(&name.as_str())).cloned().collect();
    // The last member goes first, and one at a time before two.
    for leave_out in 0..=optional.len().min(3) {
        if let Some(found) = without(&members, &optional, leave_out, &fits) {
            return Ok(Value::Object(found));
        }
    }
    members.retain(|name, _| required.contains(&name.as_str()));
    if fits(&members) { Ok(Value::Object(members)) } else { Err(none("no members that fit were found")) }
}

fn without(
    members: &Map<String, Value>,
    names: &[String],
    count: usize,
    fits: &dyn Fn(&Map<String, Value>) -> bool,
) -> Option<Map<String, Value>> {
    if count == 0 {
        return fits(members).then(|| members.clone());
    }
    names.iter().enumerate().rev().find_map(|(place, name)| {
        let mut fewer = members.clone();
        fewer.remove(name);
        without(&fewer, &names[..place], count - 1, fits)
    })
}

/// Arguments that should be refused, the most telling first.
fn bad(whole: &Value, good: &Value) -> Vec<Value> {
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    let mut bad = vec![with("a_member_that_nobody_named", json!(true))];
    for name in strings(whole.get("required")) {
        let mut fewer = good.clone();
        fewer.as_object_mut().map(|members| members.remove(name));
        bad.push(fewer);
    }
    if !["oneOf", "anyOf", "allOf"].iter().all(|rule| whole.get(rule).is_none()) {
        bad.push(json!({}));
    }
    if let Some(Value::Object(properties)) = whole.get("properties") {
        for (name, property) in properties {
            let too_long = property.get("maxLength").and_then(Value::as_u64).map(|most| most + 1);
            if let Some(length) = too_long.and_then(|length| usize::try_from(length).ok()) {
                bad.push(with(name, json!("x".repeat(length.min(1 << 20)))));
            }
            bad.push(with(name, json!({ "of": ["no", "such", "type"] })));
        }
    }
    bad.extend([json!([]), json!("no object"), json!(7)]);
    bad
}

/// A value for `schema`, which is somewhere within `whole`.
fn value(whole: &Value, schema: &Value, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return value(whole, whole.pointer(reference.strip_prefix('#')?)?, depth + 1);
    }
    if let Some(branches) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(name)?.as_array()) {
        return branches.iter().find_map(|branch| value(whole, branch, depth + 1));
    }
    let named = [schema.get("const"), schema.get("default")].into_iter().flatten();
    let listed = ["examples", "enum"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten();
    let checked = validator(
        &json!({ "$defs": whole.get("$defs"), "allOf": [schema] })
            .as_object()
            .map(|all| all.iter().filter(|(_, value)| !value.is_null()))
            .map(|all| Value::Object(all.map(|(name, value)| (name.clone(), value.clone())).collect()))?,
    )?;
    let fits = |value: &Value| !value.is_null() && checked.is_valid(value);
    let mine = || named.chain(listed).find(|value| fits(value)).cloned();
    mine().or_else(|| built(whole, schema, depth).into_iter().find(fits))
}

/// Values of the type that `schema` names first.
fn built(whole: &Value, schema: &Value, depth: usize) -> Vec<Value> {
    let number = |name: &str| schema.get(name).and_then(Value::as_u64).unwrap_or(0);
    let length = |name: &str| usize::try_from(number(name)).unwrap_or(usize::MAX).min(1 << 16);
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("string") => {
            let mut words: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
            words.push("x".repeat(length("minLength")));
            words.into_iter().map(Value::String).collect()
        }
        Some("integer" | "number") => {
            let edges = ["minimum", "maximum"].into_iter().filter_map(|edge| schema.get(edge)).cloned();
            edges.chain([json!(1), json!(0), json!(-1)]).collect()
        }
        Some("boolean") => vec![json!(true), json!(false)],
        Some("array") => {
            let item = schema.get("items").and_then(|items| value(whole, items, depth + 1));
            let count = length("minItems").max(usize::from(item.is_some()));
            let items = |item: Value| Value::Array(vec![item; count]);
            vec![item.map_or(json!([]), items), json!([])]
        }
        Some("object") => {
            let required = strings(schema.get("required"));
            let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let members = members.filter(|(name, _)| required.contains(&name.as_str()));
            let members: Option<Map<_, _>> =
                members.map(|(name, below)| Some((name.clone(), value(whole, below, depth + 1)?))).collect();
            members.map(Value::Object).into_iter().collect()
        }
        _ => vec![json!("text"), json!(1), json!(true), json!({}), json!([])],
    }
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn none(what: &str) -> Error {
    Error::unsupported("samples", what)
}

/// What patterns ask for here and there: handles, ids, times, addresses.
const WORDS: [&str; 10] = [
    "some text",
    "alice",
    "a",
    "conv_1",
    "123456",
    "2030-01-01T00:00:00Z",
    "018f0000-0000-7000-8000-000000000000",
    "alice@host.example",
    "https://host.example/a",
    "mq9://host.example/inbox",
];
/// Schemas may refer to themselves.
const DEEPEST: usize = 16;
