//! The recordings' format: JSON Lines, one exchange or one summary a line.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// One line: an exchange when it has a subject, else a summary of a probe.
#[derive(serde::Deserialize)]
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) subject: Option<String>,
    #[serde(default)]
    pub(crate) headers: Lines,
    #[serde(default)]
    request: String,
    #[serde(default)]
    request_b64: bool,
    #[serde(default)]
    request_truncated: bool,
    pub(crate) reply: Option<String>,
    #[serde(default)]
    elapsed_ms: Value,
    #[serde(default)]
    t_unix: f64,
    #[serde(default)]
    pub(crate) server_err: Vec<String>,
    pub(crate) header_block: Option<String>,
    /// The whole line, for summaries.
    #[serde(skip)]
    pub(crate) value: Value,
}

impl Line {
    pub(crate) fn at_ms(&self) -> u64 {
        (self.t_unix * 1000.0).round() as u64
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms.as_f64().expect("an exchange has its duration") as u64
    }

    /// The request's bytes; where the recording cut them, the last character was repeated.
    pub(crate) fn body(&self) -> Vec<u8> {
        if self.request_b64 {
            return STANDARD.decode(&self.request).expect("base64");
        }
        if !self.request_truncated {
            return self.request.clone().into_bytes();
        }
        let (beginning, length) = cut(&self.request).expect("a cut request");
        let mut body = beginning.as_bytes().to_vec();
        let end: &[u8] = if body[0] == b'{' { b"\"}" } else { b"" };
        body.resize(length - end.len(), *body.last().expect("something is left"));
        body.extend_from_slice(end);
        body
    }

    /// The raw header block as the recording client sent it.
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        if let Some(block) = &self.header_block {
            // One byte per character: the recording shows the byte 0xFF as ÿ.
            return Some(block.chars().map(|c| u8::try_from(c).expect("a byte")).collect());
        }
        if self.headers.0.is_empty() {
            return None;
        }
        let lines: String =
            self.headers.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Some(format!("NATS/1.0\r\n{lines}\r\n").into_bytes())
    }
}

/// Header lines in the order in which they were sent.
#[derive(Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lines, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = map.next_entry()? {
                    lines.push(line);
                }
                Ok(Lines(lines))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The beginning and the whole length of a text that the recording cut as `beginning...<N bytes>`.
pub(crate) fn cut(text: &str) -> Option<(&str, usize)> {
    let (beginning, length) = text.strip_suffix(" bytes>")?.rsplit_once("...<")?;
    Some((beginning, length.parse().ok()?))
}

/// The recordings of one configuration, by file name without its ending, in order.
pub(crate) fn files(configuration: &str) -> Vec<(String, Vec<Line>)> {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(configuration);
    let mut files: Vec<(String, Vec<Line>)> = std::fs::read_dir(&dir)
        .expect("the recordings")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, read(&path))
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// The lines of a file without the one that describes the recording.
fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).expect("a recording");
    let lines = text.lines().map(|text| {
        let mut line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        line.value = serde_json::from_str(text).expect("it parsed before");
        line
    });
    lines.filter(|line| line.case != "_meta").collect()
}
