//! The signature hook: what is covered, and that nothing is rewritten on the way.

mod support;

use a2a_envelope::{
    CardSignature, Envelope, Error, Headers, Limits, RawCard, SignFailure, Signer, Verdict, Verifier, names,
};
use support::{fixture, message};

/// A keyed checksum: enough to see which bytes are covered. No cryptography.
struct Toy(u64);

impl Toy {
    fn sum(&self, bytes: &[u8]) -> String {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", bytes.iter().fold(self.0, step))
    }
}

impl Signer for Toy {
    fn sign_card(&self, text: &[u8]) -> Result<CardSignature, SignFailure> {
        Ok(CardSignature::new("toy", self.sum(text)))
    }

    fn sign_body(&self, input: &[u8]) -> Result<String, SignFailure> {
        Ok(format!("toy.{}", self.sum(input)))
    }
}

impl Verifier for Toy {
    fn verify_card(&self, text: &[u8], signature: &CardSignature) -> Verdict {
        match signature.protected.as_str() {
            "toy" if signature.signature == self.sum(text) => Verdict::Valid,
            "toy" => Verdict::Tampered,
            _ => Verdict::Unverifiable,
        }
    }

    fn verify_body(&self, input: &[u8], signature: &str) -> Verdict {
        match signature.strip_prefix("toy.") {
            Some(sum) if sum == self.sum(input) => Verdict::Valid,
            Some(_) => Verdict::Tampered,
            None => Verdict::Unverifiable,
        }
    }
}

#[test]
fn a_signed_card_is_the_text_that_was_signed_and_its_signatures() {
    let key = Toy(1);
    for name in ["card_v1.json", "card_v0_3.json", "card_hermes.json"] {
        let card = RawCard::new(fixture(name)).unwrap();
        assert_eq!(card.verify(&key), Verdict::Unsigned);
        let signed = card.signed(&key).unwrap();
        assert_eq!(signed.unsigned_text().unwrap(), fixture(name), "{name}");
        assert_eq!(signed.verify(&key), Verdict::Valid);
        assert_eq!(signed.verify(&Toy(2)), Verdict::Tampered);
        assert!(matches!(signed.signed(&key), Err(Error::Card(_))));
    }
}

#[test]
fn a_card_changed_in_one_byte_is_tampered_and_one_of_strangers_is_not_verifiable() {
    let key = Toy(1);
    let signed = RawCard::new(fixture("card_v1.json")).unwrap().signed(&key).unwrap();
    let changed = RawCard::new(signed.as_str().replacen("1e400", "1e401", 1)).unwrap();
    assert_eq!(changed.verify(&key), Verdict::Tampered);
    let stranger = RawCard::new(fixture("card_signed.json")).unwrap();
    assert_eq!(stranger.signatures().len(), 1);
    assert_eq!(stranger.verify(&key), Verdict::Unverifiable);
}

#[test]
fn one_valid_signature_among_several_is_enough() {
    let key = Toy(1);
    let sum = key.sum(br#"{"name":"a"}"#);
    let valid = format!(r#"{{"protected":"toy","signature":"{sum}"}}"#);
    let strange = r#"{"protected":"p","signature":"s","header":{"k":1.0}}"#;
    let bad = r#"{"protected":"toy","signature":"0"}"#;
    let broken = r#"{"protected":7}"#;
    for (list, want) in [
        (format!("{strange},{valid}"), Verdict::Valid),
        (format!("{strange},{bad},{broken}"), Verdict::Tampered),
        (format!("{strange},{broken}"), Verdict::Unverifiable),
        (broken.to_owned(), Verdict::Unverifiable),
    ] {
        let card = RawCard::new(format!(r#"{{"name":"a","signatures":[{list}]}}"#)).unwrap();
        assert_eq!(card.verify(&key), want, "{list}");
    }
    let twice =
        RawCard::new(format!(r#"{{"name":"a","signatures":[{valid}],"signatures":[{valid}]}}"#)).unwrap();
    assert_eq!(twice.verify(&key), Verdict::Unverifiable);
}

fn request() -> Envelope {
    let (headers, body) = message("native_request.msg");
    Envelope::from_parts(headers, body)
}

#[test]
fn a_signature_covers_the_body_and_every_header_with_a_meaning() {
    let key = Toy(1);
    let signed = request().signed(&key).unwrap();
    assert_eq!((signed.verify(&key), signed.verify(&Toy(2))), (Verdict::Valid, Verdict::Tampered));
    assert_eq!(request().verify(&key), Verdict::Unsigned);

    let names: Vec<String> = request().headers.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let changed = signed.clone().with_header(&name, "x").unwrap();
        assert_eq!(changed.verify(&key), Verdict::Tampered, "{name}");
    }
    let redirected = request().with_header(names::REPLY_TO, "evil").unwrap();
    assert_ne!(redirected.signing_input(), request().signing_input());
    let other_body = Envelope::from_parts(signed.headers.clone(), "{}");
    assert_eq!(other_body.verify(&key), Verdict::Tampered);
    let foreign = signed.with_header(names::SIGNATURE, "jws.of.others").unwrap();
    assert_eq!(foreign.verify(&key), Verdict::Unverifiable);
}

#[test]
fn what_changes_on_the_way_is_not_covered_and_carriages_do_not_matter() {
    let key = Toy(1);
    let signed = request().signed(&key).unwrap();
    let passed = signed.clone().with_header("traceparent", "00-a-b-01").unwrap();
    let passed = passed.with_header("x-hop", "3").unwrap();
    assert_eq!(passed.verify(&key), Verdict::Valid);
    let wrapped = signed.to_wrapped(&Limits::default()).unwrap();
    assert_eq!(Envelope::from_wrapped(&wrapped, &Limits::default()).unwrap().verify(&key), Verdict::Valid);
    let mut reordered: Vec<_> = signed.headers.iter().collect();
    reordered.reverse();
    let reordered = Envelope::from_parts(Headers::from_pairs(reordered).unwrap(), signed.body.clone());
    assert_eq!(reordered.verify(&key), Verdict::Valid);
}

#[test]
fn a_signer_that_refuses_says_why() {
    struct Locked;
    impl Signer for Locked {
        fn sign_card(&self, _: &[u8]) -> Result<CardSignature, SignFailure> {
            Err(SignFailure::new("the key is locked"))
        }
        fn sign_body(&self, _: &[u8]) -> Result<String, SignFailure> {
            Err(SignFailure::new("the key is locked"))
        }
    }
    assert_eq!(request().signed(&Locked).unwrap_err().to_string(), "not signed: the key is locked");
    assert!(RawCard::new("{}").unwrap().signed(&Locked).is_err());
}
