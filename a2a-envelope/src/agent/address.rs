//! Where answers go: a claim is followed on the connected network and nowhere else.

use agentchat_core::Address;

use crate::error::{Error, Result};
use crate::safety::{AddressRule, AnswerPolicy};

/// The address that `claim` means for the agent at `own`.
///
/// # Errors
/// [`Error::Address`] for another network or host, and for what names nobody.
pub(crate) fn resolve(own: &Address, claim: &str) -> Result<Address> {
    let on_mq9 = ["mq9", "mq9s"].contains(&own.scheme());
    if on_mq9 {
        let host = own.authority().unwrap_or_default();
        let target = AnswerPolicy::connected_to(host)?.check(claim)?;
        return beside(own, &target.mailbox);
    }
    match claim.split_once("://") {
        None => beside(own, claim),
        Some(_) => {
            let address = Address::parse(claim).map_err(|_| Error::Address(AddressRule::Name))?;
            check(own, &address)?;
            Ok(address)
        }
    }
}

/// Whether `address` is on the network of the agent at `own`.
///
/// # Errors
/// [`Error::Address`].
pub(crate) fn check(own: &Address, address: &Address) -> Result<()> {
    if address.scheme() != own.scheme() {
        return Err(Error::Address(AddressRule::Scheme));
    }
    if address.authority() != own.authority() {
        return Err(Error::Address(AddressRule::ForeignHost));
    }
    Ok(())
}

fn beside(own: &Address, name: &str) -> Result<Address> {
    let text = match own.authority() {
        Some(host) => format!("{}://{host}/{name}", own.scheme()),
        None => format!("{}://{name}", own.scheme()),
    };
    let address = Address::parse(text).map_err(|_| Error::Address(AddressRule::Name))?;
    // A slash in a name would make a host of what stands before it.
    check(own, &address)?;
    if address.name() == name { Ok(address) } else { Err(Error::Address(AddressRule::Name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &str, claim: &str) -> Option<String> {
        resolve(&Address::parse(own).unwrap(), claim).ok().map(|address| address.to_string())
    }

    #[test]
    fn a_claim_is_followed_on_the_connected_network_only() {
        let mq9 = "mq9://hub.example:4222/me";
        for good in ["cb7f", "mq9://broker/cb7f", "mq9://hub.example/cb7f", "mq9://hub.example:4222/cb7f"] {
            assert_eq!(of(mq9, good).as_deref(), Some("mq9://hub.example:4222/cb7f"), "{good}");
        }
        for bad in ["mq9://evil.example/cb7f", "https://hub.example/x", "loopback://cb7f", "", "A b"] {
            assert_eq!(of(mq9, bad), None, "{bad}");
        }
        assert_eq!(of("loopback://me", "loopback://cb").as_deref(), Some("loopback://cb"));
        assert_eq!(of("loopback://me", "cb").as_deref(), Some("loopback://cb"));
        for bad in ["mq9://broker/cb", "loopback://host/cb", "a/b"] {
            assert_eq!(of("loopback://me", bad), None, "{bad}");
        }
    }
}
