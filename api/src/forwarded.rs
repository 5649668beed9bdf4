//! The address that a request comes from, when proxies pass it on.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, header, request};
use touchline_schemas::config::{ForwardedHeader, ServerConfig};

use crate::AppState;
use crate::peer::Peer;

/// Where `X-Forwarded-For` has no constant of its own.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address. None for requests that came over no connection.
pub fn client_ip(state: &AppState, parts: &request::Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<Peer>>()?;
    Some(client_of(&state.config.server, peer.ip(), &parts.headers))
}

/// The last address of the chain that is not one of our proxies: from there on back, anybody may have written anything. A
/// chain is only as good as its readable end.
fn client_of(config: &ServerConfig, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_ours = |address| config.trusted_proxies.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_ours(client) {
        return client;
    }
    for hop in hops(config.forwarded_header, headers).into_iter().rev() {
        let Some(address) = hop else { break };
        client = address;
        if !is_ours(client) {
            break;
        }
    }
    client
}

/// The addresses that the header names, in the order in which the request came by them; none for what is no address.
fn hops(header: ForwardedHeader, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    match header {
        ForwardedHeader::XForwardedFor => {
            let lines = headers.get_all(X_FORWARDED_FOR).iter();
            lines.flat_map(|line| text(line).split(',').map(address)).collect()
        }
        ForwardedHeader::Forwarded => {
            let lines = headers.get_all(header::FORWARDED).iter();
            lines.flat_map(|line| forwarded_hops(text(line))).collect()
        }
    }
}

/// The hops of one line of `Forwarded`. A quote that a client leaves open would swallow what our proxy appends to its line:
/// such a line is one hop that cannot be read.
fn forwarded_hops(line: &str) -> Vec<Option<IpAddr>> {
    if line.matches('"').count() % 2 == 1 {
        return vec![None];
    }
    split(line, ',').into_iter().map(forwarded_for).collect()
}

/// The address in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = split(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    address(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// An address, which may have a port behind it; of IPv6 then, and if it likes also without, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

/// What is between the separators that stand outside quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .collect()
}

/// What is no text names no address.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behind 10.0.0.0/8, 127.0.0.1 and fd12::/16.
    fn check(header: ForwardedHeader, peer: &str, lines: &[&str], expected: &str) {
        let name = match header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "fd12::/16"];
        let trusted_proxies = networks.iter().map(|network| network.parse().unwrap()).collect();
        let config = ServerConfig { trusted_proxies, forwarded_header: header, ..ServerConfig::default() };
        let client = client_of(&config, peer.parse().unwrap(), &headers);
        assert_eq!(client.to_string(), expected, "{peer} {lines:?}");
    }

    #[test]
    fn the_client_is_the_last_in_the_chain_who_is_no_proxy_of_ours() {
        for (peer, lines, expected) in [
            ("10.0.0.1", vec!["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", vec!["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", vec!["198.51.100.1,203.0.113.7 , 10.1.2.3"], "203.0.113.7"),
            ("10.0.0.1", vec!["198.51.100.1", "203.0.113.7", "10.1.2.3, 127.0.0.1"], "203.0.113.7"),
            ("10.0.0.1", vec!["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
            ("127.0.0.1", vec!["203.0.113.7:4711"], "203.0.113.7"),
            ("fd12::1", vec!["2001:db8::7"], "2001:db8::7"),
            ("fd12::1", vec!["[2001:db8::7]:443"], "2001:db8::7"),
            ("10.0.0.1", vec!["[2001:db8::7]"], "2001:db8::7"),
            ("::ffff:10.0.0.1", vec!["::ffff:203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", vec![], "10.0.0.1"),
        ] {
            check(ForwardedHeader::XForwardedFor, peer, &lines, expected);
        }
    }

    #[test]
    fn a_stranger_can_claim_nothing() {
        for (peer, lines) in [
            ("203.0.113.9", vec!["198.51.100.1"]),
            ("203.0.113.9", vec!["10.0.0.1"]),
            ("2001:db8::9", vec!["fd12::1", "127.0.0.1"]),
        ] {
            check(ForwardedHeader::XForwardedFor, peer, &lines, peer);
            check(ForwardedHeader::Forwarded, peer, &["for=198.51.100.1"], peer);
        }
    }

    #[test]
    fn a_chain_is_read_from_its_end_to_what_is_no_address() {
        for (lines, expected) in [
            (vec!["unknown"], "10.0.0.1"),
            (vec![""], "10.0.0.1"),
            (vec!["203.0.113.7,"], "10.0.0.1"),
            (vec!["203.0.113.7, secret, 10.1.2.3"], "10.1.2.3"),
            (vec!["203.0.113.7", "é", "10.1.2.3"], "10.1.2.3"),
            (vec!["300.1.1.1"], "10.0.0.1"),
            (vec!["junk, 203.0.113.7"], "203.0.113.7"),
        ] {
            check(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines, expected);
        }
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (lines, expected) in [
            (vec!["for=203.0.113.7"], "203.0.113.7"),
            (vec!["For=\"203.0.113.7:80\";proto=https;by=10.0.0.1"], "203.0.113.7"),
            (vec!["proto=https; for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            (vec!["for=198.51.100.1, for=203.0.113.7;host=\"a,b;for=x\", for=10.1.2.3"], "203.0.113.7"),
            (vec!["for=203.0.113.7, for=_hidden, for=10.1.2.3"], "10.1.2.3"),
            (vec!["for=unknown"], "10.0.0.1"),
            (vec!["proto=https"], "10.0.0.1"),
            (vec!["for=203.0.113.7, for=\"10.1.2.3"], "10.0.0.1"),
            (vec!["for=198.51.100.1;x=\", for=203.0.113.7"], "10.0.0.1"),
            (vec!["for=198.51.100.1;x=\"", "for=203.0.113.7"], "203.0.113.7"),
        ] {
            check(ForwardedHeader::Forwarded, "10.0.0.1", &lines, expected);
        }
        check(ForwardedHeader::Forwarded, "10.0.0.1", &[], "10.0.0.1");
    }
}
