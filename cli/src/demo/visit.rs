//! One visit of one person: landing, looking around, cart, checkout, sometimes an order or a new account.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use touchline_schemas::event::messaging::{DECISION, MESSAGE_CLICKED, MESSAGE_DISMISSED, MESSAGE_SENT, MESSAGE_VIEWED};

use super::catalog::{self, CURRENCY, ORIGIN, Page, Product};
use super::chance::Dice;
use super::messages;
use super::people::Visitor;
use super::rhythm::instant;
use super::sequence::Run;
use super::sources::{Landing, Source};

/// The longest pause inside a visit. Two of them with a message in between, which keeps no session open, stay under
/// the 30 minutes that would make two sessions of the visit.
pub const MAX_PAUSE_MS: i64 = 14 * 60_000;

const MAX_LOOKING_AROUND_MS: i64 = 45 * 60_000;
const MEAN_STEPS: f64 = 8.6;
const MEAN_PAUSE_MS: f64 = 38_000.0;
const ADD_TO_CART_RATE: f64 = 0.16;
const CHECKOUT_RATE: f64 = 0.5;
/// The same rates for somebody whom the welcome sequence made an offer.
const ADD_TO_CART_RATE_WITH_OFFER: f64 = 0.3;
const CHECKOUT_RATE_WITH_OFFER: f64 = 0.75;
const ORDER_RATE: f64 = 0.62;
const SIGNUP_RATE: f64 = 0.05;
const SITE_MESSAGE_RATE: f64 = 0.14;
/// Of the messages that a page got, those that came into sight.
const SEEN_RATE: f64 = 0.92;

/// What an event says.
pub type Properties = Map<String, Value>;

/// An event before it is given an id and is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// When it happened, in Unix milliseconds.
    pub at_ms: i64,
    /// Its type.
    pub event_type: &'static str,
    /// The visit it belongs to; messages belong to none.
    pub session_id: Option<String>,
    /// The person's known id at that time.
    pub user_id: Option<String>,
    /// What it says.
    pub properties: Properties,
}

/// What happened in a visit.
#[derive(Debug)]
pub struct Visit {
    /// Its events, in order of time.
    pub drafts: Vec<Draft>,
    /// When the person signed up, if that is what they did, in Unix milliseconds.
    pub signed_up_at_ms: Option<i64>,
}

/// Plays a visit that begins at `start_ms` and came through `source`.
pub fn play(dice: &mut Dice, visitor: &mut Visitor, source: &Source, start_ms: i64) -> Visit {
    let mut walk = Walk {
        session_id: dice.hex(16),
        now_ms: start_ms,
        start_ms,
        shown: None,
        cart: Vec::new(),
        drafts: Vec::new(),
        signed_up_at_ms: None,
        dice,
        visitor,
    };
    walk.land(source);
    if !walk.dice.chance(source.bounce_rate) {
        walk.look_around();
        walk.sign_up_perhaps();
        walk.check_out_perhaps();
    }
    Visit { drafts: walk.drafts, signed_up_at_ms: walk.signed_up_at_ms }
}

struct Walk<'a> {
    dice: &'a mut Dice,
    visitor: &'a mut Visitor,
    session_id: String,
    start_ms: i64,
    now_ms: i64,
    /// The address of the page that is shown, which is the referrer of the next one.
    shown: Option<String>,
    cart: Vec<&'static Product>,
    drafts: Vec<Draft>,
    signed_up_at_ms: Option<i64>,
}

impl Walk<'_> {
    fn land(&mut self, source: &Source) {
        let page = match self.dice.pick(source.landings) {
            Landing::Home => catalog::home(),
            Landing::Category => catalog::any_category(self.dice),
            Landing::Product => catalog::product_page(catalog::any_product(self.dice)),
            Landing::Article => catalog::any_article(self.dice),
        };
        self.shown = source.referrer.map(str::to_owned);
        let query = source.query(self.dice);
        self.view(&page, &query);
    }

    fn look_around(&mut self) {
        let steps = 1.0 + self.dice.wait(MEAN_STEPS);
        let mut taken = 0.0;
        while taken < steps && self.now_ms - self.start_ms < MAX_LOOKING_AROUND_MS {
            taken += 1.0;
            self.pause();
            match self.dice.between(0, 99) {
                0..=27 => self.view_any_category(),
                28..=37 => self.search(),
                38..=45 => self.view_any_article(),
                _ => self.view_any_product(),
            }
        }
        if self.dice.chance(SITE_MESSAGE_RATE) {
            self.ask_for_site_message();
        }
    }

    fn view_any_category(&mut self) {
        let page = catalog::any_category(self.dice);
        self.view(&page, "");
    }

    fn view_any_article(&mut self) {
        let page = catalog::any_article(self.dice);
        self.view(&page, "");
    }

    fn search(&mut self) {
        let text = *self.dice.pick(&catalog::SEARCHES);
        let results = self.dice.between(0, 24);
        self.record("search", [("query", json!(text)), ("results", json!(results))]);
    }

    fn view_any_product(&mut self) {
        let product = catalog::any_product(self.dice);
        self.view(&catalog::product_page(product), "");
        if self.dice.chance(self.by_offer(ADD_TO_CART_RATE, ADD_TO_CART_RATE_WITH_OFFER)) {
            self.pause();
            self.cart.push(product);
            self.record(
                "add_to_cart",
                [
                    ("sku", json!(product.sku)),
                    ("name", json!(product.name)),
                    ("price", amount(product.price_cents)),
                    ("quantity", json!(1)),
                ],
            );
        }
    }

    /// The page asks for a message and may get one, which is looked at, clicked, closed or left alone.
    fn ask_for_site_message(&mut self) {
        let Some(message) = self.decide() else { return };
        self.push(MESSAGE_SENT, message.clone());
        if !self.dice.chance(SEEN_RATE) {
            return;
        }
        self.push(MESSAGE_VIEWED, message.clone());
        let reaction = match self.dice.between(0, 99) {
            0..=17 => MESSAGE_CLICKED,
            18..=59 => MESSAGE_DISMISSED,
            _ => return,
        };
        self.pause();
        self.push(reaction, message);
    }

    fn decide(&mut self) -> Option<Properties> {
        let (decision, message) = messages::site_message(self.dice);
        self.push(DECISION, decision);
        message
    }

    fn sign_up_perhaps(&mut self) {
        if self.visitor.user_id.is_some() || !self.dice.chance(SIGNUP_RATE) {
            return;
        }
        self.pause();
        self.view(&Page { path: "/account/new".to_owned(), title: "New account" }, "");
        self.pause();
        self.visitor.user_id = Some(format!("u_{}", self.dice.hex(12)));
        self.visitor.run = Some(Run::enter(self.dice, self.now_ms));
        self.signed_up_at_ms = Some(self.now_ms);
        self.record("signup", [("plan", json!("customer"))]);
    }

    fn check_out_perhaps(&mut self) {
        if self.cart.is_empty() {
            return;
        }
        self.pause();
        self.view(&catalog::cart(), "");
        if !self.dice.chance(self.by_offer(CHECKOUT_RATE, CHECKOUT_RATE_WITH_OFFER)) {
            return;
        }
        self.pause();
        self.view(&catalog::checkout(), "");
        self.record("begin_checkout", [("items", json!(self.cart.len()))]);
        if self.dice.chance(ORDER_RATE) {
            self.order();
        }
    }

    fn order(&mut self) {
        self.pause();
        let total_cents: i64 = self.cart.iter().map(|product| product.price_cents).sum();
        let skus: Vec<_> = self.cart.iter().map(|product| product.sku).collect();
        let order_id = format!("LO-{}", self.dice.hex(8));
        self.record(
            "purchase",
            [
                ("order_id", json!(order_id)),
                ("revenue", amount(total_cents)),
                ("currency", json!(CURRENCY)),
                ("skus", json!(skus)),
            ],
        );
        if let Some(run) = &mut self.visitor.run {
            run.ordered_ms.get_or_insert(self.now_ms);
        }
        self.view(&catalog::thank_you(), "");
    }

    fn by_offer(&self, without: f64, with: f64) -> f64 {
        if self.visitor.has_offer(self.start_ms) { with } else { without }
    }

    /// Lets some time pass; now and then somebody takes a phone call.
    fn pause(&mut self) {
        let mean = if self.dice.chance(0.03) { 8.0 * MEAN_PAUSE_MS } else { MEAN_PAUSE_MS };
        self.now_ms += (1_500 + whole_ms(self.dice.wait(mean))).min(MAX_PAUSE_MS);
    }

    fn view(&mut self, page: &Page, query: &str) {
        let url = format!("{ORIGIN}{}{query}", page.path);
        let mut properties = Map::new();
        properties.insert("url".to_owned(), json!(url));
        properties.insert("title".to_owned(), json!(page.title));
        if let Some(referrer) = self.shown.replace(url) {
            properties.insert("referrer".to_owned(), json!(referrer));
        }
        self.push("page_view", properties);
    }

    fn record<const N: usize>(&mut self, event_type: &'static str, said: [(&str, Value); N]) {
        let mut properties = object(said);
        if let Some(url) = &self.shown {
            properties.insert("url".to_owned(), json!(url.split('?').next()));
        }
        self.push(event_type, properties);
    }

    fn push(&mut self, event_type: &'static str, properties: Properties) {
        self.drafts.push(Draft {
            at_ms: self.now_ms,
            event_type,
            session_id: Some(self.session_id.clone()),
            user_id: self.visitor.user_id.clone(),
            properties,
        });
    }
}

/// An object of JSON.
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Properties {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// An amount of money as a JSON number.
fn amount(cents: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53 cents")]
    let amount = cents as f64 / 100.0;
    json!(amount)
}

/// An instant as clients write it.
pub fn timestamp(unix_ms: i64) -> String {
    instant(unix_ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A duration without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "pauses are days at most")]
pub fn whole_ms(duration_ms: f64) -> i64 {
    duration_ms as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sources::SOURCES;

    #[test]
    fn a_visit_is_in_order_and_never_pauses_long_enough_to_become_two_sessions() {
        let mut dice = Dice::new(5);
        for number in 0..2_000 {
            let mut visitor = Visitor::new(&mut dice);
            let source = &SOURCES[number % SOURCES.len()];
            let visit = play(&mut dice, &mut visitor, source, 1_000_000);
            assert_eq!(visit.drafts[0].event_type, "page_view");
            assert_eq!(visit.drafts[0].at_ms, 1_000_000);
            let keeps_open: Vec<_> = visit.drafts.iter().filter(|draft| !draft.event_type.starts_with('$')).collect();
            for pair in keeps_open.windows(2) {
                assert!((0..30 * 60_000).contains(&(pair[1].at_ms - pair[0].at_ms)), "{pair:?}");
            }
            assert_eq!(visitor.user_id.is_some(), visit.signed_up_at_ms.is_some());
        }
    }
}
