//! One page, one path: ways of writing the same path become one, and nothing else is lost.

use std::borrow::Cow;

/// The path parameter in which servers of Java put a session's id.
const SESSION_PARAMETER: &str = "jsessionid";

/// A path as it stands in the column `path`.
///
/// Escapes of letters, digits and `-._~` are decoded, those of everything else stay and have capital digits. The parameter
/// `jsessionid` goes, and so do slashes that follow a slash, and those at the end; `/` stays. What does not begin with `/`
/// is no path and stays as it is. Normalising twice is normalising once.
pub fn normalized(path: &str) -> Cow<'_, str> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let decoded = without_needless_escapes(path);
    let mut normal = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        let segment = without_session(segment);
        if !segment.is_empty() {
            normal.push('/');
            normal.push_str(&segment);
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

/// Whether there is nothing to do, as with nearly all paths.
fn is_normal(path: &str) -> bool {
    if !path.starts_with('/') {
        return true;
    }
    let mut before = 0;
    for byte in path.bytes() {
        if matches!((before, byte), (_, b'%' | b';') | (b'/', b'/')) {
            return false;
        }
        before = byte;
    }
    path.len() == 1 || before != b'/'
}

fn without_needless_escapes(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let digit = |place: usize| rest.as_bytes().get(at + place).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(1), digit(2)) else {
            decoded.push('%');
            rest = &rest[at + 1..];
            continue;
        };
        // Behind a percent sign that begins no escape, what is decoded would make it one.
        let begins_none = decoded.bytes().rev().take(2).any(|byte| byte == b'%');
        match u8::try_from(high * 16 + low) {
            Ok(byte) if !begins_none && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) => {
                decoded.push(char::from(byte))
            }
            Ok(_) | Err(_) => decoded.push_str(&rest[at..at + 3].to_ascii_uppercase()),
        }
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// A segment without its parameter of the session.
fn without_session(segment: &str) -> Cow<'_, str> {
    let is_session = |parameter: &str| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        name.eq_ignore_ascii_case(SESSION_PARAMETER)
    };
    let mut parts = segment.split(';');
    let name = parts.next().unwrap_or_default();
    if !parts.clone().any(is_session) {
        return Cow::Borrowed(segment);
    }
    let mut kept = name.to_owned();
    for parameter in parts.filter(|parameter| !is_session(parameter)) {
        kept.push(';');
        kept.push_str(parameter);
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ways_of_writing_a_page_become_one() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/%%61a", "/%%61a"),
            ("/%a%62", "/%a%62"),
            ("/pricing", "/pricing"),
            ("/pricing/", "/pricing"),
            ("//shop///shoes//", "/shop/shoes"),
            ("/%7Eada/%61bout%2Dus", "/~ada/about-us"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/café"),
            ("/a%2fb", "/a%2Fb"),
            ("/100%", "/100%"),
            ("/100%2", "/100%2"),
            ("/%zz/%é", "/%zz/%é"),
            ("/%2541", "/%2541"),
            ("/cart;jsessionid=9F2.node1", "/cart"),
            ("/cart;JSESSIONID=9F2/items", "/cart/items"),
            ("/cart;view=full;jsessionid=9F2;page=2", "/cart;view=full;page=2"),
            ("/;jsessionid=9F2", "/"),
            ("/a;%6Asessionid=9F2", "/a"),
            ("/cart;jsessionids=9F2", "/cart;jsessionids=9F2"),
            ("/a;b", "/a;b"),
            ("/Case/Stays", "/Case/Stays"),
            ("/index.html", "/index.html"),
            ("/a/./b/../c", "/a/./b/../c"),
            ("", ""),
            ("no path//", "no path//"),
        ] {
            assert_eq!(normalized(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "(/|%|%2[0-9A-Fa-f]|%[67][0-9A-Fa-f]|;|;jsessionid=?|[a-z=é]){0,12}") {
            let once = normalized(&path).into_owned();
            prop_assert_eq!(normalized(&once), once.as_str());
        }
    }
}
