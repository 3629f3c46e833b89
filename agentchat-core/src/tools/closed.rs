//! Schemas that take what they name and nothing else.

use serde_json::Value;

/// The first object that takes members nobody named, and where it is.
pub(super) fn open_object(schema: &Value) -> Option<String> {
    if schema.get("type").and_then(Value::as_str) != Some("object") || !shuts(schema, false) {
        let what = "the whole must be of type `object`, with `additionalProperties` false";
        return Some(what.to_owned());
    }
    let place = open_below(schema, "")?;
    Some(format!("the object at {place} must have `additionalProperties` false, or a schema"))
}

/// Takes out what a model has no use for: everywhere, and more at the top.
pub(super) fn tidy(schema: &mut Value, top: bool) {
    let Value::Object(members) = schema else { return };
    if top {
        members.retain(|name, _| !["$schema", "title"].contains(&name.as_str()));
    }
    let width = |format: &str| format.trim_start_matches('u').starts_with("int");
    if members.get("format").and_then(Value::as_str).is_some_and(width) {
        members.remove("format");
    }
    for (name, value) in members {
        match value {
            Value::Object(map) if MAPS.contains(&name.as_str()) => {
                map.values_mut().for_each(|below| tidy(below, false));
            }
            Value::Array(list) if LISTS.contains(&name.as_str()) => {
                list.iter_mut().for_each(|below| tidy(below, false));
            }
            value if SINGLE.contains(&name.as_str()) => tidy(value, false),
            _ => {}
        }
    }
}

/// Takes `null` out of what `schema` allows.
pub(super) fn refuse_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get_mut(choice) {
            choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        }
    }
}

fn open_below(schema: &Value, place: &str) -> Option<String> {
    children(schema).into_iter().find_map(|(step, below)| {
        let place = format!("{place}/{step}");
        match is_object(below, &step) && !shuts(below, true) {
            true => Some(place),
            false => open_below(below, &place),
        }
    })
}

/// Whether `schema` is that of an object. A branch that names members only to say more of them is not.
fn is_object(schema: &Value, step: &str) -> bool {
    let branch = BRANCHES.iter().any(|branch| step.split('/').next() == Some(branch));
    let named = match schema.get("type") {
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        _ => false,
    };
    named || (!branch && schema.get("properties").is_some())
}

/// Whether members that nobody named are refused; or, where it is allowed, held to a schema.
fn shuts(schema: &Value, schema_too: bool) -> bool {
    ["additionalProperties", "unevaluatedProperties"].iter().any(|rest| match schema.get(rest) {
        Some(Value::Bool(false)) => true,
        Some(Value::Object(_)) => schema_too,
        _ => false,
    })
}

/// The schemas within a schema, each with the step to it.
fn children(schema: &Value) -> Vec<(String, &Value)> {
    let Value::Object(members) = schema else { return Vec::new() };
    let of_member = |(name, value)| -> Vec<(String, &Value)> {
        let name: &String = name;
        let value: &Value = value;
        match value {
            Value::Object(map) if MAPS.contains(&name.as_str()) => {
                map.iter().map(|(key, below)| (format!("{name}/{key}"), below)).collect()
            }
            Value::Array(list) if LISTS.contains(&name.as_str()) => {
                list.iter().enumerate().map(|(index, below)| (format!("{name}/{index}"), below)).collect()
            }
            Value::Object(_) if SINGLE.contains(&name.as_str()) => vec![(name.clone(), value)],
            _ => Vec::new(),
        }
    };
    members.iter().flat_map(of_member).collect()
}

const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "dependentSchemas"];
const LISTS: [&str; 4] = ["prefixItems", "allOf", "anyOf", "oneOf"];
const SINGLE: [&str; 9] = [
    "items",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
];
/// What is within these says more of the same value.
const BRANCHES: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
