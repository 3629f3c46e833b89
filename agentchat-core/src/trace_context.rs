//! W3C trace context, carried in a header line.

use std::fmt;
use std::str::FromStr;

use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Outbound;

/// Which trace a message belongs to, and which step of it sent the message: what a `traceparent` line of
/// [W3C trace context](https://www.w3.org/TR/trace-context/) says.
///
/// Ids are never zero. Flags beside `sampled` are not kept. `tracestate` is another header line; the
/// library neither reads nor writes it.
///
/// ```
/// # fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{Address, Body, Outbound, TraceContext};
///
/// let context = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?;
/// let message = Outbound::new(Address::parse("loopback://b")?, Body::text("hi")).with_trace_context(context);
/// assert_eq!(message.headers.get(TraceContext::HEADER), Some(context.to_string().as_str()));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    sampled: bool,
}

impl TraceContext {
    /// The header line it travels in.
    pub const HEADER: &'static str = "traceparent";

    /// A context of these ids. `sampled` says that whoever made it may have recorded the trace.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when an id is zero.
    pub fn new(trace_id: u128, parent_id: u64, sampled: bool) -> Result<Self> {
        match (trace_id, parent_id) {
            (0, _) => Err(invalid("the trace id is zero")),
            (_, 0) => Err(invalid("the parent id is zero")),
            _ => Ok(Self { trace_id, parent_id, sampled }),
        }
    }

    /// Parses a `traceparent` line. Of later versions than 00 it reads the part that all have.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for anything but lower-case hexadecimal digits of the right number between
    /// hyphens, for version `ff`, for ids of zero, and for version 00 with anything behind its flags. The
    /// text itself is not repeated.
    pub fn parse(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref().as_bytes();
        let (line, rest) = text.split_at_checked(LENGTH).ok_or_else(|| invalid("the line is too short"))?;
        if [2, 35, 52].iter().any(|at| line[*at] != b'-') {
            return Err(invalid("its parts are not of the right length"));
        }
        let version = hex(&line[..2])?;
        let over =
            if version == 0 { !rest.is_empty() } else { rest.first().is_some_and(|next| *next != b'-') };
        if version == 0xff || over {
            return Err(invalid("the version is ff, or something stands behind the flags"));
        }
        let (trace_id, parent_id) = (hex(&line[3..35])?, hex(&line[36..52])?);
        let parent_id = u64::try_from(parent_id).map_err(|_| invalid("the parent id is too long"))?;
        Self::new(trace_id, parent_id, hex(&line[53..])? & SAMPLED == SAMPLED)
    }

    /// The id of the whole trace.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The id of the step that sent the message.
    pub fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Whether whoever made it may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The same trace, as the step `parent_id` hands it on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when `parent_id` is zero.
    pub fn with_parent_id(self, parent_id: u64) -> Result<Self> {
        Self::new(self.trace_id, parent_id, self.sampled)
    }

    /// The context that `name` always begins: sampled, and with ids that depend on nothing else.
    pub(crate) fn derived(name: &str) -> Self {
        let trace_id = uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_u128();
        // The lower half has the bits of the variant in it, so multiplying by an odd number gives no zero.
        let parent_id = (trace_id as u64).wrapping_mul(SPREAD);
        Self { trace_id, parent_id, sampled: true }
    }

    /// The step `name` of the trace of `parent`, or of its own.
    pub(crate) fn step(name: &str, parent: Option<Self>) -> Self {
        let own = Self::derived(name);
        parent.map_or(own, |parent| Self { parent_id: own.parent_id, ..parent })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, sampled } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{:02x}", u8::from(*sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

impl FromStr for TraceContext {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Outbound {
    /// Sets which trace the message belongs to.
    pub fn with_trace_context(self, context: TraceContext) -> Self {
        self.with_header(TraceContext::HEADER, context.to_string())
    }

    /// Which trace the message belongs to, when it carries a valid line.
    pub fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::parse(self.headers.get(TraceContext::HEADER)?).ok()
    }
}

impl Delivery {
    /// Which trace the message belongs to, when it carries a valid line.
    pub fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::parse(self.headers.get(TraceContext::HEADER)?).ok()
    }
}

fn hex(digits: &[u8]) -> Result<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(invalid("a digit is not lower-case hexadecimal")),
        };
        Ok(value << 4 | u128::from(digit))
    })
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "traceparent", what)
}

/// A line of version 00; later ones may be longer.
const LENGTH: usize = 55;
const SAMPLED: u128 = 1;
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Our own namespace for derived ids, apart from that of message ids.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x2d6e_91c4_73b8_5a0f_9be2_06d1_c85f_4a37);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_line_is_read_and_printed_back() {
        let context = TraceContext::parse(LINE).expect("valid");
        assert_eq!(context.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((context.parent_id(), context.is_sampled()), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(context.to_string(), LINE);
        let unsampled = TraceContext::parse(LINE.replace("-01", "-00")).expect("valid");
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for line in [LINE.replacen("00", "cc", 1), LINE.replacen("00", "01", 1) + "-what-is-to-come"] {
            assert_eq!(TraceContext::parse(&line).expect(&line).to_string(), LINE);
        }
        let flags = TraceContext::parse(LINE.replace("-01", "-fe")).expect("unknown flags");
        assert_eq!(flags.to_string(), LINE.replace("-01", "-00"));
    }

    #[test]
    fn malformed_lines_are_refused_and_not_repeated() {
        let zeros = "0".repeat(32);
        for line in [
            String::new(),
            LINE[..54].to_owned(),
            format!("{LINE}-"),
            format!("{LINE}0"),
            format!(" {}", &LINE[..54]),
            LINE.replacen("00", "ff", 1),
            LINE.replacen("00", "cc", 1) + "x",
            LINE.replacen("00", "0A", 1),
            LINE.to_uppercase(),
            LINE.replacen("0af7", "+af7", 1),
            LINE.replace('-', "_"),
            LINE.replace("0af7651916cd43dd8448eb211c80319c", &zeros),
            LINE.replace("b7ad6b7169203331", &zeros[..16]),
            "é".repeat(28),
        ] {
            let error = TraceContext::parse(&line).expect_err(&line);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(line.len() < 4 || !error.to_string().contains(&line[..4]), "{error}");
        }
    }

    #[test]
    fn a_name_always_begins_the_same_trace_and_another_name_another() {
        let (one, two) = (TraceContext::derived("one"), TraceContext::derived("two"));
        assert_eq!(one, TraceContext::derived("one"));
        assert!(one.trace_id() != two.trace_id() && one.parent_id() != two.parent_id());
        let step = TraceContext::step("two", Some(one));
        assert_eq!((step.trace_id(), step.parent_id()), (one.trace_id(), two.parent_id()));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_is_canonical(text in "[0-9a-f-]{50,60}|\\PC{0,60}") {
            if let Ok(context) = TraceContext::parse(&text) {
                prop_assert_eq!(&context.to_string()[2..53], &text[2..53]);
            }
        }

        #[test]
        fn every_context_survives_its_line(trace_id in 1_u128.., parent_id in 1_u64.., sampled: bool) {
            let context = TraceContext::new(trace_id, parent_id, sampled).expect("no zero");
            prop_assert_eq!(TraceContext::parse(context.to_string()).expect("valid"), context);
            let next = context.with_parent_id(7).expect("no zero");
            prop_assert_eq!(next, TraceContext::new(trace_id, 7, sampled).expect("no zero"));
            prop_assert!(context.with_parent_id(0).is_err());
        }

        #[test]
        fn no_derived_id_is_zero(name in ".{0,20}") {
            let context = TraceContext::derived(&name);
            prop_assert!(TraceContext::new(context.trace_id(), context.parent_id(), true).is_ok());
        }
    }
}
