//! The last events of a task, for callers that resume.

use std::collections::VecDeque;

use crate::json_text::JsonText;

/// The last events of a task, by generation, for callers that resume.
#[derive(Debug)]
pub(super) struct Retained {
    events: VecDeque<(u64, JsonText)>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
    /// Everything after this generation is here.
    complete_after: u64,
}

impl Retained {
    pub(super) fn new(generation: u64, max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, max_events, max_bytes, complete_after: generation }
    }

    pub(super) fn push(&mut self, generation: u64, event: JsonText) {
        self.bytes += event.as_str().len();
        self.events.push_back((generation, event));
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            let Some((generation, event)) = self.events.pop_front() else { break };
            self.bytes -= event.as_str().len();
            self.complete_after = generation;
        }
    }

    /// Every event after `generation`, if none of them was let go.
    pub(super) fn after(&self, generation: u64) -> Option<Vec<(u64, JsonText)>> {
        let later = self.events.iter().filter(|(at, _)| *at > generation);
        (generation >= self.complete_after).then(|| later.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generations(retained: &Retained, after: u64) -> Option<Vec<u64>> {
        retained.after(after).map(|events| events.iter().map(|(generation, _)| *generation).collect())
    }

    #[test]
    fn what_is_retained_is_given_and_what_was_let_go_is_said_to_be_missing() {
        let mut retained = Retained::new(2, 3, 1_000);
        assert_eq!(generations(&retained, 2), Some(vec![]));
        assert_eq!(generations(&retained, 1), None);
        for generation in 3..=6 {
            retained.push(generation, JsonText::string("x"));
        }
        assert_eq!(generations(&retained, 2), None);
        assert_eq!(generations(&retained, 3), Some(vec![4, 5, 6]));
        assert_eq!(generations(&retained, 5), Some(vec![6]));
        assert_eq!(generations(&retained, 99), Some(vec![]));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut retained = Retained::new(0, 100, 10);
        retained.push(1, JsonText::string("1234"));
        retained.push(2, JsonText::string("1234"));
        assert_eq!(generations(&retained, 1), Some(vec![2]));
        assert_eq!(generations(&retained, 0), None);
        retained.push(3, JsonText::string(&"x".repeat(50)));
        assert_eq!((generations(&retained, 2), generations(&retained, 3)), (None, Some(vec![])));
    }
}
