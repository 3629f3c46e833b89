//! Which page of waiting messages is read next, and how far what it shows is settled. Knows no network.
//!
//! The server keeps one cursor for an agent, and acknowledging moves it over everything before it, also over
//! rows that were on no page. So an acknowledgement goes only as far as a page *read from the beginning* shows
//! nothing but settled rows: a row that the server sorted in before those that were known is seen there.

use crate::api::RowPage;

/// How far the inbox was read, and what holds up acknowledging.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Everything up to this cursor was read since the beginning was.
    tail: Option<String>,
    /// The first row that is not settled, when it is known.
    block: Option<Block>,
    /// Something was settled that may be acknowledged.
    dirty: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Block {
    Unsettled(String),
    /// It is never settled, since nobody can be given it.
    Unreadable,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody has it yet.
    New,
    /// It was given out, and is not settled.
    Open,
    Settled,
    /// It cannot be given out.
    Unreadable,
}

/// What a page allows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The places of the rows that are new.
    pub(super) new: Vec<usize>,
    /// The cursor to acknowledge: everything up to it is settled.
    pub(super) ack: Option<String>,
    /// There is more to read behind this page.
    pub(super) more: bool,
}

impl Walk {
    /// These were settled.
    pub(super) fn on_settled<I: AsRef<str>>(&mut self, ids: &[I]) {
        self.dirty |= match &self.block {
            None => !ids.is_empty(),
            Some(Block::Unsettled(first)) => ids.iter().any(|id| id.as_ref() == first),
            Some(Block::Unreadable) => false,
        };
    }

    /// Whether something waits to be acknowledged.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The cursor behind which to read; nothing is the beginning.
    pub(super) fn after(&self) -> Option<&str> {
        self.tail.as_deref().filter(|_| !self.dirty)
    }

    /// The next page is read from the beginning.
    pub(super) fn rewind(&mut self) {
        self.tail = None;
    }

    /// The page behind [`Walk::after`] is here, and what is known of each of its rows.
    pub(super) fn on_page(&mut self, page: &RowPage, known: &[Known]) -> Taken {
        let places = known.iter().enumerate();
        let new = places.filter(|(_, known)| **known == Known::New).map(|(place, _)| place).collect();
        let advanced = page.cursor(page.len()).map(str::to_owned);
        let mut taken = Taken { new, ack: None, more: false };
        if self.after().is_none() {
            let settled = known.iter().take_while(|known| **known == Known::Settled).count();
            taken.ack = page.cursor(settled).map(str::to_owned);
            self.block = page.rows.get(settled).map(|row| match (row, known[settled]) {
                (Ok(row), Known::New | Known::Open) => {
                    Block::Unsettled(row.id().unwrap_or_default().to_owned())
                }
                _ => Block::Unreadable,
            });
            // Behind a full page of settled rows there may be further ones.
            self.dirty = self.block.is_none() && !page.is_last() && taken.ack.is_some();
            if self.block.is_none() && taken.ack.is_some() {
                // Once it is acknowledged, what is left begins behind it.
                self.tail = None;
                taken.more = self.dirty;
                return taken;
            }
        }
        match advanced {
            Some(cursor) if self.tail.as_ref() != Some(&cursor) => {
                taken.more = !page.is_last();
                self.tail = Some(cursor);
            }
            // An end, or a cursor that the server does not know any more: the beginning tells.
            _ => self.tail = None,
        }
        taken
    }

    /// What [`Taken::ack`] named could not be acknowledged.
    pub(super) fn on_ack_failed(&mut self) {
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::MessageRow;

    fn row(number: u32) -> MessageRow {
        let json = format!(
            r#"{{"id":"m{number}","conversation_id":"c","seq":{number},"delivery_id":"del_{number}"}}"#
        );
        MessageRow::parse(json).expect("a row")
    }

    fn page(numbers: &[u32], asked: u32) -> RowPage {
        RowPage { rows: numbers.iter().map(|number| Ok(row(*number))).collect(), asked }
    }

    /// What is known of each row by its number; nothing is new.
    fn of(known: &[(u32, Known)]) -> impl Fn(&MessageRow) -> Known {
        let known: BTreeMap<_, _> =
            known.iter().map(|(number, known)| (format!("m{number}"), *known)).collect();
        move |row| row.id().and_then(|id| known.get(id)).copied().unwrap_or(Known::New)
    }

    fn look(walk: &mut Walk, page: &RowPage, known: impl Fn(&MessageRow) -> Known) -> Taken {
        let of = |row: &Result<MessageRow, _>| row.as_ref().map_or(Known::Unreadable, &known);
        let known: Vec<_> = page.rows.iter().map(of).collect();
        walk.on_page(page, &known)
    }

    #[test]
    fn c72_a_page_whose_middle_is_unsettled_acknowledges_its_beginning_only() {
        let mut walk = Walk::default();
        let known = of(&[(1, Known::Settled), (2, Known::Open), (3, Known::Settled)]);
        let taken = look(&mut walk, &page(&[1, 2, 3], 10), known);
        assert_eq!((taken.ack.as_deref(), taken.new.len()), (Some("del_1"), 0));
        walk.on_settled(&["m3".to_owned()]);
        assert!(!walk.is_dirty(), "nothing changes until the second row is settled");
        walk.on_settled(&["m2".to_owned()]);
        assert!(walk.is_dirty() && walk.after().is_none());
        let known = of(&[(2, Known::Settled), (3, Known::Settled)]);
        assert_eq!(look(&mut walk, &page(&[2, 3], 10), known).ack.as_deref(), Some("del_3"));
        assert!(!walk.is_dirty());
    }

    #[test]
    fn c69_null_delivery_id_and_c70_positional_cursor() {
        let null = r#"{"id":"m9","conversation_id":"c","seq":9,"delivery_id":null}"#;
        let mut rows = page(&[5, 3], 10);
        rows.rows.push(MessageRow::parse(null));
        let taken = look(&mut Walk::default(), &rows, |_| Known::Settled);
        assert_eq!(taken.ack.as_deref(), Some("del_3"), "the last one by place that is not null");
    }

    #[test]
    fn c71_nothing_is_acknowledged_past_a_row_that_cannot_be_read() {
        let mut rows = page(&[1], 10);
        rows.rows.push(MessageRow::parse("7"));
        rows.rows.push(Ok(row(3)));
        let mut walk = Walk::default();
        let taken = look(&mut walk, &rows, |_| Known::Settled);
        assert_eq!(taken.ack.as_deref(), Some("del_1"));
        walk.on_settled(&["m3".to_owned()]);
        assert!(!walk.is_dirty(), "asking again would show the same");
    }

    #[test]
    fn c73_a_full_page_without_cursors_is_no_reason_to_go_on() {
        let null = r#"{"id":"m9","conversation_id":"c","seq":9,"delivery_id":null}"#;
        let rows = RowPage { rows: vec![MessageRow::parse(null)], asked: 1 };
        let mut walk = Walk::default();
        for known in [Known::New, Known::Open, Known::Settled] {
            let taken = look(&mut walk, &rows, |_| known);
            assert!(!taken.more && taken.ack.is_none() && !walk.is_dirty());
        }
    }

    #[test]
    fn a_row_that_was_sorted_in_before_known_ones_is_given_and_not_acknowledged() {
        let mut walk = Walk::default();
        look(&mut walk, &page(&[2], 10), |_| Known::New);
        walk.on_settled(&["m2".to_owned()]);
        let taken = look(&mut walk, &page(&[1, 2], 10), of(&[(2, Known::Settled)]));
        assert_eq!((taken.new, taken.ack), (vec![0], None));
    }

    proptest! {
        /// A model server and readers that settle in any order, with rows sorted in anywhere: nothing is
        /// acknowledged that is not settled, and in the end everything is given once and acknowledged.
        #[test]
        fn nothing_unsettled_is_acknowledged_and_everything_is_in_the_end(
            steps in proptest::collection::vec((0..4_u8, any::<prop::sample::Index>()), 1..200),
            asked in 1..6_u32,
        ) {
            // By place at the server: a row's number, which is its id.
            let mut stored: Vec<u32> = Vec::new();
            let fate: RefCell<BTreeMap<u32, bool>> = RefCell::default();
            let known = |row: &MessageRow| match fate.borrow().get(&(row.seq().unwrap_or(0) as u32)) {
                None => Known::New,
                Some(false) => Known::Open,
                Some(true) => Known::Settled,
            };
            let (mut walk, mut count) = (Walk::default(), 0);
            let step_by = |walk: &mut Walk, stored: &mut Vec<u32>, acks: bool| {
                let from = walk.after().map_or(0, |after| {
                    let after: u32 = after.trim_start_matches("del_").parse().expect("a number");
                    stored.iter().position(|number| *number == after).map_or(stored.len(), |at| at + 1)
                });
                let rows: Vec<u32> = stored[from..].iter().copied().take(asked as usize).collect();
                let taken = look(walk, &page(&rows, asked), known);
                for place in &taken.new {
                    assert!(fate.borrow_mut().insert(rows[*place], false).is_none(), "given twice");
                }
                let Some(ack) = taken.ack else { return };
                if !acks {
                    walk.on_ack_failed();
                    return;
                }
                let ack: u32 = ack.trim_start_matches("del_").parse().expect("a number");
                let end = stored.iter().position(|number| *number == ack).expect("it is there");
                for number in stored.drain(..=end) {
                    assert_eq!(fate.borrow().get(&number), Some(&true), "{number} is not settled");
                }
            };
            for (step, at) in steps {
                match step {
                    0 => {
                        count += 1;
                        let place = at.index(stored.len() + 1);
                        stored.insert(place, count);
                    }
                    1 => {
                        let open: Vec<u32> =
                            fate.borrow().iter().filter(|(_, settled)| !**settled).map(|it| *it.0).collect();
                        if !open.is_empty() {
                            let number = open[at.index(open.len())];
                            fate.borrow_mut().insert(number, true);
                            walk.on_settled(&[format!("m{number}")]);
                        }
                    }
                    2 => step_by(&mut walk, &mut stored, true),
                    _ => step_by(&mut walk, &mut stored, false),
                }
            }
            for _ in 0..4 * (count + 2) {
                step_by(&mut walk, &mut stored, true);
                let open: Vec<u32> =
                    fate.borrow().iter().filter(|(_, settled)| !**settled).map(|it| *it.0).collect();
                for number in open {
                    fate.borrow_mut().insert(number, true);
                    walk.on_settled(&[format!("m{number}")]);
                }
            }
            prop_assert!(stored.is_empty(), "left at the server: {stored:?}");
            prop_assert_eq!(fate.borrow().len(), count as usize);
        }
    }
}
