//! Header lines of a message.

use std::fmt;
use std::sync::Arc;

/// Header lines in order. Names compare without case; a name may repeat. Clones share their lines until one
/// of them is changed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(
    /// Never an empty list.
    Option<Arc<Vec<(String, String)>>>,
);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value under `name`, compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a line, keeping any other of that name.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        Arc::make_mut(self.0.get_or_insert_default()).push((name.into(), value.into()));
    }

    /// Sets `name` to one value, replacing every other line of that name.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.remove(&name);
        self.append(name, value);
    }

    /// Removes every line of that name.
    pub fn remove(&mut self, name: &str) {
        if self.get(name).is_none() {
            return;
        }
        if let Some(lines) = &mut self.0 {
            Arc::make_mut(lines).retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        }
        self.0.take_if(|lines| lines.is_empty());
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines().iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.lines().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn lines(&self) -> &[(String, String)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let lines: Vec<_> = lines.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self((!lines.is_empty()).then(|| Arc::new(lines)))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Headers").field(&self.lines()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    #[test]
    fn a_change_to_a_clone_is_its_own() {
        let headers: Headers = [("a", "1"), ("B", "2"), ("b", "3")].into_iter().collect();
        let mut clone = headers.clone();
        clone.insert("b", "4");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("B", "2"), ("b", "3")]);
        assert_eq!(clone.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "4")]);
    }

    #[test]
    fn headers_that_lost_their_last_line_equal_new_ones() {
        let mut headers = Headers::new();
        headers.append("a", "1");
        headers.remove("A");
        assert_eq!((&headers, headers.len(), headers.is_empty()), (&Headers::new(), 0, true));
        assert_eq!(headers, Vec::<(String, String)>::new().into_iter().collect());
    }
}
