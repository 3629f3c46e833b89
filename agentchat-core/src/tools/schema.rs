//! What the arguments of a tool must be.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{closed, explain};
use crate::error::{Error, ErrorKind, Result};

/// What the arguments of a tool must be: a JSON Schema (draft 2020-12) of a closed object, and the check
/// against it. Cheap to clone.
#[derive(Clone)]
pub struct ToolSchema(Arc<Inner>);

struct Inner {
    text: String,
    value: Value,
    validator: Validator,
}

impl ToolSchema {
    /// Reads a schema and makes it ready. What says nothing to a model is left out of it: `$schema`, the
    /// `title` of the whole, and formats that name a width of integers, which some hosts refuse.
    ///
    /// Patterns are regular expressions without look-around and back references, so that no argument can make
    /// a check slow. References stay within the schema: nothing is ever fetched.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for text that is no JSON or no schema; for one whose whole is not an object; and
    /// for an object in it that takes members nobody named: `additionalProperties` must be `false`, or further
    /// down a schema. The error says where.
    pub fn from_json(text: &str) -> Result<Self> {
        let value = serde_json::from_str(text).map_err(|error| fault("it is no JSON").with_source(error))?;
        Self::of(value)
    }

    /// That of a tool without arguments.
    ///
    /// # Errors
    /// None that can come; it is made as all others are.
    pub fn none() -> Result<Self> {
        Self::of(json!({ "type": "object", "properties": {}, "additionalProperties": false }))
    }

    /// Demands that exactly one of the members `names` is given. None of them may be `null` then.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that the schema does not have, and for fewer than two.
    pub fn with_exactly_one_of(self, names: &[&str]) -> Result<Self> {
        self.with_choice("oneOf", "Give exactly one of", names)
    }

    /// Demands that at least one of the members `names` is given. None of them may be `null` then.
    ///
    /// # Errors
    /// As [`ToolSchema::with_exactly_one_of`].
    pub fn with_at_least_one_of(self, names: &[&str]) -> Result<Self> {
        self.with_choice("anyOf", "Give at least one of", names)
    }

    /// The schema as JSON.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The schema without choices at its top (`oneOf`, `anyOf`, `allOf`), which some models' hosts refuse
    /// there. Its description still says in words what [`ToolSchema::with_exactly_one_of`] demands, and calls
    /// are checked against the whole.
    pub fn to_flat_json(&self) -> String {
        let mut value = self.0.value.clone();
        if let Value::Object(members) = &mut value {
            members.retain(|name, _| !["oneOf", "anyOf", "allOf"].contains(&name.as_str()));
        }
        value.to_string()
    }

    /// The schema as any type that can be read from JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a type that cannot.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let unreadable = |_| Error::new(ErrorKind::Invalid, "tool schema", "the schema is not of that type");
        serde_json::from_str(&self.0.text).map_err(unreadable)
    }

    /// Checks arguments. Nothing and `null` stand for an object without members.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming what is wrong and where, up to five faults; values are not repeated.
    /// [`ErrorKind::TooLarge`] above 1 MiB.
    pub fn check(&self, arguments: &str) -> Result<()> {
        self.checked(arguments).map(drop)
    }

    /// The arguments as text and as a value.
    pub(super) fn checked<'a>(&self, arguments: &'a str) -> Result<(&'a str, Value)> {
        let refused = |kind, what: &str| Error::new(kind, "arguments", what);
        if arguments.len() > LARGEST {
            return Err(refused(ErrorKind::TooLarge, "they have more than 1 MiB"));
        }
        let text = match arguments.trim() {
            "" | "null" => "{}",
            text => text,
        };
        let value =
            serde_json::from_str(text).map_err(|_| refused(ErrorKind::Invalid, "they are no JSON"))?;
        match explain::faults(&self.0.value, &self.0.validator, &value) {
            None => Ok((text, value)),
            Some(faults) => Err(refused(ErrorKind::Invalid, &faults)),
        }
    }

    #[cfg(feature = "conformance")]
    pub(super) fn value(&self) -> &Value {
        &self.0.value
    }

    fn of(mut value: Value) -> Result<Self> {
        closed::tidy(&mut value, true);
        if let Some(open) = closed::open_object(&value) {
            return Err(fault(&open));
        }
        let validator = validator(&value).ok_or_else(|| fault("it is no schema of draft 2020-12"))?;
        Ok(Self(Arc::new(Inner { text: value.to_string(), value, validator })))
    }

    fn with_choice(self, keyword: &str, words: &str, names: &[&str]) -> Result<Self> {
        let mut value = self.0.value.clone();
        let unknown = |name: &str| fault(&format!("a rule names `{name}`, which it does not have"));
        if names.len() < 2 {
            return Err(fault("a rule of choice needs two names"));
        }
        for name in names {
            let member = value.pointer_mut("/properties").and_then(|members| members.get_mut(name));
            closed::refuse_null(member.ok_or_else(|| unknown(name))?);
        }
        let Value::Object(whole) = &mut value else { return Err(fault("it is no object")) };
        let choices: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
        let choice = json!({ keyword: choices });
        // A second rule of the same kind stands beside the first.
        if let Some(Value::Array(all)) = whole.get_mut("allOf") {
            all.push(choice);
        } else if whole.contains_key(keyword) {
            whole.insert("allOf".to_owned(), json!([choice]));
        } else {
            whole.insert(keyword.to_owned(), json!(choices));
        }
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let rule = format!("{words} {}.", quoted.join(", "));
        let described = match whole.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text} {rule}"),
            None => rule,
        };
        whole.insert("description".to_owned(), described.into());
        Self::of(value)
    }
}

impl fmt::Debug for ToolSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolSchema").field(&self.0.text).finish()
    }
}

impl PartialEq for ToolSchema {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl Eq for ToolSchema {}

/// A schema made ready; `None` for what is no schema, or refers to something outside of it.
pub(super) fn validator(schema: &Value) -> Option<Validator> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .ok()
}

fn fault(what: &str) -> Error {
    Error::new(ErrorKind::Config, "tool schema", what)
}

/// More than any network here carries in a message.
const LARGEST: usize = 1024 * 1024;

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
