//! The shop's messages: what it mails by its rules, and what its pages show.

use serde_json::json;
use touchline_schemas::event::messaging::{
    DECISION, MESSAGE_BOUNCED, MESSAGE_CLICKED, MESSAGE_DELIVERED, MESSAGE_FAILED, MESSAGE_SENT, MESSAGE_UNSUBSCRIBED,
    MESSAGE_VIEWED, OUTCOME_ALLOW, OUTCOME_HOLDOUT, OUTCOME_SUPPRESS, SYSTEM_RULE, SYSTEM_SITE_MESSAGE,
};

use super::catalog::CURRENCY;
use super::chance::Dice;
use super::people::Visitor;
use super::visit::{Draft, Properties, object, whole_ms};

const FAILED_RATE: f64 = 0.01;
const BOUNCED_RATE: f64 = 0.02;
const OPENED_RATE: f64 = 0.35;
const UNSUBSCRIBED_RATE: f64 = 0.02;
const MEAN_UNTIL_OPENED_MS: f64 = 4.0 * 3_600_000.0;
/// What sending an e-mail costs.
const EMAIL_COST: f64 = 0.0004;

/// An e-mail of the shop that `visitor` was sent before a visit and clicked to begin it; or, without a visit, one
/// that went unread or unclicked.
pub fn email(dice: &mut Dice, visitor: &Visitor, sent_ms: i64, clicked_ms: Option<i64>) -> Vec<Draft> {
    let message = rule_email(dice);
    let mut drafts = Vec::new();
    let decision = with(&message, [("outcome", json!(OUTCOME_ALLOW)), ("rules_version", json!("9f2c41"))]);
    drafts.push(draft(visitor, DECISION, sent_ms - dice.between(200, 5_000), decision));
    drafts.extend(on_its_way(dice, visitor, &message, sent_ms, clicked_ms));
    drafts
}

/// What becomes of an e-mail from the moment it is sent; it is clicked for sure if `clicked_ms` says when.
pub fn on_its_way(
    dice: &mut Dice,
    visitor: &Visitor,
    message: &Properties,
    sent_ms: i64,
    clicked_ms: Option<i64>,
) -> Vec<Draft> {
    let is_read = clicked_ms.is_some();
    if !is_read && dice.chance(FAILED_RATE) {
        return vec![draft(visitor, MESSAGE_FAILED, sent_ms, with(message, [("reason", json!("provider_timeout"))]))];
    }
    let cost = [("cost", json!(EMAIL_COST)), ("currency", json!(CURRENCY))];
    let mut drafts = vec![draft(visitor, MESSAGE_SENT, sent_ms, with(message, cost))];
    if !is_read && dice.chance(BOUNCED_RATE) {
        let reason = [("reason", json!("mailbox_full"))];
        drafts.push(draft(visitor, MESSAGE_BOUNCED, sent_ms + dice.between(400, 90_000), with(message, reason)));
        return drafts;
    }
    let mut push = |event_type, at_ms| drafts.push(draft(visitor, event_type, at_ms, message.clone()));
    push(MESSAGE_DELIVERED, sent_ms + dice.between(400, 90_000));
    match clicked_ms {
        Some(clicked_ms) => {
            push(MESSAGE_VIEWED, clicked_ms - dice.between(3_000, 40_000));
            push(MESSAGE_CLICKED, clicked_ms - dice.between(200, 1_500));
        }
        None if dice.chance(OPENED_RATE) => {
            let opened_ms = sent_ms + 120_000 + whole_ms(dice.wait(MEAN_UNTIL_OPENED_MS));
            push(MESSAGE_VIEWED, opened_ms);
            if dice.chance(UNSUBSCRIBED_RATE) {
                push(MESSAGE_UNSUBSCRIBED, opened_ms + dice.between(2_000, 30_000));
            }
        }
        None => {}
    }
    drafts
}

/// The answer to a page that asks for a message: what was decided, and the message if it is to be shown.
pub fn site_message(dice: &mut Dice) -> (Properties, Option<Properties>) {
    let variant = *dice.pick(&["a", "b"]);
    let of_message = object([
        ("message_id", json!(dice.pick(&["free_shipping_banner", "spring_sale_modal"]))),
        ("channel", json!("site")),
        ("system", json!(SYSTEM_SITE_MESSAGE)),
    ]);
    match dice.between(0, 99) {
        0..=84 => {
            let delivery = [("delivery_id", json!(delivery_id(dice))), ("variant", json!(variant))];
            let message = with(&of_message, delivery);
            let chosen = [("outcome", json!(OUTCOME_ALLOW)), ("arm", json!(variant)), ("propensity", json!(0.5))];
            (with(&message, chosen), Some(message))
        }
        85..=94 => {
            let withheld = [("outcome", json!(OUTCOME_SUPPRESS)), ("reason", json!("frequency_cap"))];
            (with(&of_message, withheld), None)
        }
        _ => (with(&of_message, [("outcome", json!(OUTCOME_HOLDOUT)), ("propensity", json!(0.05))]), None),
    }
}

/// The id of a delivery.
pub fn delivery_id(dice: &mut Dice) -> String {
    format!("dlv_{}", dice.hex(20))
}

/// Something that `visitor` did or was done to outside of visits.
pub fn draft(visitor: &Visitor, event_type: &'static str, at_ms: i64, properties: Properties) -> Draft {
    Draft { at_ms, event_type, session_id: None, user_id: visitor.user_id.clone(), properties }
}

/// The same, and more.
pub fn with<const N: usize>(message: &Properties, more: [(&str, serde_json::Value); N]) -> Properties {
    let mut all = message.clone();
    all.extend(object(more));
    all
}

fn rule_email(dice: &mut Dice) -> Properties {
    let (message, rule) = *dice.pick(&[
        ("newsletter_weekly", "weekly"),
        ("spring_sale_mail", "spring_sale"),
        ("cart_reminder", "cart_left"),
    ]);
    object([
        ("message_id", json!(message)),
        ("delivery_id", json!(delivery_id(dice))),
        ("variant", json!(dice.pick(&["a", "b"]))),
        ("channel", json!("email")),
        ("system", json!(SYSTEM_RULE)),
        ("rule_name", json!(rule)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_told_in_order() {
        let mut dice = Dice::new(6);
        let visitor = Visitor::new(&mut dice);
        let clicked: Vec<_> = email(&mut dice, &visitor, 0, Some(10_000_000));
        let types: Vec<_> = clicked.iter().map(|draft| draft.event_type).collect();
        assert_eq!(types, [DECISION, MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_VIEWED, MESSAGE_CLICKED]);
        assert!(clicked.is_sorted_by_key(|draft| draft.at_ms), "{clicked:?}");
        let deliveries: std::collections::HashSet<_> =
            clicked.iter().map(|draft| draft.properties["delivery_id"].to_string()).collect();
        assert_eq!(deliveries.len(), 1);
    }
}
