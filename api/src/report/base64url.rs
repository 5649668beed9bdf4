//! Base64 for addresses (RFC 4648 §5, no padding): what a cursor is wrapped in.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0u32, |group, (place, byte)| group | u32::from(*byte) << (16 - 8 * place));
        for place in 0..=chunk.len() {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

/// Decodes what [`encode`] made; `None` for anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut group = 0u32;
        for (place, letter) in chunk.iter().enumerate() {
            group |= digit(*letter)? << (18 - 6 * place);
        }
        let whole = chunk.len() - 1;
        let group = group.to_be_bytes();
        let (kept, dropped) = group[1..].split_at_checked(whole)?;
        if whole == 0 || dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u32> {
    ALPHABET.iter().position(|candidate| *candidate == letter).and_then(|place| u32::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_both_ways() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_was_not_encoded_here_is_refused() {
        for text in ["Z", "Zm9vY", "Zg==", "Zh", "Zm9/", "ä"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
