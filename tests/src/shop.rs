//! Traffic of a shop in the log's own form: enough like the real thing to measure with, the same for the same seed.

use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use touchline_ingest::event_ids::IdHash;
use touchline_ingest::record::{EncodedEvents, Event};
use touchline_schemas::Tenant;
use touchline_schemas::event::{PAGE_VIEW, TextField};

use crate::logged;

const PAGES: [&str; 12] = [
    "/",
    "/lamps",
    "/lamps/oak-42",
    "/lamps/brass-7",
    "/chairs",
    "/chairs/bent-3",
    "/tables",
    "/tables/long-9",
    "/cart",
    "/checkout",
    "/about",
    "/blog/how-to-oil-oak",
];
const SOURCES: [(&str, &str, &str); 5] = [
    ("google", "cpc", "spring_sale"),
    ("newsletter", "email", "october"),
    ("facebook", "paid_social", "retargeting"),
    ("bing", "cpc", "brand"),
    ("partner", "affiliate", "oak_blog"),
];
const REFERRERS: [&str; 4] =
    ["https://www.google.com/", "https://duckduckgo.com/", "https://t.co/abc", "https://blog.example.org/oak"];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
];

/// One of so many visitors has an account, and is logged in from the second event of a visit on.
const VISITORS_PER_ACCOUNT: u32 = 33;
/// One of so many visits ends with a purchase.
const VISITS_PER_PURCHASE: i64 = 100;

/// A stream of visits.
#[derive(Debug)]
pub struct Shop {
    random: SmallRng,
    tenant: Tenant,
    visitors: u32,
    begin: DateTime<Utc>,
    span_s: i64,
}

impl Shop {
    /// Visits of `visitors` people over `days` days from `begin`.
    pub fn new(seed: u64, tenant: Tenant, visitors: u32, begin: DateTime<Utc>, days: u32) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), tenant, visitors, begin, span_s: i64::from(days) * 86_400 }
    }

    /// One logged request with about `events` events that fall between the fractions `from` and `to` of the time.
    pub fn request(&mut self, events: usize, from: f64, to: f64) -> (Vec<u8>, usize) {
        let mut encoded = EncodedEvents::with_capacity(events + 32);
        while encoded.len() < events {
            self.visit(&mut encoded, from, to);
        }
        let end = self.begin + chrono::Duration::seconds((self.span_s as f64 * to) as i64);
        (logged::of_encoded(self.tenant, end.timestamp_micros(), &encoded), encoded.len())
    }

    fn visit(&mut self, encoded: &mut EncodedEvents, from: f64, to: f64) {
        let number = self.random.random_range(0..self.visitors);
        let visitor = format!("{:032x}", (u128::from(number) + 1) * 0x9e37_79b9_7f4a_7c15_f39c);
        let user = number.is_multiple_of(VISITORS_PER_ACCOUNT).then(|| format!("customer-{number}"));
        let at_s = self.random.random_range(self.span_s as f64 * from..self.span_s as f64 * to);
        let mut at_us = self.begin.timestamp_micros() + (at_s * 1e6) as i64;
        let campaign = self.random.random_bool(0.3).then(|| SOURCES[self.random.random_range(0..SOURCES.len())]);
        let referrer = REFERRERS[self.random.random_range(0..REFERRERS.len())];
        let agent = AGENTS[self.random.random_range(0..AGENTS.len())];
        // Drawn from the time, so that the visits of a seed are the same as without.
        let buys = at_us.rem_euclid(VISITS_PER_PURCHASE) == 0;
        let steps = self.random.random_range(1..14);
        for step in 0..steps {
            let mut event = Event::at(at_us);
            let page = PAGES[self.random.random_range(0..PAGES.len())];
            let id = uuid::Builder::from_unix_timestamp_millis(at_us.unsigned_abs() / 1_000, &self.random.random())
                .into_uuid()
                .to_string();
            let is_view = step == 0 || self.random.random_bool(0.8);
            if buys && step + 1 == steps {
                event.set(TextField::EventType, "purchase");
                event.set(TextField::Currency, "EUR");
                event.revenue_e4 = Some(at_us.rem_euclid(5_000_000) + 50_000);
            } else {
                event.set(TextField::EventType, if is_view { PAGE_VIEW } else { "add_to_cart" });
            }
            if let Some(user) = user.as_ref().filter(|_| step > 0) {
                event.set(TextField::UserId, user.clone());
            }
            event.set(TextField::VisitorId, visitor.clone());
            event.set(TextField::Host, "shop.example");
            event.set(TextField::Path, page);
            event.set(TextField::UserAgent, agent);
            event.set(TextField::Ip, "203.0.113.0");
            event.set(TextField::Source, "native");
            let mut url = format!("https://shop.example{page}");
            if step == 0 {
                event.set(TextField::Referrer, referrer);
                event.set(TextField::ReferrerHost, referrer.split('/').nth(2).unwrap_or_default());
                if let Some((source, medium, name)) = campaign {
                    url = format!("{url}?utm_source={source}&utm_medium={medium}&utm_campaign={name}");
                    event.set(TextField::UtmSource, source);
                    event.set(TextField::UtmMedium, medium);
                    event.set(TextField::UtmCampaign, name);
                }
            }
            event.set(TextField::Url, url);
            let hash = IdHash::new(self.tenant, &id);
            event.set(TextField::EventId, id);
            encoded.push(hash, &event);
            at_us += self.random.random_range(1_000_000..600_000_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use touchline_ingest::record::decode;
    use touchline_schemas::{AccountId, Environment};

    use super::*;

    #[test]
    fn some_visitors_log_in_and_some_visits_end_with_a_purchase() {
        let tenant = Tenant { account_id: AccountId(uuid::Uuid::nil()), environment: Environment::Live };
        let begin = DateTime::UNIX_EPOCH;
        let (payload, events) = Shop::new(1, tenant, 3_300, begin, 30).request(100_000, 0.0, 1.0);
        let request = decode(&payload).unwrap();
        let text = |field: TextField| move |(place, text): (usize, _)| (place == field.index()).then_some(text);
        let (mut visits, mut purchases, mut visitors, mut users) = (0, 0, BTreeSet::new(), BTreeSet::new());
        for event in &request.events {
            let of = |field: TextField| event.texts().find_map(text(field));
            visits += usize::from(of(TextField::Referrer).is_some());
            visitors.extend(of(TextField::VisitorId));
            users.extend(of(TextField::UserId));
            let is_purchase = of(TextField::EventType) == Some("purchase");
            assert_eq!(event.revenue_e4.is_some(), is_purchase);
            purchases += usize::from(is_purchase);
        }
        assert_eq!(request.events.len(), events);
        assert!((70..140).contains(&(visits / purchases)), "{purchases} of {visits}");
        assert!((28..40).contains(&(visitors.len() / users.len())), "{} of {}", users.len(), visitors.len());
    }
}
