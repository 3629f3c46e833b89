//! The inputs that are kept.

use std::fs;
use std::path::PathBuf;

use crate::support::{FIXTURES, MESSAGES, message};

/// The kept inputs, in the order of their names.
pub(crate) fn read() -> Result<Vec<Vec<u8>>, String> {
    let Ok(entries) = fs::read_dir(place()) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let hex = paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "hex"));
    hex.map(|path| {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        unhex(text.trim()).ok_or_else(|| format!("{} is not hexadecimal", path.display()))
    })
    .collect()
}

/// The fixtures as inputs, without headers.
pub(crate) fn fixtures() -> impl Iterator<Item = Vec<u8>> {
    let bodies = FIXTURES.iter().map(|(_, text)| *text);
    let bodies = bodies.chain(MESSAGES.iter().map(|(name, _)| message(name).1));
    bodies.map(|body| [&[0], body.as_bytes()].concat())
}

/// Keeps one more.
pub(crate) fn write(input: &[u8]) -> Result<PathBuf, String> {
    let path = place().join(name(input));
    fs::create_dir_all(place()).map_err(|error| error.to_string())?;
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&path, hex + "\n").map_err(|error| error.to_string())?;
    Ok(path)
}

/// Keeps these and no others.
pub(crate) fn replace(inputs: &[Vec<u8>]) -> Result<(), String> {
    let _ = fs::remove_dir_all(place());
    inputs.iter().try_for_each(|input| write(input).map(drop))
}

/// An input for people.
pub(crate) fn show(input: &[u8]) -> String {
    let (headers, body) = input.split_at(input.len().min(1));
    format!("headers {headers:?}, body {}", String::from_utf8_lossy(body).escape_debug())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// A name that follows from the content, the same on every machine.
fn name(input: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}.hex", input.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

fn place() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", "reader"].iter().collect()
}
