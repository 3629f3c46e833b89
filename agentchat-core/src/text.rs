//! Short text that is copied often: held in place, or shared when it is longer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Text that does not change. Up to [`INLINE`] bytes are held in place: copying them takes no allocation and
/// no counter that two threads would fight over.
#[derive(Clone)]
pub(crate) struct Text(Held);

#[derive(Clone)]
enum Held {
    /// So many of the bytes.
    Short(u8, [u8; INLINE]),
    Long(Arc<str>),
}

impl Text {
    /// The number, written out.
    pub(crate) fn number(number: u64) -> Self {
        let mut short = Short { len: 0, bytes: [0; INLINE] };
        short.write_number(number);
        short.into()
    }

    /// The numbers, written out with a dot between them.
    pub(crate) fn pair(first: u64, second: u64) -> Self {
        let mut short = Short { len: 0, bytes: [0; INLINE] };
        short.write_number(first);
        short.bytes[short.len] = b'.';
        short.len += 1;
        // Two numbers have 40 digits at most, which is too long by three.
        match short.len + LONGEST_NUMBER <= INLINE {
            true => short.write_number(second),
            false => return Self::from(format!("{first}.{second}").as_str()),
        }
        short.into()
    }

    /// `prefix` and the number behind it, written out.
    pub(crate) fn below(prefix: &str, number: u64) -> Self {
        let mut short = Short { len: prefix.len(), bytes: [0; INLINE] };
        match short.bytes.get_mut(..prefix.len()) {
            Some(place) if prefix.len() + LONGEST_NUMBER <= INLINE => {
                place.copy_from_slice(prefix.as_bytes())
            }
            _ => return Self::from(format!("{prefix}{number}").as_str()),
        }
        short.write_number(number);
        short.into()
    }

    /// What `args` print, without an allocation when it is short.
    pub(crate) fn format(args: fmt::Arguments<'_>) -> Self {
        let mut short = Short { len: 0, bytes: [0; INLINE] };
        match fmt::write(&mut short, args) {
            Ok(()) => short.into(),
            Err(_) => Self(Held::Long(args.to_string().into())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Held::Short(..) => std::str::from_utf8(self.as_bytes()).expect("it was made from a str"),
            Held::Long(text) => text,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Short(len, bytes) => &bytes[..usize::from(*len)],
            Held::Long(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Held::Short(len, bytes))
            }
            _ => Self(Held::Long(text.into())),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
        // No text has this byte, so that two texts one after the other are not taken for two others.
        state.write_u8(0xff);
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Takes what fits.
struct Short {
    len: usize,
    bytes: [u8; INLINE],
}

impl Short {
    /// At the beginning or behind what is there: a number has 20 digits at most.
    fn write_number(&mut self, number: u64) {
        self.len += number.checked_ilog10().map_or(1, |power| power as usize + 1);
        let (mut at, mut rest) = (self.len, number);
        loop {
            at -= 1;
            // Less than ten.
            self.bytes[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return;
            }
        }
    }
}

impl From<Short> for Text {
    fn from(short: Short) -> Self {
        Self(Held::Short(u8::try_from(short.len).expect("no longer than INLINE"), short.bytes))
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The digits of the largest number.
const LONGEST_NUMBER: usize = 20;
/// A UUID has 36 bytes. With 38 the whole takes 40, and so does an `Option` of it.
const INLINE: usize = 38;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_as_small_as_the_docs_say() {
        assert_eq!((size_of::<Text>(), size_of::<Option<Text>>()), (40, 40));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_they_print(first: u64, second: u64, small in 0_u64..200) {
            for (first, second) in
                [(first, second), (small, first), (0, u64::MAX), (u64::MAX, small), (9, 10), (99, 100)]
            {
                prop_assert_eq!(Text::number(first).to_string(), first.to_string());
                prop_assert_eq!(Text::pair(first, second).to_string(), format!("{first}.{second}"));
                for prefix in ["", "0123456789abcdef.", "0123456789abcdef0123456789abcdef"] {
                    prop_assert_eq!(Text::below(prefix, first).to_string(), format!("{prefix}{first}"));
                }
            }
        }

        #[test]
        fn it_is_the_text_it_was_made_from(one in ".{0,50}", other in ".{0,50}") {
            let (a, b) = (Text::from(one.as_str()), Text::from(other.as_str()));
            prop_assert_eq!(&Text::format(format_args!("{}{}", one, other)), &Text::from(format!("{one}{other}").as_str()));
            prop_assert_eq!((a.as_str(), a.to_string()), (one.as_str(), one.clone()));
            prop_assert_eq!((a == b, a.cmp(&b)), (one == other, one.cmp(&other)));
            prop_assert_eq!(format!("{a:?}"), format!("{one:?}"));
            prop_assert_eq!(a.clone(), a);
        }
    }
}
