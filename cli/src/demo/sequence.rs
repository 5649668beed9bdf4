//! The welcome sequence: whoever signs up is greeted, and made an offer two days later; one in five gets neither, to see
//! what difference it makes.

use serde_json::{Value, json};
use touchline_schemas::event::messaging::{
    OUTCOME_EXECUTED, SEQUENCE_BRANCH, SEQUENCE_ENTERED, SEQUENCE_EXITED, SEQUENCE_STEP_DONE, SEQUENCE_STEP_DUE,
    SYSTEM_SEQUENCE,
};

use super::chance::Dice;
use super::messages::{delivery_id, draft, on_its_way, with};
use super::people::Visitor;
use super::rhythm::DAY_MS;
use super::visit::{Draft, Properties, object, timestamp};

const TREATED_RATE: f64 = 0.8;
const WAIT_MS: i64 = 2 * DAY_MS;
/// How long an order is waited for after the offer.
const PATIENCE_MS: i64 = 5 * DAY_MS;
const OFFERS: [&str; 2] = ["ten_percent", "free_shipping"];

/// One person's way through the sequence.
#[derive(Debug, Clone)]
pub struct Run {
    run_id: String,
    entered_ms: i64,
    is_treated: bool,
    offer: &'static str,
    /// The first order since.
    pub ordered_ms: Option<i64>,
}

impl Run {
    /// Begins a run.
    pub fn enter(dice: &mut Dice, entered_ms: i64) -> Self {
        let (is_treated, offer) = (dice.chance(TREATED_RATE), *dice.pick(&OFFERS));
        Self { run_id: format!("run_{}", dice.hex(16)), entered_ms, is_treated, offer, ordered_ms: None }
    }

    /// Whether the person has the offer at `at_ms`.
    pub fn has_offer(&self, at_ms: i64) -> bool {
        self.is_treated && at_ms > self.entered_ms + WAIT_MS
    }

    /// Everything that the run said.
    pub fn play(&self, dice: &mut Dice, visitor: &Visitor) -> Vec<Draft> {
        let mut told = Vec::new();
        let arm = if self.is_treated { "treatment" } else { "holdout" };
        let propensity = if self.is_treated { TREATED_RATE } else { 1.0 - TREATED_RATE };
        let drawn = [("arm", json!(arm)), ("propensity", json!(propensity))];
        told.push(draft(visitor, SEQUENCE_ENTERED, self.entered_ms, with(&self.origin(), drawn)));
        if !self.is_treated {
            told.push(self.exit(visitor, self.entered_ms + 1_000, "holdout", None));
            return told;
        }
        self.mail(dice, visitor, "greeting", self.entered_ms + 2_000, &mut told);
        let offered_ms = self.entered_ms + WAIT_MS;
        if let Some(ordered_ms) = self.ordered_ms.filter(|ordered_ms| *ordered_ms < offered_ms) {
            told.push(self.exit(visitor, ordered_ms + 1_000, "goal_met", Some("greeting")));
            return told;
        }
        let way = [("step_id", json!("which_offer")), ("arm", json!(self.offer)), ("propensity", json!(0.5))];
        told.push(draft(visitor, SEQUENCE_BRANCH, offered_ms, with(&self.origin(), way)));
        self.mail(dice, visitor, self.offer, offered_ms + 1_000, &mut told);
        let patient_until_ms = offered_ms + PATIENCE_MS;
        told.push(match self.ordered_ms.filter(|ordered_ms| *ordered_ms < patient_until_ms) {
            Some(ordered_ms) => self.exit(visitor, ordered_ms + 1_000, "goal_met", Some(self.offer)),
            None => self.exit(visitor, patient_until_ms, "completed", Some(self.offer)),
        });
        told
    }

    fn mail(&self, dice: &mut Dice, visitor: &Visitor, step: &str, due_ms: i64, told: &mut Vec<Draft>) {
        let of_step = with(&self.origin(), [("step_id", json!(step)), ("channel", json!("email"))]);
        let due = [("due_at", json!(timestamp(due_ms))), ("sla_s", json!(300))];
        told.push(draft(visitor, SEQUENCE_STEP_DUE, due_ms, with(&of_step, due)));
        let sent_ms = due_ms + dice.between(200, 240_000);
        let of_message = [("message_id", json!(format!("welcome_{step}"))), ("delivery_id", json!(delivery_id(dice)))];
        let message = with(&of_step, of_message);
        told.extend(on_its_way(dice, visitor, &with(&message, [("system", json!(SYSTEM_SEQUENCE))]), sent_ms, None));
        let done = with(&message, [("outcome", json!(OUTCOME_EXECUTED))]);
        told.push(draft(visitor, SEQUENCE_STEP_DONE, sent_ms + 50, done));
    }

    fn exit(&self, visitor: &Visitor, at_ms: i64, reason: &str, step: Option<&str>) -> Draft {
        let said = [("reason", json!(reason)), ("step_id", step.map_or(Value::Null, Value::from))];
        draft(visitor, SEQUENCE_EXITED, at_ms, with(&self.origin(), said))
    }

    fn origin(&self) -> Properties {
        object([("sequence_id", json!("welcome")), ("sequence_version", json!(3)), ("run_id", json!(self.run_id))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(run: &Run) -> Vec<&'static str> {
        let mut dice = Dice::new(9);
        let visitor = Visitor::new(&mut dice);
        let drafts = run.play(&mut dice, &visitor);
        drafts.iter().map(|draft| draft.event_type).filter(|name| name.starts_with("$sequence")).collect()
    }

    #[test]
    fn a_run_is_told_from_its_beginning_to_its_end() {
        let run = |is_treated, ordered_ms| Run {
            run_id: "run_1".to_owned(),
            entered_ms: 0,
            is_treated,
            offer: OFFERS[0],
            ordered_ms,
        };
        let mail = [SEQUENCE_STEP_DUE, SEQUENCE_STEP_DONE];
        assert_eq!(told(&run(false, None)), [SEQUENCE_ENTERED, SEQUENCE_EXITED]);
        let early = [&[SEQUENCE_ENTERED], &mail[..], &[SEQUENCE_EXITED]].concat();
        assert_eq!(told(&run(true, Some(DAY_MS))), early);
        let whole = [&[SEQUENCE_ENTERED], &mail[..], &[SEQUENCE_BRANCH], &mail, &[SEQUENCE_EXITED]].concat();
        assert_eq!(told(&run(true, None)), whole);
        assert_eq!(told(&run(true, Some(3 * DAY_MS))), whole);
    }
}
