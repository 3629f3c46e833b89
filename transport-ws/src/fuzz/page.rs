//! Pages: an element that is no row costs only itself.

use fuzz_harness::Dice;

use super::json::{damage, object, value};
use super::row::judge;
use crate::wire::rows;

pub(super) fn run(dice: &mut Dice) {
    let mut elements = Vec::new();
    for _ in 0..dice.usize(0..8) {
        let element = match dice.u8(0..4) {
            0 => Err((*dice.choice(&NO_ROWS).expect("some")).to_owned()),
            1 => Err(value(dice)),
            _ => Ok(object(dice, &["id", "seq", "content", "delivery_id", "x"])),
        };
        elements.push(element);
    }
    let texts = elements.iter().map(|element| match element {
        Ok(row) => row.text.as_str(),
        Err(other) => other,
    });
    let page = format!(" [{}] ", texts.collect::<Vec<_>>().join(","));
    if dice.u8(0..4) == 0 {
        let read = rows(&damage(dice, page));
        return dice.reached(("damaged", read.map(|rows| rows.len().min(4))));
    }
    let read = rows(page.as_bytes()).expect("it is a list");
    assert_eq!(read.len(), elements.len(), "each stands in its place: {page}");
    let bad = read.iter().filter(|row| row.is_err()).count();
    for (row, made) in read.iter().zip(&elements) {
        match made {
            Ok(made) => {
                let row = row.as_ref().expect("what is a row is read, whatever stands beside it");
                let bare = super::json::Object {
                    members: made.members.clone(),
                    text: made.text.trim_ascii().to_owned(),
                };
                judge(row, &bare);
            }
            Err(other) => assert_eq!(row.is_ok(), is_row(other), "{other}"),
        }
    }
    dice.reached((elements.len(), bad));
}

/// Whether something that was not made as a row is one all the same.
fn is_row(text: &str) -> bool {
    text.starts_with('{') && !NO_ROWS.contains(&text)
}

/// Valid elements of a list, and no rows.
const NO_ROWS: [&str; 6] =
    ["7", "null", "\"row\"", "[]", "{\"id\":\"\\ud800\"}", "{\"id\":\"a\",\"status\":\"\\udc00\"}"];
