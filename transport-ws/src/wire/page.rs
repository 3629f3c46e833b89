//! A page of rows: a bare JSON array.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::frame_in::Unreadable;
use super::row::MessageRow;

/// Reads a page. Each row gets memory of its own, so that keeping one does not keep the page. An element
/// that is no row stands in its place as what is wrong with it.
pub(crate) fn rows(page: &[u8]) -> Result<Vec<Result<MessageRow, Unreadable>>, Unreadable> {
    let text = std::str::from_utf8(page).map_err(|_| Unreadable::NotJson)?;
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Unreadable::NotJson)?;
    Ok(elements
        .into_iter()
        .map(|element| MessageRow::parse(Bytes::copy_from_slice(element.get().as_bytes())))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_element_costs_only_itself() {
        let page = rows(br#"[{"id":"a"}, 7, {"id":"\ud800"}, {"id":"b"}]"#).expect("an array");
        let ids: Vec<_> =
            page.iter().map(|row| row.as_ref().map(|row| row.id()).map_err(|why| *why)).collect();
        assert_eq!(
            ids,
            [Ok(Some("a")), Err(Unreadable::NotAnObject), Err(Unreadable::NotJson), Ok(Some("b"))]
        );
        for other in ["{}", "null", "[", "[1,]", ""] {
            assert!(rows(other.as_bytes()).is_err(), "{other}");
        }
    }
}
