//! Bytes in, text on the wire, the same bytes out.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::message::Headers;

/// The header that marks a payload as encoded text, with the value [`BASE64`].
///
/// The broker hands payloads out as lossy UTF-8, so this client sends anything else as base64 with this
/// header, and decodes on receipt. Other clients see base64 text beside the header.
pub const CONTENT_ENCODING: &str = "mq9-content-encoding";

/// The one value of [`CONTENT_ENCODING`] this client writes and decodes. Payloads under any other value
/// are left as they are.
pub const BASE64: &str = "base64";

/// How long the payload is on the wire, and whether it must be encoded.
pub(crate) fn plan(payload: &[u8]) -> (usize, bool) {
    let is_text = std::str::from_utf8(payload).is_ok();
    if is_text { (payload.len(), false) } else { (payload.len().div_ceil(3).saturating_mul(4), true) }
}

pub(crate) fn encoded(payload: &[u8]) -> Bytes {
    STANDARD.encode(payload).into()
}

/// The bytes that were sent, or why they cannot be recovered.
pub(crate) fn decoded<'a>(text: &'a [u8], headers: &Headers) -> Result<Cow<'a, [u8]>, base64::DecodeError> {
    let claimed = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case(BASE64));
    if claimed { STANDARD.decode(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_travels_as_it_is_and_anything_else_as_base64() {
        assert_eq!(plan("grüß dich".as_bytes()), (11, false));
        assert_eq!(plan(&[0xff, 0xfe]), (4, true));
        assert_eq!(plan(b""), (0, false));
    }

    #[test]
    fn an_unknown_encoding_is_left_alone() {
        let headers: Headers = [(CONTENT_ENCODING, "gzip")].into_iter().collect();
        assert_eq!(decoded(b"AAAA", &headers).expect("as is").as_ref(), b"AAAA");
    }

    proptest! {
        #[test]
        fn every_payload_comes_back(payload: Vec<u8>) {
            let (len, encode) = plan(&payload);
            let (wire, headers): (Bytes, Headers) = if encode {
                (encoded(&payload), [(CONTENT_ENCODING, BASE64)].into_iter().collect())
            } else {
                (payload.clone().into(), Headers::new())
            };
            prop_assert_eq!(wire.len(), len);
            let text = std::str::from_utf8(&wire).expect("text on the wire");
            prop_assert_eq!(decoded(text.as_bytes(), &headers).expect("decodes").into_owned(), payload);
        }
    }
}
