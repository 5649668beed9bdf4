//! Campaign parameters and click ids: from the address's query, and from the properties unless these contradict it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use touchline_schemas::event::TextField;

/// The field that a query parameter or property fills, if it is a campaign parameter or click id.
pub fn field_of(name: &str) -> Option<TextField> {
    Some(match name {
        "utm_source" => TextField::UtmSource,
        "utm_medium" => TextField::UtmMedium,
        "utm_campaign" => TextField::UtmCampaign,
        "utm_content" => TextField::UtmContent,
        "utm_term" => TextField::UtmTerm,
        "gclid" => TextField::Gclid,
        "gbraid" => TextField::Gbraid,
        "wbraid" => TextField::Wbraid,
        "fbclid" => TextField::Fbclid,
        "msclkid" => TextField::Msclkid,
        "ttclid" => TextField::Ttclid,
        "li_fat_id" => TextField::LiFatId,
        "dclid" => TextField::Dclid,
        _ => return None,
    })
}

/// The campaign parameters and click ids of a query: decoded, trimmed, without empty ones; the first of a name counts.
pub fn from_query(query: &str) -> impl Iterator<Item = (TextField, Cow<'_, str>)> {
    let mut seen = 0_u64;
    query.split('&').filter_map(move |pair| {
        let (name, value) = pair.split_once('=')?;
        let field = field_of(name)?;
        let value = trimmed(decoded(value));
        let bit = 1 << field.index();
        if value.is_empty() || seen & bit != 0 {
            return None;
        }
        seen |= bit;
        Some((field, value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Without blanks at either end.
pub fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[(TextField, &str)]) {
        let found: Vec<_> = from_query(query).collect();
        let found: Vec<_> = found.iter().map(|(field, value)| (*field, value.as_ref())).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        use TextField::*;
        check("utm_source=google&utm_medium=cpc", &[(UtmSource, "google"), (UtmMedium, "cpc")]);
        check("utm_term=running+shoes%20red", &[(UtmTerm, "running shoes red")]);
        check("utm_campaign=%D0%B2%D0%B5%D1%81%D0%BD%D0%B0", &[(UtmCampaign, "весна")]);
        check("utm_source=&utm_medium=+%20&gclid=Cj0", &[(Gclid, "Cj0")]);
        check("utm_source=first&utm_source=second", &[(UtmSource, "first")]);
        check("utm_source=%FFx", &[(UtmSource, "\u{fffd}x")]);
        check("a=b&xutm_source=no&UTM_SOURCE=no&flag", &[]);
    }
}
