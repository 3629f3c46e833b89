//! Where signatures are made and checked: by the caller's cryptography, over bytes that are written down here.

use std::fmt;

use bytes::Bytes;

use crate::card::RawCard;
use crate::envelope::Envelope;
use crate::error::{CardRule, Error, Result};
use crate::headers::Headers;
use crate::json::{self, Kind, quote};
use crate::names;

/// Makes signatures. This crate has no cryptography of its own.
pub trait Signer: Send + Sync {
    /// Signs a card without its `signatures`. A2A signs the RFC 8785 form of it; making that form is up to
    /// the signer, as its details differ between implementations.
    ///
    /// # Errors
    ///
    /// Why there is no signature, without secrets.
    fn sign_card(&self, text: &[u8]) -> std::result::Result<CardSignature, SignFailure>;

    /// Signs what [`Envelope::signing_input`] gives, as visible ASCII of at most 4 KiB.
    ///
    /// # Errors
    ///
    /// Why there is no signature, without secrets.
    fn sign_body(&self, input: &[u8]) -> std::result::Result<String, SignFailure>;
}

/// Checks signatures.
pub trait Verifier: Send + Sync {
    /// Checks one signature over a card's text without its `signatures`.
    fn verify_card(&self, text: &[u8], signature: &CardSignature) -> Verdict;

    /// Checks a signature over what [`Envelope::signing_input`] gives.
    fn verify_body(&self, input: &[u8], signature: &str) -> Verdict;
}

/// What a check of a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It was signed so by someone who is trusted.
    Valid,
    /// It was signed, and is not what was signed.
    Tampered,
    /// It was signed in a way that cannot be checked here: a key or an algorithm nobody has.
    Unverifiable,
    /// There is no signature.
    Unsigned,
}

/// One entry of a card's `signatures`. `Debug` prints lengths.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CardSignature {
    /// The JWS protected header, in base64url.
    pub protected: String,
    /// The JWS signature, in base64url.
    pub signature: String,
    /// The unprotected header, as JSON text.
    pub header: Option<String>,
}

impl CardSignature {
    /// A signature with its protected header, both in base64url.
    #[must_use]
    pub fn new(protected: impl Into<String>, signature: impl Into<String>) -> Self {
        Self { protected: protected.into(), signature: signature.into(), header: None }
    }
}

impl fmt::Debug for CardSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardSignature(<{} bytes>)", self.protected.len() + self.signature.len())
    }
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignFailure(String);

impl SignFailure {
    /// A failure, in words without secrets.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl RawCard {
    /// The card's signatures, those that have both parts.
    #[must_use]
    pub fn signatures(&self) -> Vec<CardSignature> {
        let Some(list) = json::object_of_checked(self.as_bytes()).and_then(|root| root.get(SIGNATURES))
        else {
            return Vec::new();
        };
        list.items()
            .filter_map(|item| {
                let part = |name| item.value.text_of(name).map(|text| text.into_owned());
                let header = item.value.get("header").filter(|header| header.kind() != Kind::Null);
                let mut signature = CardSignature::new(part("protected")?, part("signature")?);
                signature.header = header.map(|header| header.raw().to_owned());
                Some(signature)
            })
            .collect()
    }

    /// The card's text with the member `signatures` taken out, and every other byte as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Member`] if the member is there twice.
    pub fn unsigned_text(&self) -> Result<Bytes> {
        let Some(root) = json::object_of_checked(self.as_bytes()) else { return Ok(self.as_bytes().clone()) };
        root.only(SIGNATURES, SIGNATURES)?;
        Ok(match json::remove_member(root, SIGNATURES) {
            Some(edit) => json::splice(root.document(), &edit),
            None => self.as_bytes().clone(),
        })
    }

    /// This card with a signature behind its last member. Every other byte stays.
    ///
    /// # Errors
    ///
    /// [`Error::Card`] if it is signed already; [`Error::Signing`] if the signer refuses.
    pub fn signed(&self, signer: &dyn Signer) -> Result<Self> {
        if self.is_signed() {
            return Err(Error::Card(CardRule::Signed));
        }
        let signature = signer.sign_card(&self.unsigned_text()?).map_err(Error::Signing)?;
        let header = signature.header.map(|header| format!(",\"header\":{header}")).unwrap_or_default();
        let entry = format!(
            r#"[{{"protected":{},"signature":{}{header}}}]"#,
            quote(&signature.protected),
            quote(&signature.signature)
        );
        let Some(root) = json::object_of_checked(self.as_bytes()) else {
            return Err(Error::Card(CardRule::Signed));
        };
        let edit = json::set_member(root, &[SIGNATURES], &entry)?;
        Self::new(json::splice(root.document(), &edit))
    }

    /// Checks the card's signatures over its text as received. One that is valid is enough; one that shows
    /// tampering counts before those that cannot be checked.
    #[must_use]
    pub fn verify(&self, verifier: &dyn Verifier) -> Verdict {
        if !self.is_signed() {
            return Verdict::Unsigned;
        }
        let Ok(text) = self.unsigned_text() else { return Verdict::Unverifiable };
        let verdicts: Vec<Verdict> =
            self.signatures().iter().map(|signature| verifier.verify_card(&text, signature)).collect();
        [Verdict::Valid, Verdict::Tampered]
            .into_iter()
            .find(|wanted| verdicts.contains(wanted))
            .unwrap_or(Verdict::Unverifiable)
    }
}

impl Envelope {
    /// The bytes that a signature over an envelope covers: each header that has a meaning in this format or
    /// in A2A, as `name:value` and a line feed, sorted by name; another line feed; the body.
    ///
    /// Left out are `amb-signature` itself and what changes on the way: trace context and unknown names.
    #[must_use]
    pub fn signing_input(&self) -> Vec<u8> {
        let mut lines: Vec<(&str, &str)> = self.headers.iter().filter(|(name, _)| is_covered(name)).collect();
        lines.sort_unstable();
        let mut input = Vec::with_capacity(Headers::MAX_VALUE / 8 + self.body.len());
        for (name, value) in lines {
            input.extend_from_slice(name.as_bytes());
            input.push(b':');
            input.extend_from_slice(value.as_bytes());
            input.push(b'\n');
        }
        input.push(b'\n');
        input.extend_from_slice(&self.body);
        input
    }

    /// Signs headers and body, into the header `amb-signature`. Headers set later are not covered.
    ///
    /// # Errors
    ///
    /// [`Error::Signing`] if the signer refuses; [`Error::Header`] if no header can carry what it made.
    pub fn signed(self, signer: &dyn Signer) -> Result<Self> {
        let signature = signer.sign_body(&self.signing_input()).map_err(Error::Signing)?;
        self.with_header(names::SIGNATURE, &signature)
    }

    /// Checks the signature over headers and body.
    #[must_use]
    pub fn verify(&self, verifier: &dyn Verifier) -> Verdict {
        match self.headers.get(names::SIGNATURE) {
            None => Verdict::Unsigned,
            Some(signature) => verifier.verify_body(&self.signing_input(), signature),
        }
    }
}

fn is_covered(name: &str) -> bool {
    let known =
        ["amb-", names::FACADE_PREFIX, names::A2A_PREFIX].iter().any(|prefix| name.starts_with(prefix));
    (known || name == names::REPLY_TO) && name != names::SIGNATURE && !name.starts_with(names::LOCAL_PREFIX)
}

const SIGNATURES: &str = "signatures";
