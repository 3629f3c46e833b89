//! Small payloads of one reply, side by side in shared allocations.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// Stores payloads. One of up to [`SMALL`] bytes shares an allocation of at most [`SLAB`] bytes with its
/// neighbours, which is freed with the last of them; a larger one has its own.
pub(crate) struct Slab {
    free: BytesMut,
    left: usize,
}

impl Slab {
    /// For payloads of `total` bytes altogether: no more than that is allocated for them.
    pub(crate) fn new(total: usize) -> Self {
        Self { free: BytesMut::new(), left: total }
    }

    pub(crate) fn store(&mut self, payload: Cow<'_, [u8]>) -> Bytes {
        let len = payload.len();
        if len == 0 {
            return Bytes::new();
        }
        let expected = self.left.max(len);
        self.left = expected - len;
        if len > SMALL {
            return Bytes::from(payload.into_owned());
        }
        if self.free.capacity() < len {
            self.free = BytesMut::with_capacity(expected.min(SLAB));
        }
        self.free.extend_from_slice(&payload);
        self.free.split().freeze()
    }
}

/// A payload in hand keeps at most this much in memory beside itself.
const SLAB: usize = 4096;
const SMALL: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether both lie in one piece of memory, one directly behind the other.
    fn adjoin(a: &Bytes, b: &Bytes) -> bool {
        a.as_ptr_range().end == b.as_ptr_range().start
    }

    #[test]
    fn small_payloads_lie_side_by_side_and_a_large_one_alone() {
        let mut slab = Slab::new(1 << 20);
        let small: Vec<Bytes> = (0..20).map(|_| slab.store(vec![b'x'; 300].into())).collect();
        let starts = small.windows(2).filter(|pair| !adjoin(&pair[0], &pair[1])).count() + 1;
        assert_eq!(starts, 20_usize.div_ceil(SLAB / 300));
        let mut slab = Slab::new(1 << 20);
        let (before, large, after) = (
            slab.store(vec![1; 9].into()),
            slab.store(vec![2; SMALL + 1].into()),
            slab.store(vec![3; 9].into()),
        );
        assert!(adjoin(&before, &after) && !adjoin(&before, &large));
        let alone = large.try_into_mut().expect("nobody shares it");
        assert_eq!(alone.capacity(), SMALL + 1);
    }

    #[test]
    fn a_single_payload_takes_no_more_than_the_reply_it_came_in() {
        let mut slab = Slab::new(40);
        slab.store(vec![b'x'; 30].into());
        assert_eq!(slab.free.capacity(), 10);
    }

    proptest! {
        #[test]
        fn every_payload_is_stored_as_it_is(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..20),
            total in 0_usize..9000,
        ) {
            let mut slab = Slab::new(total);
            let stored: Vec<Bytes> = payloads.iter().map(|payload| slab.store(payload.into())).collect();
            prop_assert_eq!(stored, payloads);
            prop_assert!(slab.free.capacity() <= SLAB);
        }
    }
}
