//! The inputs that are kept, and new ones made of them.

use std::fs;
use std::path::{Path, PathBuf};

/// The kept inputs of a machine, in the order of their names.
pub(crate) fn read(place: &Path) -> Result<Vec<Vec<u8>>, String> {
    let Ok(entries) = fs::read_dir(place) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let hex = paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "hex"));
    hex.map(|path| {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        unhex(text.trim()).ok_or_else(|| format!("{} is not hexadecimal", path.display()))
    })
    .collect()
}

/// Keeps one more.
pub(crate) fn write(place: &Path, input: &[u8]) -> Result<PathBuf, String> {
    let path = place.join(name(input));
    fs::create_dir_all(place).map_err(|error| error.to_string())?;
    fs::write(&path, hex(input) + "\n").map_err(|error| error.to_string())?;
    Ok(path)
}

/// Keeps these and no others.
pub(crate) fn replace(place: &Path, inputs: &[Vec<u8>]) -> Result<(), String> {
    let _ = fs::remove_dir_all(place);
    inputs.iter().try_for_each(|input| write(place, input).map(drop))
}

/// A new input: one of `pool` with some changes, or one from nothing.
pub(crate) fn vary(pool: &[Vec<u8>], dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = match dice.choice(pool) {
        Some(input) if dice.u8(0..8) > 0 => input.clone(),
        _ => (0..dice.usize(1..64)).map(|_| dice.u8(..)).collect(),
    };
    for _ in 0..dice.usize(1..8) {
        let at = dice.usize(0..=input.len());
        match dice.u8(0..6) {
            0 | 1 if at < input.len() => input[at] = dice.u8(..),
            2 => input.insert(at, dice.u8(..)),
            3 if at < input.len() => drop(input.drain(at..(at + dice.usize(1..16)).min(input.len()))),
            4 => {
                let other = dice.choice(pool).cloned().unwrap_or_default();
                let from = dice.usize(0..=other.len());
                let to = (from + dice.usize(0..64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => input.extend((0..dice.usize(1..32)).map(|_| dice.u8(..))),
        }
    }
    input.truncate(LONGEST);
    input
}

/// Bytes as they are kept.
pub(crate) fn hex(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The longest input that is made.
const LONGEST: usize = 384;
