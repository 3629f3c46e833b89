//! What is wrong with arguments, in words for the model that made them.

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::Value;

/// What is wrong with `arguments`: where and what, up to [`MOST`] faults. Values are never repeated.
pub(super) fn faults(schema: &Value, validator: &Validator, arguments: &Value) -> Option<String> {
    let mut faults: Vec<String> =
        validator.iter_errors(arguments).take(MOST).map(|error| fault(schema, &error)).collect();
    faults.dedup();
    let text = faults.join("; ");
    match text.char_indices().nth(LONGEST) {
        _ if text.is_empty() => None,
        Some((end, _)) => Some(format!("{}…", &text[..end])),
        None => Some(text),
    }
}

fn fault(schema: &Value, error: &ValidationError<'_>) -> String {
    let rule = match error.kind() {
        ValidationErrorKind::AnyOf { .. } => Some("at least"),
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::OneOfMultipleValid { .. } => {
            Some("exactly")
        }
        _ => None,
    };
    let choice = || {
        let names = required_names(schema.pointer(error.schema_path().as_str())?)?;
        Some(format!("give {} one of {}", rule?, names.join(", ")))
    };
    let what = choice().unwrap_or_else(|| error.masked().to_string());
    match error.instance_path().as_str() {
        "" => what,
        place => format!("at {place}: {what}"),
    }
}

/// The names of a choice whose branches demand one member each.
fn required_names(choices: &Value) -> Option<Vec<String>> {
    let name = |choice: &Value| match choice.get("required")?.as_array()?.as_slice() {
        [Value::String(name)] => Some(format!("`{name}`")),
        _ => None,
    };
    choices.as_array()?.iter().map(name).collect()
}

/// A model that is told this much at once can repair it.
const MOST: usize = 5;
/// In characters: names of members are the model's, and may be long.
const LONGEST: usize = 1_000;
