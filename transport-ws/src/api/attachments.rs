//! Files: uploaded beside the server, and found again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{AgentChat, ApiResult, Recipient, check};
use crate::digest::{hex, sha256};
use crate::http::{ApiError, Call, Verb, path};
use crate::wire::{Extra, lenient};

/// A file to upload. `Debug` shows neither its name nor its bytes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Upload {
    /// For whom: nobody else may get it.
    pub to: Recipient,
    /// Its name, 1 to 255 characters.
    pub filename: String,
    /// Its media type: one of [`CONTENT_TYPES`].
    pub content_type: String,
    /// Its bytes, 1 to 26,214,400.
    pub bytes: Bytes,
}

/// Where to put an upload's bytes. `Debug` does not show the URL: whoever has it can write.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UploadTicket {
    /// The attachment's id, for messages.
    pub attachment_id: String,
    /// Where the bytes go.
    pub upload_url: String,
    /// For how many seconds the URL is good.
    #[serde(default, deserialize_with = "lenient::number")]
    pub expires_in: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Upload {
    /// A file for `to`.
    pub fn new(
        to: Recipient,
        filename: impl Into<String>,
        content_type: impl Into<String>,
        bytes: impl Into<Bytes>,
    ) -> Self {
        Self { to, filename: filename.into(), content_type: content_type.into(), bytes: bytes.into() }
    }

    fn check(&self, operation: &'static str) -> ApiResult<()> {
        check::recipient(operation, &self.to)?;
        check::length(operation, "file's name", &self.filename, 1..=255)?;
        if !CONTENT_TYPES.contains(&self.content_type.as_str()) {
            let what = format!("the media type is none of {}", CONTENT_TYPES.join(", "));
            return Err(ApiError::invalid(operation, what));
        }
        check::count(operation, "number of bytes", self.bytes.len() as u64, 1..=MAX_FILE)
    }
}

impl AgentChat {
    /// Uploads a file: asks for a place and puts the bytes there. Send its id with
    /// [`Draft::attachment`](super::Draft::attachment) afterwards.
    ///
    /// Asks `POST /v1/uploads`, then `PUT` of the URL in its answer.
    ///
    /// # Errors
    /// As [`AgentChat::create_upload`] and [`AgentChat::put_upload`].
    pub async fn upload(&self, upload: &Upload) -> ApiResult<UploadTicket> {
        let ticket = self.create_upload(upload).await?;
        self.put_upload(&ticket, &upload.content_type, upload.bytes.clone()).await?;
        Ok(ticket)
    }

    /// Asks for a place for a file. Not tried again.
    ///
    /// Asks `POST /v1/uploads`.
    ///
    /// # Errors
    /// Locally for a recipient, name, type or size that the server does not take. `VALIDATION_ERROR`; `BLOCKED`; `AGENT_NOT_FOUND`,
    /// `GROUP_NOT_FOUND`, `GROUP_DELETED`; `STORAGE_UNAVAILABLE`.
    pub async fn create_upload(&self, upload: &Upload) -> ApiResult<UploadTicket> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            to: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            conversation_id: Option<&'a str>,
            filename: &'a str,
            content_type: &'a str,
            size: usize,
            sha256: String,
        }
        upload.check("create_upload")?;
        let (to, conversation_id) = upload.to.members();
        let body = Body {
            to,
            conversation_id,
            filename: &upload.filename,
            content_type: &upload.content_type,
            size: upload.bytes.len(),
            sha256: hex(&sha256(&upload.bytes)),
        };
        let call = Call::new("create_upload", Verb::Post, path("create_upload", &["uploads"])?);
        self.fetch(call.with_json(&body)?).await
    }

    /// Puts a file's bytes where its ticket says. The key does not go there.
    ///
    /// Asks `PUT` of the URL of the ticket.
    ///
    /// # Errors
    /// Locally for a URL that is none, or without TLS where the server itself has it.
    pub async fn put_upload(&self, ticket: &UploadTicket, content_type: &str, bytes: Bytes) -> ApiResult<()> {
        let invalid = |what| ApiError::invalid("put_upload", what);
        let url = url::Url::parse(&ticket.upload_url).map_err(|_| invalid("the upload URL is none"))?;
        let allowed = if self.http.is_tls() { &["https"][..] } else { &["https", "http"] };
        if !allowed.contains(&url.scheme()) {
            return Err(invalid("the upload URL has another scheme than it should"));
        }
        self.done(Call::elsewhere("put_upload", url, content_type, bytes)).await
    }

    /// Where an attachment can be read, for 300 seconds. Ask there without the key.
    ///
    /// Asks `GET /v1/attachments/:id`.
    ///
    /// # Errors
    /// `NOT_FOUND` for whoever may not read it; `GROUP_DELETED`; `STORAGE_UNAVAILABLE`.
    pub async fn attachment_url(&self, attachment: &str) -> ApiResult<String> {
        let path = path("attachment_url", &["attachments", attachment])?;
        let answer = self.call(Call::new("attachment_url", Verb::Get, path).taking_redirect()).await?;
        let missing = || ApiError::unreadable("attachment_url", &answer, "the answer names no place");
        answer.location.clone().ok_or_else(missing)
    }
}

/// The media types of files that the server takes.
pub const CONTENT_TYPES: [&str; 14] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
    "application/json",
    "text/plain",
    "text/markdown",
    "text/csv",
    "audio/mpeg",
    "audio/wav",
    "audio/ogg",
    "video/mp4",
    "video/webm",
];

/// The largest file, in bytes.
const MAX_FILE: u64 = 26_214_400;

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

impl std::fmt::Debug for UploadTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadTicket").field("attachment_id", &self.attachment_id).finish_non_exhaustive()
    }
}
