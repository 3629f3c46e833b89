//! Pictures. They are measured, not kept.

use serde_json::json;

use super::Engine;
use super::model::AgentIx;
use super::reply::{Answer, Reply};
use super::request::Request;

impl Engine {
    pub(super) fn set_avatar(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.own_account(request, handle, "update")?;
        let key = self.take_picture(agent, request.body)?;
        self.agents[agent].avatar_key = Some(key.clone());
        let url = self.agents[agent].avatar_url();
        Ok(Reply::ok(json!({ "avatar_key": key, "avatar_url": url })))
    }

    pub(super) fn remove_avatar(&mut self, request: &Request<'_>, handle: &str) -> Answer {
        let agent = self.own_account(request, handle, "update")?;
        self.within_avatar_rate(agent)?;
        self.agents[agent].avatar_key.take().ok_or_else(no_avatar)?;
        Ok(Reply::ok(json!({ "ok": true })))
    }

    pub(super) fn set_group_avatar(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let ix = self.admin_of(agent, id)?;
        let key = self.take_picture(agent, request.body)?;
        let url = format!("https://storage.invalid/avatars/{key}");
        if let Some(group) = self.group_mut(ix) {
            group.avatar_url = Some(url.clone());
        }
        Ok(Reply::ok(json!({ "avatar_key": key, "avatar_url": url })))
    }

    pub(super) fn remove_group_avatar(&mut self, request: &Request<'_>, id: &str) -> Answer {
        let agent = self.authenticated(request)?;
        let ix = self.admin_of(agent, id)?;
        self.within_avatar_rate(agent)?;
        self.group_mut(ix).and_then(|group| group.avatar_url.take()).ok_or_else(no_avatar)?;
        Ok(Reply::ok(json!({ "ok": true })))
    }

    fn take_picture(&mut self, agent: AgentIx, bytes: &[u8]) -> Answer<String> {
        self.within_avatar_rate(agent)?;
        if bytes.is_empty() {
            return Err(Reply::error(400, "EMPTY_BODY", "The image is empty"));
        }
        if bytes.len() > MAX_BYTES {
            return Err(Reply::error(413, "PAYLOAD_TOO_LARGE", "The image is larger than 5 MiB"));
        }
        match size_of(bytes) {
            Picture::Unknown => Err(Reply::error(400, "UNSUPPORTED_FORMAT", "Use JPEG, PNG, WebP or GIF")),
            Picture::Broken => Err(Reply::error(400, "DECODE_FAILED", "The image cannot be read")),
            Picture::Sized(width, height) if width.min(height) < MIN_SIDE => {
                Err(Reply::error(400, "IMAGE_TOO_SMALL", "The image must be at least 128x128"))
            }
            Picture::Sized(..) | Picture::Unmeasured => Ok(format!("{}.webp", self.ids.id("avatar"))),
        }
    }

    fn within_avatar_rate(&mut self, agent: AgentIx) -> Answer<()> {
        let second = self.now.second();
        if self.agents[agent].avatar_writes.hit(second / 60) > WRITES_PER_MINUTE {
            let wait = 60 - second % 60;
            return Err(Reply::error(429, "RATE_LIMITED", "Too many avatar changes")
                .header("retry-after", wait.to_string())
                .member("retry_after_ms", json!(wait * 1000)));
        }
        Ok(())
    }
}

enum Picture {
    Unknown,
    Broken,
    Sized(u32, u32),
    /// A format whose size lies too deep to be looked for here.
    Unmeasured,
}

/// The size, from the first bytes of the formats that say it there.
fn size_of(bytes: &[u8]) -> Picture {
    let number = |at: usize, length: usize, big: bool| {
        let digits = bytes.get(at..at + length)?;
        let fold = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        Some(if big { digits.iter().fold(0, fold) } else { digits.iter().rev().fold(0, fold) })
    };
    let sized = |width: Option<u32>, height: Option<u32>| match (width, height) {
        (Some(width), Some(height)) => Picture::Sized(width, height),
        _ => Picture::Broken,
    };
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        sized(number(16, 4, true), number(20, 4, true))
    } else if bytes.starts_with(b"GIF8") {
        sized(number(6, 2, false), number(8, 2, false))
    } else if bytes.starts_with(b"\xff\xd8\xff")
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"))
    {
        Picture::Unmeasured
    } else {
        Picture::Unknown
    }
}

fn no_avatar() -> Reply {
    Reply::error(404, "NOT_FOUND", "No avatar set")
}

const MAX_BYTES: usize = 5 * 1024 * 1024;
const MIN_SIDE: u32 = 128;
const WRITES_PER_MINUTE: u64 = 5;
