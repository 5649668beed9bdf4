//! What a message says of the page and the campaign around it, besides its properties.
//!
//! The properties are nearer to what happened: they win, and what contradicts them is kept under a name of its own.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::normalize::campaign::{field_of, from_query};
use crate::normalize::properties::{Members, text_of};
use crate::normalize::url;

/// Of a page: its name in the context, the property that it stands for, and what it is called beside another one.
const PAGE: [(&str, &str, &str); 4] = [
    ("url", "url", "context_page_url"),
    ("referrer", "referrer", "context_page_referrer"),
    ("title", "title", "context_page_title"),
    ("path", "path", "context_page_path"),
];
/// Of a campaign, likewise.
const CAMPAIGN: [(&str, &str, &str); 5] = [
    ("source", "utm_source", "context_campaign_source"),
    ("medium", "utm_medium", "context_campaign_medium"),
    ("name", "utm_campaign", "context_campaign_name"),
    ("content", "utm_content", "context_campaign_content"),
    ("term", "utm_term", "context_campaign_term"),
];

/// The page and the campaign.
#[derive(Debug, Default)]
pub struct Surroundings<'a> {
    page: [Option<&'a RawValue>; PAGE.len()],
    campaign: [Option<&'a RawValue>; CAMPAIGN.len()],
}

impl<'a> Surroundings<'a> {
    /// Takes what the context calls `name` of its page; false if it has no such column.
    pub fn set_page(&mut self, name: &str, value: &'a RawValue) -> bool {
        set(&mut self.page, &PAGE, name, value)
    }

    /// Takes what the context calls `name` of its campaign; false if it has no such column.
    pub fn set_campaign(&mut self, name: &str, value: &'a RawValue) -> bool {
        set(&mut self.campaign, &CAMPAIGN, name, value)
    }

    /// Adds everything to an event's properties.
    ///
    /// A campaign counts as a whole: beside a URL or properties that name another one, none of it does. A first touch
    /// made of two campaigns would be neither.
    pub fn add_to(self, members: &mut Members<'a>) {
        for ((_, property, otherwise), value) in PAGE.into_iter().zip(self.page) {
            if let Some(value) = value {
                let name = if members.get(property).is_none() { property } else { otherwise };
                if members.get(property).is_none_or(|said| said.get() != value.get()) {
                    members.add((Cow::Borrowed(name), value));
                }
            }
        }
        if self.campaign.iter().all(Option::is_none) {
            return;
        }
        let is_another = self.contradicts(members);
        for ((_, property, otherwise), value) in CAMPAIGN.into_iter().zip(self.campaign) {
            if let Some(value) = value {
                members.add((Cow::Borrowed(if is_another { otherwise } else { property }), value));
            }
        }
    }

    /// Whether the URL or the properties name another campaign.
    fn contradicts(&self, members: &Members<'a>) -> bool {
        let page = members.get("url").and_then(text_of).unwrap_or_default();
        let in_url: Vec<_> = url::split(&page).query.into_iter().flat_map(from_query).collect();
        let said = |property: &str| {
            let field = field_of(property)?;
            let in_url = in_url.iter().find(|(found, _)| *found == field).map(|(_, value)| value.clone());
            in_url.or_else(|| members.get(property).and_then(text_of))
        };
        CAMPAIGN.into_iter().zip(self.campaign).any(|((_, property, _), value)| {
            let given = value.and_then(text_of).unwrap_or_default();
            said(property).is_some_and(|said| said.trim() != given.trim())
        })
    }
}

fn set<'a>(
    values: &mut [Option<&'a RawValue>],
    columns: &[(&str, &str, &str)],
    name: &str,
    value: &'a RawValue,
) -> bool {
    let place = columns.iter().position(|(known, ..)| *known == name);
    if let Some(slot) = place.and_then(|place| values.get_mut(place)) {
        *slot = Some(value);
    }
    place.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &str, page: &str, campaign: &str, expected: &[(&str, &str)]) {
        let mut members: Members<'_> = serde_json::from_str(properties).unwrap();
        let mut around = Surroundings::default();
        let page: Members<'_> = serde_json::from_str(page).unwrap();
        let campaign: Members<'_> = serde_json::from_str(campaign).unwrap();
        assert!(page.0.iter().all(|(name, value)| around.set_page(name, value)));
        assert!(campaign.0.iter().all(|(name, value)| around.set_campaign(name, value)));
        around.add_to(&mut members);
        let found: Vec<_> = members.0.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(found, expected, "{properties}");
    }

    #[test]
    fn properties_win_over_the_page_and_nothing_is_lost() {
        let page = r#"{"url":"https://a.example/","title":"A"}"#;
        check("{}", page, "{}", &[("url", r#""https://a.example/""#), ("title", r#""A""#)]);
        check(r#"{"title":"A"}"#, page, "{}", &[("title", r#""A""#), ("url", r#""https://a.example/""#)]);
        let expected = [("title", r#""B""#), ("url", r#""https://a.example/""#), ("context_page_title", r#""A""#)];
        check(r#"{"title":"B"}"#, page, "{}", &expected);
        check(r#"{"title":null}"#, r#"{"title":"A"}"#, "{}", &[("title", "null"), ("title", r#""A""#)]);
    }

    #[test]
    fn a_campaign_counts_as_a_whole_or_not_at_all() {
        let campaign = r#"{"source":"google","medium":"cpc"}"#;
        let counted = [("utm_source", r#""google""#), ("utm_medium", r#""cpc""#)];
        check("{}", "{}", campaign, &counted);
        // The URL says less, and nothing else.
        let url = r#""https://a.example/?utm_source=google""#;
        let both = [("url", url), counted[0], counted[1]];
        check(&format!(r#"{{"url":{url}}}"#), "{}", campaign, &both);
        check("{}", &format!(r#"{{"url":{url}}}"#), campaign, &both);
        // The URL names another one.
        let url = r#""https://a.example/?utm_source=news""#;
        let apart = [("url", url), ("context_campaign_source", r#""google""#), ("context_campaign_medium", r#""cpc""#)];
        check(&format!(r#"{{"url":{url}}}"#), "{}", campaign, &apart);
        let apart = [("utm_source", r#""news""#), apart[1], apart[2]];
        check(r#"{"utm_source":"news"}"#, "{}", campaign, &apart);
    }
}
