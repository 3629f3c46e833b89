//! A marked block in a text file that belongs to somebody else, such as the prompt of a model.

mod block;
mod file;

use std::fmt;
use std::path::Path;

use block::{Block, Layout};

use crate::error::{Error, ErrorKind, Result};

/// A marked block in a text file: who the agent is, for instance, in the prompt file of a model.
///
/// The block stands between two lines, `<!-- name:start -->` and `<!-- name:end -->`. What is outside of them
/// belongs to others and stays as it is, byte for byte, whatever its line ends, with or without a byte order
/// mark or a last line end, and whether or not it is UTF-8. The block's own lines end as the file's first line
/// does. Only a line that holds nothing but a marker is one; prose may mention them.
///
/// Files are replaced as a whole: whoever reads one sees the old text or the new one, also after a crash. The
/// file keeps its mode, and a link to it stays a link. One that need not change is not touched. Every method
/// blocks for as long as the disk does.
///
/// ```
/// # fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{Anchor, AnchorState};
///
/// # let path = std::env::temp_dir().join(format!("anchor-{}.md", agentchat_core::ClientMsgId::random()));
/// let anchor = Anchor::new("agentchat")?;
/// anchor.upsert(&path, "You are @coder on AgentChat.")?;
/// assert_eq!(anchor.verify(&path, "You are @coder on AgentChat.")?, AnchorState::Current);
/// assert!(anchor.remove(&path)?);
/// # std::fs::remove_file(path).expect("it was kept, empty");
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Anchor {
    start: String,
    end: String,
}

/// What [`Anchor::upsert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorChange {
    /// There was no block, and now there is: at the end of the file, which was made if there was none.
    Inserted,
    /// There was a block with another text.
    Replaced,
    /// Nothing: the block is as it should be.
    Unchanged,
}

/// How a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorState {
    /// There is no block, or no file.
    Missing,
    /// It holds the expected text.
    Current,
    /// It holds another text.
    Different,
}

impl Anchor {
    /// The block called `name`. Blocks of different names live beside each other in one file.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] unless the name has 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub fn new(name: &str) -> Result<Self> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(invalid("the name of a block has 1 to 64 of a-z, 0-9, - and _"));
        }
        Ok(Self { start: format!("<!-- {name}:start -->"), end: format!("<!-- {name}:end -->") })
    }

    /// Makes sure that the file at `path` holds the block with the text `body`, once. Where there is none, it
    /// goes to the end. Line ends at the end of `body` do not count.
    ///
    /// # Errors
    /// Without a change to the file: [`ErrorKind::Invalid`] for a body with a line that is a marker;
    /// [`ErrorKind::Conflict`] when the file's markers are damaged (a start without an end, an end without a
    /// start, one within or after another), naming the line, or when somebody else changed the file meanwhile
    /// (then the same call may be made again); [`ErrorKind::TooLarge`] for a file above 16 MiB;
    /// [`ErrorKind::Config`] for one that cannot be read or written, and for a missing folder.
    pub fn upsert(&self, path: impl AsRef<Path>, body: &str) -> Result<AnchorChange> {
        let path = path.as_ref();
        let before = file::read(path)?;
        let text = before.as_deref().unwrap_or_default();
        let (after, change) = self.upserted(text, body)?;
        if change != AnchorChange::Unchanged {
            file::replace(path, before.as_deref(), &after)?;
        }
        Ok(change)
    }

    /// Takes the block out, and says whether there was one. A file that is empty then is kept. What
    /// [`Anchor::upsert`] did to the file's end is undone: without other changes, the file is as it was.
    ///
    /// # Errors
    /// As [`Anchor::upsert`], but for the body.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        let Some(before) = file::read(path)? else { return Ok(false) };
        let Some(after) = self.removed(&before)? else { return Ok(false) };
        file::replace(path, Some(&before), &after)?;
        Ok(true)
    }

    /// The text of the block, its lines ended by `\n`, without the last end: `None` without a block or file.
    ///
    /// # Errors
    /// As [`Anchor::upsert`], but for the body; [`ErrorKind::Conflict`] for a block that is not UTF-8.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let text = file::read(path.as_ref())?.unwrap_or_default();
        let Some(block) = self.find(&text)? else { return Ok(None) };
        let inner = std::str::from_utf8(&text[block.inner()])
            .map_err(|_| conflict("the text between the markers is not UTF-8"))?;
        Ok(Some(block::normal(inner)))
    }

    /// Whether the file at `path` holds the block with the text `body`.
    ///
    /// # Errors
    /// As [`Anchor::read`].
    pub fn verify(&self, path: impl AsRef<Path>, body: &str) -> Result<AnchorState> {
        Ok(match self.read(path)? {
            None => AnchorState::Missing,
            Some(text) if text == block::normal(body) => AnchorState::Current,
            Some(_) => AnchorState::Different,
        })
    }

    fn upserted(&self, text: &[u8], body: &str) -> Result<(Vec<u8>, AnchorChange)> {
        let body = block::normal(body);
        if body.lines().any(|line| [&self.start, &self.end].contains(&&line.trim_ascii().to_owned())) {
            return Err(invalid("the text of a block must not have a line that is a marker"));
        }
        let layout = Layout::of(text);
        let lines = layout.lines(&body);
        let Some(block) = self.find(text)? else {
            let block = [self.start.as_bytes(), layout.end(), &lines, self.end.as_bytes()].concat();
            return Ok((layout.appended(text, &block), AnchorChange::Inserted));
        };
        if text[block.inner()] == lines[..] {
            return Ok((text.to_vec(), AnchorChange::Unchanged));
        }
        let after = [&text[..block.inner().start], &lines, &text[block.inner().end..]].concat();
        Ok((after, AnchorChange::Replaced))
    }

    fn removed(&self, text: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(block) = self.find(text)? else { return Ok(None) };
        let outer = block.outer(text);
        Ok(Some([&text[..outer.start], &text[outer.end..]].concat()))
    }

    fn find(&self, text: &[u8]) -> Result<Option<Block>> {
        Block::find(text, self.start.as_bytes(), self.end.as_bytes()).map_err(|what| conflict(&what))
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor").field("start", &self.start).finish_non_exhaustive()
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, "anchor", what)
}

fn conflict(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, "anchor", what).with_reached(crate::error::Reached::No)
}

#[cfg(test)]
mod tests;
