//! What inputs are made from: a seed, and pieces that mean something to a reader.

/// SplitMix64: small, seedable and the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A new input: one of `pool` with some changes, or one from nothing.
    pub(crate) fn vary(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match pool.get(self.below(pool.len())) {
            Some(input) if self.below(12) > 0 => input.clone(),
            _ => vec![self.next() as u8, b'{', b'}'],
        };
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(9) {
                0 if !input.is_empty() => input[0] = self.next() as u8,
                1 if at < input.len() => input[at] = self.next() as u8,
                2 if at < input.len() => {
                    input.drain(at..(at + 1 + self.below(24)).min(input.len()));
                }
                3 => {
                    let other = &pool[self.below(pool.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(80)).min(other.len());
                    let piece = other[from..to].to_vec();
                    input.splice(at..at, piece);
                }
                4 => {
                    let piece = PIECES[self.below(PIECES.len())].bytes();
                    input.splice(at..at, piece);
                }
                // A member into some object: what comes out is mostly still JSON.
                _ => {
                    let places: Vec<usize> = input
                        .windows(2)
                        .enumerate()
                        .filter(|(_, w)| *w == b"{\"")
                        .map(|(at, _)| at + 1)
                        .collect();
                    if let Some(place) = places.get(self.below(places.len())) {
                        let member = format!("{},", MEMBERS[self.below(MEMBERS.len())]);
                        input.splice(place..place, member.into_bytes());
                    }
                }
            }
        }
        input.truncate(LONGEST);
        input
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "true",
    "1e400",
    "-0",
    "\\u0000",
    "\\ud800",
    "\r\n",
    "\u{0}",
    "\u{feff}",
    "é😀",
    "[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "7777",
];

const MEMBERS: &[&str] = &[
    "\"jsonrpc\":\"2.0\"",
    "\"j\\u0073onrpc\":\"2.0\"",
    "\"id\":1.0",
    "\"id\":null",
    "\"method\":\"SendMessage\"",
    "\"method\":\"message/stream\"",
    "\"method\":\"tasks/send\"",
    "\"method\":\"GetTask\"",
    "\"method\":\"PauseTask\"",
    "\"params\":{\"message\":{\"role\":\"user\",\"parts\":[]}}",
    "\"params\":null",
    "\"result\":{\"kind\":\"task\",\"id\":\"t\"}",
    "\"error\":{\"code\":-32001,\"message\":\"m\"}",
    "\"kind\":\"status-update\"",
    "\"kind\":\"message\"",
    "\"final\":true",
    "\"status\":{\"state\":\"working\",\"message\":{\"role\":\"ROLE_AGENT\",\"parts\":[{\"text\":\"x\"}]}}",
    "\"artifact\":{\"index\":0,\"append\":true,\"parts\":[{\"file\":{\"bytes\":\"aA==\"}}]}",
    "\"statusUpdate\":{\"taskId\":\"t\",\"status\":{}}",
    "\"task\":{\"id\":\"t\",\"history\":[{}],\"artifacts\":[7,{}]}",
    "\"message\":{\"role\":\"ROLE_USER\",\"parts\":[{\"data\":7},{\"url\":\"u\",\"kind\":\"file\"}]}",
    "\"parts\":[{\"raw\":\"aA==\",\"mediaType\":\"m\"}]",
    "\"role\":\"user\"",
    "\"sessionId\":\"s\"",
    "\"type\":\"mq9_call\"",
    "\"type\":\"mq9_call_reply\"",
    "\"reply_to\":\"cb\"",
    "\"correlation_id\":\"c\"",
    "\"payload\":\"words\"",
    "\"context\":{\"ref\":\"t\",\"hop\":3}",
    "\"a2aEnvelope\":\"1\",\"body\":\"{}\"",
    "\"headers\":{\"mq9-a2a-method\":\"SendMessage\",\"amb-seq\":\"1\"}",
    "\"a2a-service-parameters\":{\"A2A-Version\":[\"0.3\"]}",
    "\"configuration\":{\"pushNotificationConfig\":{\"url\":\"mq9://broker/b\"}}",
    "\"pushNotification\":{\"url\":\"b\"}",
    "\"signatures\":[{\"protected\":\"p\",\"signature\":\"s\"}]",
    "\"supportedInterfaces\":[{\"url\":\"mq9://broker/i\"}]",
    "\"agent_info\":\"{\\\"name\\\":\\\"n\\\"}\"",
    "\"agent_card\":{\"name\":\"n\"}",
    "\"mailbox\":\"m\"",
];

/// The longest input that is made.
const LONGEST: usize = 2_048;
