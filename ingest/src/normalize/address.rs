//! Client addresses: masked before anything is stored, and the visitor id of clients that send none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// Keeps the network of an address: /24 of IPv4, /48 of IPv6.
pub fn mask(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// The visitor of a client without an id: `fp_` and the first 32 hex digits of SHA-256 over the masked address, a line
/// feed and the user agent.
pub fn fingerprint(masked: IpAddr, user_agent: &str) -> String {
    let digest = Sha256::new().chain_update(masked.to_string()).chain_update("\n").chain_update(user_agent).finalize();
    let mut id = String::with_capacity(35);
    id.push_str("fp_");
    for byte in &digest[..16] {
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_network_is_kept() {
        for (address, masked) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::"),
        ] {
            assert_eq!(mask(address.parse().unwrap()).to_string(), masked);
        }
    }

    #[test]
    fn a_fingerprint_depends_on_network_and_user_agent() {
        let network = mask("203.0.113.77".parse().unwrap());
        let id = fingerprint(network, "Mozilla/5.0");
        assert_eq!(id.len(), 35);
        assert_eq!(id, fingerprint(mask("203.0.113.1".parse().unwrap()), "Mozilla/5.0"));
        assert_ne!(id, fingerprint(network, "Mozilla/6.0"));
    }
}
