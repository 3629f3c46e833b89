//! The journal on disk: one line of JSON per change, replayed on opening.
//!
//! The first line names the format, its version, the profile, and when the broker started; from that time
//! its collection passes are counted, before and after a restart alike. Every other line is a command
//! with its time. Carrying them out again gives the same ids and names, because the engine takes nothing
//! from outside.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::engine::{Change, Command, Engine, EngineProfile, Rules};

/// An open journal, locked against other processes, at whose end changes are appended.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Heading {
    journal: String,
    version: u32,
    rules: String,
    partitions: u32,
    started_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// When, in milliseconds since 1970.
    t: u64,
    subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    payload: String,
    /// A topic of plain publishes that this command took over: its name and next ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed: Option<(String, Vec<u64>)>,
}

impl Journal {
    /// Opens or makes the journal in `dir`, and the engine as it was when the journal ended.
    pub(crate) fn open(dir: &Path, profile: EngineProfile, now_ms: u64) -> io::Result<(Self, Engine)> {
        fs::create_dir_all(dir)?;
        let path = dir.join(FILE_NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another broker has this data directory open")
            }
            TryLockError::Error(error) => error,
        })?;
        let mut engine = Engine::new(profile.clone());
        let intact = replay(&file, &profile, &mut engine)?;
        file.set_len(intact)?;
        file.seek(SeekFrom::Start(intact))?;
        if intact == 0 {
            let heading = Heading {
                journal: FORMAT.to_owned(),
                version: VERSION,
                rules: rules_name(profile.rules).to_owned(),
                partitions: profile.partitions,
                started_ms: now_ms,
            };
            write_line(&mut file, &heading)?;
            engine.tick(now_ms);
        }
        engine.forget_volatile();
        Ok((Self { file }, engine))
    }

    /// Writes one change. After an error the journal must not be written to again.
    pub(crate) fn append(&mut self, at_ms: u64, command: Command<'_>, change: &Change) -> io::Result<()> {
        let claimed = match change {
            Change::None => return Ok(()),
            Change::State => None,
            Change::Claimed(name, next_ids) => Some((name.clone(), next_ids.clone())),
        };
        let line = Line {
            t: at_ms,
            subject: command.subject.to_owned(),
            header: command.header.map(|header| STANDARD.encode(header)),
            payload: STANDARD.encode(command.payload),
            claimed,
        };
        write_line(&mut self.file, &line)
    }

    /// A journal that every write to fails.
    #[cfg(test)]
    pub(crate) fn read_only(path: &Path) -> io::Result<Self> {
        File::open(path).map(|file| Self { file })
    }
}

/// Carries out every whole line; the length of the file up to the last of them.
fn replay(file: &File, profile: &EngineProfile, engine: &mut Engine) -> io::Result<u64> {
    let mut lines = BufReader::new(file);
    let mut text = Vec::new();
    let (mut intact, mut number) = (0, 0);
    loop {
        text.clear();
        let length = lines.read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            // Cut short while it was written, so its reply was never given. A file that begins otherwise
            // than a journal is somebody else's and must not be cut.
            let beginning = format!(r#"{{"journal":"{FORMAT}","#);
            return match number {
                0 if !text.starts_with(beginning.as_bytes()) && !beginning.as_bytes().starts_with(&text) => {
                    Err(damaged("the file is no journal"))
                }
                _ => Ok(intact),
            };
        }
        number += 1;
        let parsed = if number == 1 { begin(&text, profile, engine) } else { carry_out(&text, engine) };
        parsed.map_err(|fault| damaged(&format!("line {number}: {fault}")))?;
        intact += length as u64;
    }
}

fn begin(text: &[u8], profile: &EngineProfile, engine: &mut Engine) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Format {
        journal: String,
        version: u32,
    }
    let format: Format = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if format.journal != FORMAT {
        return Err(format!("the file is a journal of {:?}", format.journal));
    }
    if format.version != VERSION {
        return Err(format!("version {} is unknown here; {VERSION} is read", format.version));
    }
    let heading: Heading = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if heading.rules != rules_name(profile.rules) || heading.partitions != profile.partitions {
        return Err(format!(
            "it was written under the rules {:?} with {} partitions; open it with these",
            heading.rules, heading.partitions
        ));
    }
    engine.tick(heading.started_ms);
    Ok(())
}

fn carry_out(text: &[u8], engine: &mut Engine) -> Result<(), String> {
    let line: Line = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let decode = |text: &String| STANDARD.decode(text).map_err(|error| error.to_string());
    let header = line.header.as_ref().map(decode).transpose()?;
    let payload = decode(&line.payload)?;
    if let Some((name, next_ids)) = &line.claimed {
        engine.restore_volatile(name, next_ids);
    }
    let command = Command { subject: &line.subject, header: header.as_deref(), payload: &payload };
    engine.handle(line.t, command);
    Ok(())
}

fn write_line<T: Serialize>(file: &mut File, line: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}

fn rules_name(rules: Rules) -> &'static str {
    match rules {
        Rules::RobustMq => "robustmq",
        Rules::Documented => "documented",
    }
}

fn damaged(fault: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("journal: {fault}"))
}

const FILE_NAME: &str = "mq9-double.journal";
const FORMAT: &str = "mq9-double";
const VERSION: u32 = 1;
