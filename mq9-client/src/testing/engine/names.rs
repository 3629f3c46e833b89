//! Mailbox names: the broker's rules, and the ids it makes itself.

use super::Rules;

/// Why a name is refused, in the broker's words where it has any.
pub(crate) fn fault(name: &str, rules: Rules) -> Option<&'static str> {
    if name.is_empty() {
        return Some("prefix must not be empty");
    }
    if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.')) {
        return Some("name may only contain lowercase letters, digits, and dots");
    }
    if name.starts_with('.') || name.ends_with('.') {
        return Some("prefix must start and end with a lowercase letter or digit");
    }
    if rules == Rules::Documented {
        if name.len() > 128 {
            return Some("name must not be longer than 128 characters");
        }
        if name.contains("..") {
            return Some("name must not contain consecutive dots");
        }
    }
    None
}

/// A 20-character id in the broker's form: seconds, a constant where it puts host and process, a serial
/// number. Deterministic, so that a replayed journal gives the same names; guessable, as the broker's are.
pub(crate) fn generated(now_s: u64, serial: u64) -> String {
    let seconds = u128::from(now_s & 0xffff_ffff);
    let serial = u128::from(serial & 0xff_ffff);
    let bits = (seconds << 64 | HOST_AND_PROCESS << 24 | serial) << 4;
    (0..20).map(|place| char::from(ALPHABET[((bits >> (95 - place * 5)) & 31) as usize])).collect()
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const HOST_AND_PROCESS: u128 = 0x6d_71_39_00_01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_are_valid_names_that_differ_by_serial_and_second() {
        let ids = [generated(1_795_290_475, 0), generated(1_795_290_475, 1), generated(1_795_290_476, 0)];
        for id in &ids {
            assert_eq!((id.len(), fault(id, Rules::Documented)), (20, None), "{id}");
        }
        assert!(ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");
        assert!(ids[0].starts_with("dc0vaq"), "the seconds lead, as in the recordings: {}", ids[0]);
    }

    #[test]
    fn only_the_documented_rules_limit_length_and_double_dots() {
        let long = "n".repeat(129);
        for name in [long.as_str(), "a..b"] {
            assert_eq!(fault(name, Rules::RobustMq), None);
            assert!(fault(name, Rules::Documented).is_some());
        }
    }
}
