//! When something was settled, for stores that forget by age and by number.

use std::time::SystemTime;

use tokio::time::Instant;

/// Dates that never go back: a store forgets the oldest first, so an id that was dated by a clock that was set
/// back would be forgotten before those that are older indeed. Begins at the time of day, or at the newest date
/// in the store where that is later, and goes on by what passes: a clock that is set later moves nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dating {
    wall: SystemTime,
    since: Instant,
}

impl Dating {
    /// `newest` is the newest date in the store.
    pub(super) fn new(wall: SystemTime, newest: Option<SystemTime>, now: Instant) -> Self {
        Self { wall: newest.map_or(wall, |newest| newest.max(wall)), since: now }
    }

    pub(super) fn at(&self, now: Instant) -> SystemTime {
        let passed = now.saturating_duration_since(self.since);
        self.wall.checked_add(passed).unwrap_or(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_follow_what_passes_from_the_later_beginning() {
        let (now, wall, hour) = (Instant::now(), SystemTime::now(), Duration::from_secs(3_600));
        let of = |newest| Dating::new(wall, newest, now).at(now + hour);
        assert_eq!(of(None), wall + hour);
        assert_eq!(of(Some(wall - hour)), wall + hour);
        assert_eq!(of(Some(wall + hour)), wall + 2 * hour);
    }
}
