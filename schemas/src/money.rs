//! Amounts of money, read from their digits without a detour over binary fractions.

use crate::tables::{MONEY_PRECISION, MONEY_SCALE};

/// Ten-thousandths of an amount written as a JSON number or as the text of one; `None` when it is no number or has
/// more digits than the lake keeps. Digits beyond the fourth after the point are rounded half away from zero.
pub fn parse_e4(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let amount = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => scaled(mantissa, exponent.parse().ok()?)?,
        None => scaled(digits, 0)?,
    };
    Some(if negative { -amount } else { amount })
}

fn scaled(mantissa: &str, exponent: i32) -> Option<i64> {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = 10_i128.pow(u32::from(MONEY_PRECISION));
    // The place of the last kept digit, counted from the mantissa's first.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(MONEY_SCALE);
    let mut amount = 0_i128;
    let mut digits = whole.bytes().chain(fraction.bytes());
    for place in 0..kept {
        let digit = digits.next().map_or(0, |byte| byte - b'0');
        amount = amount * 10 + i128::from(digit);
        if amount >= limit || place > 400 {
            return None;
        }
    }
    if kept >= 0 && digits.next().is_some_and(|byte| byte >= b'5') {
        amount += 1;
    }
    (amount < limit).then(|| i64::try_from(amount).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_decimal_digits() {
        for (text, expected) in [
            ("99.99", Some(999_900)),
            ("0.1", Some(1_000)),
            ("-5", Some(-50_000)),
            (" 12.34567 ", Some(123_457)),
            ("12.34564", Some(123_456)),
            ("0.00005", Some(1)),
            ("0.00004", Some(0)),
            ("1e2", Some(1_000_000)),
            ("1.5E-1", Some(1_500)),
            ("1e-9", Some(0)),
            ("99999999999999.9999", Some(999_999_999_999_999_999)),
            ("100000000000000", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("", None),
            (".5", None),
            ("12,50", None),
            ("free", None),
            ("0x10", None),
            ("NaN", None),
        ] {
            assert_eq!(parse_e4(text), expected, "{text}");
        }
    }
}
