//! Request bodies and their faults, worded as the server's validator words them.

use serde_json::{Map, Value, json};

use super::reply::{Answer, Reply};

/// The members of a JSON body, with the faults found so far.
pub(crate) struct Members<'a> {
    map: &'a Map<String, Value>,
    form: Vec<String>,
    faults: Map<String, Value>,
}

/// Parses a body: what is not JSON is refused, and what the database cannot hold brings the server down.
pub(crate) fn parse(body: &[u8]) -> Answer<Value> {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => Ok(value),
        Err(error) if is_lone_surrogate(&error.to_string()) => Err(Reply::crash()),
        Err(_) => Err(Reply::invalid("Invalid JSON body")),
    }
}

/// JavaScript reads half of a surrogate pair, and the database does not take it.
fn is_lone_surrogate(complaint: &str) -> bool {
    complaint.contains("surrogate") || complaint.contains("end of hex escape")
}

/// Whether there is a NUL somewhere in the text of it.
pub(crate) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// The length JavaScript gives: UTF-16 units.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

impl<'a> Members<'a> {
    pub(crate) fn of(value: &'a Value) -> Answer<Self> {
        match value {
            Value::Object(map) => Ok(Members { map, form: Vec::new(), faults: Map::new() }),
            other => Err(refusal(vec![format!("Expected object, received {}", kind(other))], Map::new())),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name)
    }

    pub(crate) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let faults = self.faults.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(faults) = faults {
            faults.push(Value::String(message.into()));
        }
    }

    pub(crate) fn form_fault(&mut self, message: &str) {
        self.form.push(message.to_owned());
    }

    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.is_empty() || !self.form.is_empty()
    }

    /// A string that must be there, with its length in UTF-16 units.
    pub(crate) fn text(&mut self, name: &str, min: usize, max: usize) -> Option<&'a str> {
        if self.get(name).is_none() {
            self.fault(name, "Required");
            return None;
        }
        self.optional_text(name, min, max)
    }

    pub(crate) fn optional_text(&mut self, name: &str, min: usize, max: usize) -> Option<&'a str> {
        let value = self.get(name)?;
        let Some(text) = value.as_str() else {
            self.fault(name, format!("Expected string, received {}", kind(value)));
            return None;
        };
        let length = units(text);
        if length < min {
            self.fault(name, format!("String must contain at least {min} character(s)"));
        } else if length > max {
            self.fault(name, format!("String must contain at most {max} character(s)"));
        }
        Some(text)
    }

    /// As [`Members::optional_text`], where `null` stands for "none": `Some(None)`.
    pub(crate) fn nullable_text(&mut self, name: &str, max: usize) -> Option<Option<&'a str>> {
        match self.get(name)? {
            Value::Null => Some(None),
            _ => self.optional_text(name, 0, max).map(Some),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        let value = self.get(name)?;
        if value.as_object().is_none() {
            self.fault(name, format!("Expected object, received {}", kind(value)));
        }
        value.as_object()
    }

    pub(crate) fn choice(&mut self, name: &str, choices: &[&str]) -> Option<&'a str> {
        let value = self.get(name)?;
        match choice(value, choices) {
            Ok(text) => Some(text),
            Err(message) => {
                self.fault(name, message);
                None
            }
        }
    }

    /// A list of strings of a bounded length; `None` if it is not there.
    pub(crate) fn texts(&mut self, name: &str, min: usize, max: usize) -> Option<Vec<&'a str>> {
        let value = self.get(name)?;
        let Some(items) = value.as_array() else {
            self.fault(name, format!("Expected array, received {}", kind(value)));
            return None;
        };
        if items.len() < min {
            self.fault(name, format!("Array must contain at least {min} element(s)"));
        } else if items.len() > max {
            self.fault(name, format!("Array must contain at most {max} element(s)"));
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.as_str() {
                Some(text) => texts.push(text),
                None => self.fault(name, format!("Expected string, received {}", kind(item))),
            }
        }
        Some(texts)
    }

    pub(crate) fn finish(self) -> Answer<()> {
        if self.has_faults() { Err(refusal(self.form, self.faults)) } else { Ok(()) }
    }
}

/// The text, if it is one of these.
pub(crate) fn choice<'a>(value: &'a Value, choices: &[&str]) -> Result<&'a str, String> {
    let listed = choices.iter().map(|choice| format!("'{choice}'")).collect::<Vec<_>>().join(" | ");
    match value.as_str() {
        Some(text) if choices.contains(&text) => Ok(text),
        Some(text) => Err(format!("Invalid enum value. Expected {listed}, received '{text}'")),
        None => Err(format!("Expected {listed}, received {}", kind(value))),
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn refusal(form: Vec<String>, fields: Map<String, Value>) -> Reply {
    Reply::invalid("Invalid request").details(json!({ "formErrors": form, "fieldErrors": fields }))
}
