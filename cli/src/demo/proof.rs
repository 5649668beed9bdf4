//! The demo's answers: who came from where, and the sums that show that nothing was lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

pub use super::truth::Truth;
use crate::output::{NOTHING, Row, count, table};

/// What became of the events that were sent; also one hour of the ingest report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Events that the client posted.
    #[serde(default, skip_deserializing)]
    pub sent: u64,
    /// Events in the lake.
    pub stored: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events that were refused.
    pub rejected: u64,
}

impl Sums {
    /// Events of which it is known what became of them.
    pub const fn settled(&self) -> u64 {
        self.stored + self.duplicates + self.rejected
    }
}

/// One channel of the first-touch report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstTouchRow {
    /// The channel.
    #[serde(alias = "value", alias = "first_touch_channel")]
    pub channel: Option<String>,
    /// People whose first visit came through it.
    pub visitors: u64,
    /// All their visits.
    pub sessions: u64,
    /// All pages that they looked at.
    pub page_views: u64,
}

impl Row for FirstTouchRow {
    const HEADINGS: &[&str] = &["first touch", "visitors", "sessions", "page views"];

    fn cells(&self) -> Vec<String> {
        let channel = self.channel.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![channel, count(self.visitors), count(self.sessions), count(self.page_views)]
    }
}

/// What the reports say of the traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// People by the channel of their first visit.
    pub first_touch: Vec<FirstTouchRow>,
    /// Messages handed over to be mailed or shown.
    pub messages_sent: u64,
    /// Runs of the welcome sequence.
    pub runs: u64,
}

/// Everything that the demo shows at its end.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// Where the server listens.
    pub url: String,
    /// The key to ask it with.
    pub key: String,
    /// What became of the events.
    pub sums: Sums,
    /// What had to become of them.
    pub expected: Truth,
    /// Whether every event is accounted for, once, and as expected.
    pub nothing_lost: bool,
    /// Whether people, visits, messages and runs are those that were generated.
    pub as_generated: bool,
    /// What the reports say.
    #[serde(flatten)]
    pub answers: Answers,
    /// Commands to try.
    pub try_this: [String; 4],
}

impl Proof {
    /// Compares the answers with the truth.
    pub fn new(url: &str, key: &str, sums: Sums, expected: Truth, answers: Answers) -> Self {
        Self {
            nothing_lost: adds_up(&sums, &expected),
            as_generated: is_as_generated(&answers, &expected),
            try_this: examples(url, key),
            url: url.to_owned(),
            key: key.to_owned(),
            sums,
            expected,
            answers,
        }
    }

    /// Whether all is as it must be.
    pub const fn holds(&self) -> bool {
        self.nothing_lost && self.as_generated
    }

    /// The same for people.
    pub fn text(&self) -> String {
        let Answers { first_touch, messages_sent, runs } = &self.answers;
        let mut text = table(first_touch);
        let Sums { sent, stored, duplicates, rejected } = self.sums;
        let visitors: u64 = first_touch.iter().map(|row| row.visitors).sum();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n\n{} people, {} messages, {} runs of the welcome sequence; {}\n\n{} sent = {} stored + {} duplicates + {} rejected; {}\n\nServer  {}\nKey     {}\n\nTry:\n  {}",
            count(visitors),
            count(*messages_sent),
            count(*runs),
            if self.as_generated { "all just as they were generated" } else { "NOT AS GENERATED" },
            count(sent),
            count(stored),
            count(duplicates),
            count(rejected),
            if self.nothing_lost { "nothing is lost, nothing counts twice" } else { "THE SUMS ARE WRONG" },
            self.url,
            self.key,
            self.try_this.join("\n  "),
        );
        if !self.holds() {
            let _ = write!(text, "\n\nExpected: {:#?}", self.expected);
        }
        text
    }
}

fn adds_up(sums: &Sums, expected: &Truth) -> bool {
    sums.sent == sums.settled()
        && (sums.sent, sums.stored, sums.duplicates, sums.rejected)
            == (expected.sent, expected.stored, expected.duplicates, expected.rejected)
}

fn is_as_generated(answers: &Answers, expected: &Truth) -> bool {
    let rows = answers.first_touch.iter();
    let found: BTreeMap<&str, (u64, u64)> =
        rows.map(|row| (row.channel.as_deref().unwrap_or(""), (row.visitors, row.sessions))).collect();
    let generated: BTreeMap<&str, (u64, u64)> = expected
        .visitors_by_channel
        .iter()
        .map(|(channel, visitors)| {
            (*channel, (*visitors, expected.sessions_by_channel.get(channel).copied().unwrap_or(0)))
        })
        .collect();
    found == generated && (answers.messages_sent, answers.runs) == (expected.messages_sent, expected.runs)
}

fn examples(url: &str, key: &str) -> [String; 4] {
    let ask = format!("curl -H 'Authorization: Bearer {key}'");
    let event = r#"{"events":[{"event_type":"page_view","visitor_id":"me","properties":{"url":"https://www.lumen-and-oak.example/?utm_source=curl"}}]}"#;
    [
        format!("{ask} '{url}/api/v1/reports/first-touch?by=utm_campaign'"),
        format!("{ask} '{url}/api/v1/reports/sessions?format=csv&limit=10'"),
        format!("{ask} '{url}/api/v1/reports/sequences/welcome/lift'"),
        format!("{ask} -H 'Content-Type: application/json' -d '{event}' '{url}/api/v1/events'"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        Truth {
            sent: 13,
            stored: 10,
            duplicates: 2,
            rejected: 1,
            visitors_by_channel: BTreeMap::from([("direct", 2)]),
            sessions_by_channel: BTreeMap::from([("direct", 3)]),
            messages_sent: 7,
            runs: 5,
            ..Truth::default()
        }
    }

    fn direct(visitors: u64, sessions: u64) -> FirstTouchRow {
        FirstTouchRow { channel: Some("direct".to_owned()), visitors, sessions, page_views: 9 }
    }

    #[test]
    fn the_proof_holds_only_when_every_number_is_right() {
        let check = |stored: u64, duplicates: u64, found: [u64; 4], expected: (bool, bool)| {
            let sums = Sums { sent: 13, stored, duplicates, rejected: 1 };
            let [visitors, sessions, messages_sent, runs] = found;
            let answers = Answers { first_touch: vec![direct(visitors, sessions)], messages_sent, runs };
            let proof = Proof::new("http://h", "k", sums, truth(), answers);
            assert_eq!((proof.nothing_lost, proof.as_generated), expected, "{}", proof.text());
            assert_eq!(proof.holds(), expected == (true, true));
        };
        check(10, 2, [2, 3, 7, 5], (true, true));
        check(11, 1, [2, 3, 7, 5], (false, true));
        check(9, 2, [2, 3, 7, 5], (false, true));
        for wrong in [[3, 3, 7, 5], [2, 4, 7, 5], [2, 3, 6, 5], [2, 3, 7, 0]] {
            check(10, 2, wrong, (true, false));
        }
    }

    #[test]
    fn an_hour_of_the_ingest_report_is_read() {
        let json =
            r#"{"hour":"2026-01-01T00:00:00Z","received":4,"stored":2,"duplicates":1,"rejected":1,"max_lag_ms":5}"#;
        let hour: Sums = serde_json::from_str(json).expect("an hour");
        assert_eq!(hour.settled(), 4);
    }
}
