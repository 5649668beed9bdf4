//! One visit of one person: landing, looking around, cart, checkout, sometimes an order or a new account.

use serde_json::{Map, Value, json};

use super::catalog::{self, CURRENCY, ORIGIN, Page, Product};
use super::chance::Dice;
use super::people::Visitor;
use super::sources::{Landing, Source};

/// The longest pause inside a visit. Two of them with a message in between, which keeps no session open, stay under
/// the 30 minutes that would make two sessions of the visit.
pub const MAX_PAUSE_MS: i64 = 14 * 60_000;

const MAX_LOOKING_AROUND_MS: i64 = 45 * 60_000;
const MEAN_STEPS: f64 = 8.6;
const MEAN_PAUSE_MS: f64 = 38_000.0;
const ADD_TO_CART_RATE: f64 = 0.16;
const CHECKOUT_RATE: f64 = 0.5;
const ORDER_RATE: f64 = 0.62;
const SIGNUP_RATE: f64 = 0.05;
const SITE_MESSAGE_RATE: f64 = 0.14;

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
    pub properties: Map<String, Value>,
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
            self.see_site_message();
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
        if self.dice.chance(ADD_TO_CART_RATE) {
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

    /// A banner of the shop is shown, and clicked, closed or left alone.
    fn see_site_message(&mut self) {
        let message = site_message(self.dice);
        self.record_message("$message_viewed", &message);
        let reaction = match self.dice.between(0, 99) {
            0..=17 => "$message_clicked",
            18..=59 => "$message_dismissed",
            _ => return,
        };
        self.pause();
        self.record_message(reaction, &message);
    }

    fn sign_up_perhaps(&mut self) {
        if self.visitor.user_id.is_some() || !self.dice.chance(SIGNUP_RATE) {
            return;
        }
        self.pause();
        self.view(&Page { path: "/account/new".to_owned(), title: "New account" }, "");
        self.pause();
        self.visitor.user_id = Some(format!("u_{}", self.dice.hex(12)));
        self.signed_up_at_ms = Some(self.now_ms);
        self.record("signup", [("plan", json!("customer"))]);
    }

    fn check_out_perhaps(&mut self) {
        if self.cart.is_empty() {
            return;
        }
        self.pause();
        self.view(&catalog::cart(), "");
        if !self.dice.chance(CHECKOUT_RATE) {
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
        self.view(&catalog::thank_you(), "");
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

    fn record_message(&mut self, event_type: &'static str, message: &Map<String, Value>) {
        self.push(event_type, message.clone());
    }

    fn push(&mut self, event_type: &'static str, properties: Map<String, Value>) {
        self.drafts.push(Draft {
            at_ms: self.now_ms,
            event_type,
            session_id: Some(self.session_id.clone()),
            user_id: self.visitor.user_id.clone(),
            properties,
        });
    }
}

/// An e-mail of the shop that `visitor` was sent before a visit and clicked to begin it; or, without a visit, one
/// that went unread or unclicked.
pub fn email(dice: &mut Dice, visitor: &Visitor, sent_ms: i64, clicked_ms: Option<i64>) -> Vec<Draft> {
    let properties = email_message(dice);
    let mut drafts = Vec::new();
    let mut push = |event_type, at_ms| {
        let user_id = visitor.user_id.clone();
        drafts.push(Draft { at_ms, event_type, session_id: None, user_id, properties: properties.clone() });
    };
    push("$message_sent", sent_ms);
    if clicked_ms.is_none() && dice.chance(0.03) {
        return drafts;
    }
    push("$message_delivered", sent_ms + dice.between(400, 90_000));
    match clicked_ms {
        Some(clicked_ms) => {
            push("$message_viewed", clicked_ms - dice.between(3_000, 40_000));
            push("$message_clicked", clicked_ms - dice.between(200, 1_500));
        }
        None if dice.chance(0.35) => {
            push("$message_viewed", sent_ms + 120_000 + whole_ms(dice.wait(4.0 * 3_600_000.0)))
        }
        None => {}
    }
    drafts
}

fn email_message(dice: &mut Dice) -> Map<String, Value> {
    object([
        ("message_id", json!(dice.pick(&["newsletter_weekly", "spring_sale_mail", "cart_reminder"]))),
        ("delivery_id", json!(format!("dlv_{}", dice.hex(20)))),
        ("variant", json!(dice.pick(&["a", "b"]))),
        ("channel", json!("email")),
    ])
}

fn site_message(dice: &mut Dice) -> Map<String, Value> {
    object([
        ("message_id", json!(dice.pick(&["free_shipping_banner", "spring_sale_modal"]))),
        ("delivery_id", json!(format!("dlv_{}", dice.hex(20)))),
        ("variant", json!(dice.pick(&["a", "a", "b"]))),
        ("channel", json!("site")),
    ])
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// An amount of money as a JSON number.
fn amount(cents: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53 cents")]
    let amount = cents as f64 / 100.0;
    json!(amount)
}

#[expect(clippy::cast_possible_truncation, reason = "pauses are hours at most")]
fn whole_ms(duration_ms: f64) -> i64 {
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

    #[test]
    fn an_email_is_told_in_order() {
        let mut dice = Dice::new(6);
        let visitor = Visitor::new(&mut dice);
        let clicked: Vec<_> = email(&mut dice, &visitor, 0, Some(10_000_000));
        let types: Vec<_> = clicked.iter().map(|draft| draft.event_type).collect();
        assert_eq!(types, ["$message_sent", "$message_delivered", "$message_viewed", "$message_clicked"]);
        assert!(clicked.is_sorted_by_key(|draft| draft.at_ms), "{clicked:?}");
        let deliveries: std::collections::HashSet<_> =
            clicked.iter().map(|draft| draft.properties["delivery_id"].to_string()).collect();
        assert_eq!(deliveries.len(), 1);
    }
}
