//! Networks, as operators write them: an address, and how many of its first bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network of IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    length_bits: u32,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address and the length of its prefix, as in `10.0.0.0/8`, without bits behind that length")]
pub struct NotANetwork;

impl Network {
    /// Whether every address of its kind belongs to it.
    pub fn is_everybody(&self) -> bool {
        self.length_bits == 0
    }

    /// Whether `address` belongs to it. An address of IPv4 belongs to no network of IPv6, however it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                has_prefix(u128::from(first.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.length_bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                has_prefix(first.to_bits(), address.to_bits(), self.length_bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, length) = text.split_once('/').ok_or(NotANetwork)?;
        let first: IpAddr = first.parse().map_err(|_| NotANetwork)?;
        let length_bits: u32 = length.parse().map_err(|_| NotANetwork)?;
        let (bits, width_bits) = match first {
            IpAddr::V4(first) => (u128::from(first.to_bits()) << 96, 32),
            IpAddr::V6(first) => (first.to_bits(), 128),
        };
        if length_bits > width_bits || bits & !mask(length_bits) != 0 {
            return Err(NotANetwork);
        }
        // Addresses of IPv4 that are written as IPv6 are compared as what they are.
        match first.to_canonical() {
            first @ IpAddr::V4(_) if length_bits >= width_bits - 32 => {
                Ok(Self { first, length_bits: length_bits - (width_bits - 32) })
            }
            _ => Ok(Self { first, length_bits }),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.length_bits)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

fn has_prefix(first: u128, address: u128, length_bits: u32) -> bool {
    (first ^ address) & mask(length_bits) == 0
}

fn mask(length_bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - length_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        let check = |network: &str, address: &str, expected: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        };
        check("10.0.0.0/8", "10.255.1.2", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("192.168.7.0/24", "192.168.7.255", true);
        check("192.168.7.0/24", "192.168.8.0", false);
        check("127.0.0.1/32", "127.0.0.1", true);
        check("127.0.0.1/32", "127.0.0.2", false);
        check("0.0.0.0/0", "8.8.8.8", true);
        check("0.0.0.0/0", "::1", false);
        check("fd12::/16", "fd12:1::9", true);
        check("fd12::/16", "fd13::", false);
        check("::/0", "10.0.0.1", false);
        check("::1/128", "::1", true);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "11.1.2.3", false);
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "127.0.0.1/32", "fd12::/16", "::/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "fd12::/129", "fd12::1/16", "host/8", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
