//! Webhooks: where the server calls, and whether it was the server who called.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AgentChat, ApiResult, check};
use crate::digest::{hex, hmac_sha256, same};
use crate::http::{ApiError, Call, Verb, path};
use crate::wire::{Extra, lenient, moments};

/// A webhook. `Debug` does not show its secret.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Where the server calls.
    #[serde(default)]
    pub url: String,
    /// For which events.
    #[serde(default, deserialize_with = "lenient::list")]
    pub events: Vec<String>,
    /// Whether it is in use.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub active: bool,
    /// What calls are signed with. Told once, when it is made.
    #[serde(default, deserialize_with = "lenient::text")]
    pub secret: Option<String>,
    /// Since when, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A verified call of the server.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookEvent {
    /// What happened: `message.new`, `message.read`, …
    pub event: String,
    /// When, as written.
    pub timestamp: Option<String>,
    /// The facts, as JSON text.
    pub data: String,
}

/// Why a call is not the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebhookFault {
    /// It has no signature.
    MissingSignature,
    /// Its signature is none.
    MalformedSignature,
    /// It is too old, or from the future.
    TimestampSkew,
    /// Somebody else signed it, or it was changed.
    BadSignature,
    /// The server signed it, but it is no event.
    MalformedPayload,
}

/// Checks a call of the server by the value of its signature line (`X-AgentChat-Signature`): hexadecimal
/// digits over the body, or `t=<seconds>,v1=<digits>` over both. `tolerance` is how far `t` may be from
/// `now`; zero takes any. The first form has no time in it and so no protection from repetition.
///
/// # Errors
/// [`WebhookFault`], whose `Display` is the reason's name in AgentChat's other libraries.
pub fn verify_webhook(
    secret: &str,
    signature: Option<&str>,
    body: &[u8],
    tolerance: Duration,
    now: SystemTime,
) -> Result<WebhookEvent, WebhookFault> {
    let signature = signature.map(str::trim).filter(|line| !line.is_empty());
    let signature = signature.ok_or(WebhookFault::MissingSignature)?;
    let sign = |bytes: &[u8]| hex(&hmac_sha256(secret.as_bytes(), bytes));
    let good = if signature.contains('=') {
        let (time, candidates) = parts(signature)?;
        let seconds: u64 = time.parse().map_err(|_| WebhookFault::MalformedSignature)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if !tolerance.is_zero() && now.abs_diff(seconds) > tolerance.as_secs() {
            return Err(WebhookFault::TimestampSkew);
        }
        let expected = sign(&[time.as_bytes(), b".", body].concat());
        candidates.iter().any(|given| same(given.as_bytes(), expected.as_bytes()))
    } else {
        let given = digits(signature)?;
        same(given.as_bytes(), sign(body).as_bytes())
    };
    if !good {
        return Err(WebhookFault::BadSignature);
    }
    let payload: Payload<'_> = serde_json::from_slice(body).map_err(|_| WebhookFault::MalformedPayload)?;
    Ok(WebhookEvent {
        event: payload.event,
        timestamp: payload.timestamp,
        data: payload.data.map_or("null", RawValue::get).to_owned(),
    })
}

moments! { Webhook: created_at }

impl WebhookEvent {
    /// When it happened; nothing for what is no moment.
    pub fn timestamp(&self) -> Option<SystemTime> {
        crate::wire::parse_time(self.timestamp.as_deref()?)
    }
}

impl AgentChat {
    /// Makes a webhook for 1 or more events. Its answer alone tells the secret.
    ///
    /// Asks `POST /v1/webhooks`.
    ///
    /// # Errors
    /// Locally for what is no URL, and without an event. `LIMIT_REACHED` for a sixth; `VALIDATION_ERROR`.
    pub async fn create_webhook(&self, url: &str, events: &[&str]) -> ApiResult<Webhook> {
        #[derive(Serialize)]
        struct Body<'a> {
            url: &'a str,
            events: &'a [&'a str],
        }
        check::web_url("create_webhook", "webhook's URL", url)?;
        if events.is_empty() || events.iter().any(|event| event.is_empty()) {
            return Err(ApiError::invalid("create_webhook", "the webhook has no event, or an empty one"));
        }
        let call = Call::new("create_webhook", Verb::Post, path("create_webhook", &["webhooks"])?);
        self.fetch(call.with_json(&Body { url, events })?).await
    }

    /// The webhooks, without their secrets.
    ///
    /// Asks `GET /v1/webhooks`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn webhooks(&self) -> ApiResult<Vec<Webhook>> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default, deserialize_with = "lenient::list")]
            webhooks: Vec<Webhook>,
        }
        let call = Call::new("webhooks", Verb::Get, path("webhooks", &["webhooks"])?);
        Ok(self.fetch::<Found>(call).await?.webhooks)
    }

    /// One webhook, without its secret.
    ///
    /// Asks `GET /v1/webhooks/:id`.
    ///
    /// # Errors
    /// `NOT_FOUND`; older servers say `INTERNAL_ERROR` then.
    pub async fn webhook(&self, id: &str) -> ApiResult<Webhook> {
        self.fetch(Call::new("webhook", Verb::Get, path("webhook", &["webhooks", id])?)).await
    }

    /// Deletes a webhook.
    ///
    /// Asks `DELETE /v1/webhooks/:id`.
    ///
    /// # Errors
    /// `NOT_FOUND`, also when an earlier attempt has deleted it; older servers say `INTERNAL_ERROR` then.
    pub async fn delete_webhook(&self, id: &str) -> ApiResult<()> {
        self.done(Call::new("delete_webhook", Verb::Delete, path("delete_webhook", &["webhooks", id])?)).await
    }
}

impl fmt::Display for WebhookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingSignature => "missing_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::TimestampSkew => "timestamp_skew",
            Self::BadSignature => "bad_signature",
            Self::MalformedPayload => "malformed_payload",
        })
    }
}

impl std::error::Error for WebhookFault {}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, url: _, events, active, secret: _, created_at, extra } = self;
        f.debug_struct("Webhook")
            .field("id", id)
            .field("events", events)
            .field("active", active)
            .field("created_at", created_at)
            .field("extra", extra)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookEvent({:?}, {} bytes)", self.event, self.data.len())
    }
}

#[derive(Deserialize)]
struct Payload<'a> {
    event: String,
    #[serde(default, deserialize_with = "lenient::text")]
    timestamp: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// The time and all signatures of a line with parts: while a secret changes there are two.
fn parts(line: &str) -> Result<(&str, Vec<String>), WebhookFault> {
    let (mut time, mut candidates) = (None, Vec::new());
    for part in line.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) if value.bytes().all(|byte| byte.is_ascii_digit()) => time = Some(value),
            Some(("v1", value)) => candidates.push(digits(value)?),
            // Parts of a later version are none of ours.
            Some(_) => {}
            None => return Err(WebhookFault::MalformedSignature),
        }
    }
    match time {
        Some(time) if !candidates.is_empty() => Ok((time, candidates)),
        _ => Err(WebhookFault::MalformedSignature),
    }
}

fn digits(text: &str) -> Result<String, WebhookFault> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(WebhookFault::MalformedSignature);
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    const BODY: &[u8] =
        br#"{"event":"message.new","timestamp":"2026-08-11T08:02:31Z","data":{ "id":"msg_1" }}"#;
    const LIMIT: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn with_time(seconds: u64) -> String {
        let signed = [seconds.to_string().as_bytes(), b".", BODY].concat();
        format!("t={seconds},v1={}", hex(&hmac_sha256(SECRET.as_bytes(), &signed)))
    }

    #[test]
    fn c95_webhook_verify() {
        let bare = hex(&hmac_sha256(SECRET.as_bytes(), BODY));
        let verify = |line: &str, body: &[u8], now| verify_webhook(SECRET, Some(line), body, LIMIT, at(now));
        let event = verify(&bare, BODY, 0).expect("the server's");
        assert_eq!((event.event.as_str(), event.data.as_str()), ("message.new", r#"{ "id":"msg_1" }"#));
        assert_eq!(event.timestamp.as_deref(), Some("2026-08-11T08:02:31Z"));
        verify(&bare.to_uppercase(), BODY, 0).expect("digits of either case");
        let timed = with_time(1000);
        for now in [700, 1000, 1300] {
            verify(&timed, BODY, now).expect("in time");
        }
        verify(&format!("v0=x, {timed},v1={}", "0".repeat(64)), BODY, 1000).expect("one of two");
        for now in [699, 1301] {
            assert_eq!(verify(&timed, BODY, now), Err(WebhookFault::TimestampSkew));
        }
        assert!(verify_webhook(SECRET, Some(&timed), BODY, Duration::ZERO, at(9_999_999)).is_ok());
        let mut tampered = BODY.to_vec();
        tampered[12] ^= 1;
        assert_eq!(verify(&bare, &tampered, 0), Err(WebhookFault::BadSignature));
        assert_eq!(verify(&timed, &tampered, 1000), Err(WebhookFault::BadSignature));
        let other_time = timed.replace("t=1000", "t=1001");
        assert_eq!(verify(&other_time, BODY, 1000), Err(WebhookFault::BadSignature));
        for none in [None, Some(""), Some("  ")] {
            assert_eq!(verify_webhook(SECRET, none, BODY, LIMIT, at(0)), Err(WebhookFault::MissingSignature));
        }
        for line in
            ["abc", "t=1", "t=x,v1=00", "t=1000,v1=zz", "v1=", "t=1000;v1=1", &format!("t=-1,v1={bare}")]
        {
            assert_eq!(verify(line, BODY, 1000), Err(WebhookFault::MalformedSignature), "{line}");
        }
        let signed_nonsense = hex(&hmac_sha256(SECRET.as_bytes(), b"{}"));
        assert_eq!(verify(&signed_nonsense, b"{}", 0), Err(WebhookFault::MalformedPayload));
    }

    #[test]
    fn a_webhook_prints_without_its_secret_and_address() {
        let json =
            r#"{"id":"whk_1","url":"https://h/secret-path","events":["a"],"active":true,"secret":"s3cr3t"}"#;
        let webhook: Webhook = serde_json::from_str(json).expect("read");
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("secret-path"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_line_verifies_by_chance(line in "(t=[0-9]{0,20})?[,= ]?(v1=)?[0-9a-fA-F]{0,70}") {
            prop_assert!(verify_webhook(SECRET, Some(&line), BODY, LIMIT, at(0)).is_err());
        }
    }
}
