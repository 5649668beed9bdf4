//! Which addresses a webhook of an account may lead to: those of the public network, and those that the operator allows.
//!
//! Whoever may define an export may name any host. Without this they could let the server knock at doors that only the
//! server reaches: its own ports, its neighbours, the metadata of its cloud.

use std::net::{IpAddr, Ipv4Addr};

use touchline_schemas::config::Network;

/// A network, and what kind of addresses it has.
type Special = (&'static str, &'static str);

/// Networks of IPv4 that are not the public network, after IANA's registry of special addresses.
const SPECIAL_V4: [Special; 16] = [
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a provider's customers"),
    ("127.0.0.0/8", "this machine"),
    // The platform of Azure, at an address that looks public.
    ("168.63.129.16/32", "a cloud's metadata"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "a relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
];

/// Where IPv6 has public addresses at all.
const PUBLIC_V6: &str = "2000::/3";
/// Networks inside it that are not public. Those that wrap IPv4 are tunnels to wherever that leads.
const SPECIAL_V6: [Special; 4] = [
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "a tunnel"),
    ("3fff::/20", "for documentation"),
];
/// Networks outside it, for the reason only.
const OUTSIDE_V6: [Special; 6] = [
    ("::/128", "unspecified"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("64:ff9b:1::/48", "a translation of one's own"),
];
/// Where networks of IPv6 alone see the addresses of IPv4.
const NAT64: &str = "64:ff9b::/96";

/// Why a webhook may not be sent to an address; `None` if it may.
pub fn refusal(address: IpAddr, allowed: &[Network]) -> Option<&'static str> {
    let meant = unwrapped(address);
    if allowed.iter().any(|network| network.contains(meant)) {
        return None;
    }
    match meant {
        IpAddr::V4(_) => kind(meant, &SPECIAL_V4),
        IpAddr::V6(address) if address.is_loopback() => Some("this machine"),
        IpAddr::V6(_) if is_in(meant, PUBLIC_V6) => kind(meant, &SPECIAL_V6),
        IpAddr::V6(_) => Some(kind(meant, &OUTSIDE_V6).unwrap_or("reserved")),
    }
}

/// What kind of address it is, if it is in one of the networks.
fn kind(address: IpAddr, networks: &[Special]) -> Option<&'static str> {
    networks.iter().find(|(network, _)| is_in(address, network)).map(|(_, kind)| *kind)
}

fn is_in(address: IpAddr, network: &str) -> bool {
    network.parse::<Network>().is_ok_and(|network| network.contains(address))
}

/// The IPv4 address that an IPv6 address stands for, if it does.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(outer) = address else { return address };
    if let Some(inner) = outer.to_ipv4_mapped() {
        return inner.into();
    }
    if is_in(address, NAT64) {
        let [.., a, b, c, d] = outer.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_network_is_reached() {
        let check = |address: &str, expected: Option<&str>| {
            assert_eq!(refusal(address.parse().unwrap(), &[]), expected, "{address}");
        };
        check("93.184.215.14", None);
        check("1.1.1.1", None);
        check("172.15.255.255", None);
        check("172.32.0.0", None);
        check("100.63.255.255", None);
        check("100.128.0.0", None);
        check("2606:2800:21f:cb07:6820:80da:af6b:8b2c", None);
        check("2a00:1450:4001:80f::200e", None);

        check("0.0.0.0", Some("unspecified"));
        check("0.1.2.3", Some("unspecified"));
        check("127.0.0.1", Some("this machine"));
        check("127.255.255.254", Some("this machine"));
        check("10.0.0.1", Some("private"));
        check("172.16.0.1", Some("private"));
        check("172.31.255.255", Some("private"));
        check("192.168.1.1", Some("private"));
        check("100.64.0.1", Some("shared by a provider's customers"));
        check("100.100.100.200", Some("shared by a provider's customers"));
        check("169.254.169.254", Some("link-local"));
        check("168.63.129.16", Some("a cloud's metadata"));
        check("192.0.0.192", Some("reserved"));
        check("192.0.2.1", Some("for documentation"));
        check("198.51.100.1", Some("for documentation"));
        check("203.0.113.1", Some("for documentation"));
        check("198.19.0.1", Some("for benchmarks"));
        check("192.88.99.1", Some("a relay"));
        check("224.0.0.1", Some("multicast"));
        check("239.255.255.255", Some("multicast"));
        check("240.0.0.1", Some("reserved"));
        check("255.255.255.255", Some("reserved"));

        check("::", Some("unspecified"));
        check("::1", Some("this machine"));
        check("fc00::1", Some("private"));
        check("fd00:ec2::254", Some("private"));
        check("fe80::1", Some("link-local"));
        check("fec0::1", Some("private"));
        check("ff02::1", Some("multicast"));
        check("2001::1", Some("reserved"));
        check("2001:db8::1", Some("for documentation"));
        check("2002:7f00:1::1", Some("a tunnel"));
        check("3fff::1", Some("for documentation"));
        check("100::1", Some("reserved"));
        check("::127.0.0.1", Some("reserved"));
    }

    #[test]
    fn an_address_inside_another_counts() {
        let check = |address: &str, expected: Option<&str>| {
            assert_eq!(refusal(address.parse().unwrap(), &[]), expected, "{address}");
        };
        check("::ffff:1.1.1.1", None);
        check("::ffff:127.0.0.1", Some("this machine"));
        check("::ffff:10.0.0.1", Some("private"));
        check("64:ff9b::101:101", None);
        check("64:ff9b::a00:1", Some("private"));
        check("64:ff9b::a9fe:a9fe", Some("link-local"));
        check("64:ff9b:1::101:101", Some("a translation of one's own"));
    }

    #[test]
    fn the_operator_may_allow_networks_of_their_own() {
        let allowed: Vec<Network> =
            ["10.1.0.0/16", "fd12::/32", "127.0.0.1/32"].map(|text| text.parse().unwrap()).to_vec();
        let check = |address: &str, expected: bool| {
            assert_eq!(refusal(address.parse().unwrap(), &allowed).is_none(), expected, "{address}");
        };
        check("10.1.255.1", true);
        check("::ffff:10.1.0.1", true);
        check("10.2.0.1", false);
        check("fd12:0:1::1", true);
        check("fd13::1", false);
        check("127.0.0.1", true);
        check("127.0.0.2", false);
    }

    #[test]
    fn networks_are_spelled_as_networks_are() {
        let special = SPECIAL_V4.iter().chain(&SPECIAL_V6).chain(&OUTSIDE_V6).map(|(network, _)| *network);
        for network in special.chain([PUBLIC_V6, NAT64]) {
            network.parse::<Network>().unwrap();
        }
    }
}
