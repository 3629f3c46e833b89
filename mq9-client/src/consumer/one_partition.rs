//! Whether a reply can come from a mailbox with one partition.

use crate::message::Received;

use super::coverage::class_of;

/// Sorts a reply into the order of reading (critical, urgent, normal) and looks for what a mailbox with
/// one partition never shows: the id it happened at.
///
/// With several partitions ids repeat, and rows of one class come partition by partition.
pub(crate) fn fault(rows: &mut [Received]) -> Option<u64> {
    if !rows.is_sorted_by_key(class_of) {
        rows.sort_by_key(class_of);
    }
    let backwards = rows
        .windows(2)
        .find(|pair| class_of(&pair[0]) == class_of(&pair[1]) && pair[0].id >= pair[1].id)
        .map(|pair| pair[1].id.get());
    backwards.or_else(|| twice(rows))
}

/// An id that two classes share.
fn twice(rows: &[Received]) -> Option<u64> {
    let (first, last) = (rows.first()?, rows.last()?);
    if class_of(first) == class_of(last) {
        return None;
    }
    let mut ids: Vec<u64> = rows.iter().map(|row| row.id.get()).collect();
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::fault;
    use crate::consumer::model::row;
    use crate::message::Priority::{Critical, Normal, Urgent};

    #[test]
    fn one_partition_shows_each_class_in_order_and_no_id_twice() {
        let mut rows = vec![row(5, Critical), row(1, Urgent), row(0, Normal), row(2, Normal)];
        assert_eq!(fault(&mut rows), None);
    }

    #[test]
    fn repeated_or_unordered_ids_give_away_several_partitions() {
        assert_eq!(fault(&mut [row(0, Normal), row(0, Normal)]), Some(0));
        assert_eq!(fault(&mut [row(4, Normal), row(3, Normal)]), Some(3));
        assert_eq!(fault(&mut [row(4, Critical), row(4, Normal)]), Some(4));
    }
}
