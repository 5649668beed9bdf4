//! Cutting in order: for rules under which what an event does depends on all events of its session so far.
//!
//! A visitor's fragments are sorted by time, then id, of their first events, and walked through once. One event is the
//! usual fragment here; a longer one, such as a stored session, is right as long as no other event falls inside it,
//! because it shows all that later decisions ask for: its start and end, its first campaign, and its first site.

use arrow::array::{Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as column;

use super::merge::{Groups, Order, texts, times, whole};
use super::rules::{CampaignSplit, ReferrerSplit, SessionRules};

/// What a row does, in the order of its visitor's rows that have the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing was before it.
    First,
    /// It continues the session whose latest row is this one.
    Continues(u32),
    /// It begins a session although one was open.
    Cut(Cut),
}

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The pause was too long.
    Pause {
        /// How long it was.
        pause_us: i64,
    },
    /// The session would have become too long.
    MaxLength,
    /// Another campaign.
    Campaign,
    /// Another site.
    Referrer,
}

/// Merges the fragments of `batch`, in which all of each visitor's stand, into sessions.
pub(super) fn merge(batch: &RecordBatch, rules: &SessionRules) -> Result<RecordBatch, ArrowError> {
    let mut rows = Vec::with_capacity(batch.num_rows());
    let mut ends = Vec::new();
    walk(batch, rules, |row, step| {
        if !matches!(step, Step::Continues(_)) && !rows.is_empty() {
            ends.push(rows.len() as u32);
        }
        rows.push(row);
    })?;
    if !rows.is_empty() {
        ends.push(rows.len() as u32);
    }
    whole(batch, &Groups { rows, ends })
}

/// What each row of `batch` does.
pub(super) fn steps(batch: &RecordBatch, rules: &SessionRules) -> Result<Vec<Step>, ArrowError> {
    let mut steps = vec![Step::First; batch.num_rows()];
    walk(batch, rules, |row, step| steps[row as usize] = step)?;
    Ok(steps)
}

/// Visits the rows session by session, each session's in order.
fn walk(batch: &RecordBatch, rules: &SessionRules, mut visit: impl FnMut(u32, Step)) -> Result<(), ArrowError> {
    let mut order = Order::new(batch)?;
    let ids = texts(batch, column::FIRST_EVENT_ID)?;
    let max_length_us = rules.splits.max_length.and_then(|length| length.num_microseconds()).unwrap_or(i64::MAX);
    let sources = Sources::of(batch, rules)?;
    let mut from = 0;
    for &to in &order.ends_of_visitors {
        let of_visitor = &mut order.rows[from as usize..to as usize];
        from = to;
        let place = |row: &u32| (order.starts.value(*row as usize), ids.value(*row as usize));
        if !of_visitor.is_sorted_by_key(place) {
            of_visitor.sort_unstable_by_key(place);
        }
        let Some(first) = of_visitor.first() else { continue };
        let timeout_us = rules.timeout_us(order.keys.has_client_session(*first));
        let mut open: Option<Open> = None;
        for &row in of_visitor.iter() {
            let (start_us, end_us) = (order.starts.value(row as usize), order.ends.value(row as usize));
            let step = match &open {
                None => Step::First,
                Some(open) if start_us.saturating_sub(open.end_us) > timeout_us => {
                    Step::Cut(Cut::Pause { pause_us: start_us - open.end_us })
                }
                Some(open) if start_us.saturating_sub(open.start_us) > max_length_us => Step::Cut(Cut::MaxLength),
                Some(open) => match sources.as_ref().and_then(|sources| sources.cut(open, row)) {
                    Some(cut) => Step::Cut(cut),
                    None => Step::Continues(open.latest_row),
                },
            };
            let continued = match step {
                Step::Continues(_) => open,
                Step::First | Step::Cut(_) => None,
            };
            let mut session = continued.unwrap_or(Open::at(row, start_us, end_us));
            session.latest_row = row;
            session.end_us = session.end_us.max(end_us);
            let has_campaign = sources.as_ref().is_some_and(|sources| sources.campaign_at.is_valid(row as usize));
            session.campaign_row = session.campaign_row.or(has_campaign.then_some(row));
            let has_site = sources.as_ref().is_some_and(|sources| sources.site(row).is_some());
            session.site_row = session.site_row.or(has_site.then_some(row));
            open = Some(session);
            visit(row, step);
        }
    }
    Ok(())
}

/// The session that the next row may continue.
#[derive(Debug, Clone, Copy)]
struct Open {
    latest_row: u32,
    start_us: i64,
    end_us: i64,
    /// The first that carried any campaign parameter.
    campaign_row: Option<u32>,
    /// The first that came from a site.
    site_row: Option<u32>,
}

impl Open {
    fn at(row: u32, start_us: i64, end_us: i64) -> Self {
        Self { latest_row: row, start_us, end_us, campaign_row: None, site_row: None }
    }
}

/// Where events came from.
struct Sources<'a> {
    campaign: Option<&'a CampaignSplit>,
    referrer: Option<&'a ReferrerSplit>,
    campaign_at: &'a TimestampMicrosecondArray,
    parts: Vec<Vec<&'a StringViewArray>>,
    hosts: &'a StringViewArray,
}

impl<'a> Sources<'a> {
    /// None if the rules do not ask for it.
    fn of(batch: &'a RecordBatch, rules: &'a SessionRules) -> Result<Option<Self>, ArrowError> {
        let (campaign, referrer) = (rules.splits.campaign.as_ref(), rules.splits.referrer.as_ref());
        if campaign.is_none() && referrer.is_none() {
            return Ok(None);
        }
        let columns = |fields: &Vec<TextField>| fields.iter().map(|field| texts(batch, field.column())).collect();
        let parts =
            campaign.map(|campaign| campaign.parts.iter().map(columns).collect::<Result<_, _>>()).transpose()?;
        Ok(Some(Self {
            campaign,
            referrer,
            campaign_at: times(batch, column::UTM_AT)?,
            parts: parts.unwrap_or_default(),
            hosts: texts(batch, TextField::ReferrerHost.column())?,
        }))
    }

    fn cut(&self, open: &Open, row: u32) -> Option<Cut> {
        let is_direct = Self::is_direct(open);
        let splits = |from_direct: bool| from_direct || !is_direct;
        if self.campaign.is_some_and(|split| splits(split.from_direct)) && self.has_other_campaign(open, row) {
            return Some(Cut::Campaign);
        }
        if self.referrer.is_some_and(|split| splits(split.from_direct)) && self.is_from_other_site(open, row) {
            return Some(Cut::Referrer);
        }
        None
    }

    /// Whether the row carries a campaign parameter that the session does not have.
    fn has_other_campaign(&self, open: &Open, row: u32) -> bool {
        self.parts.iter().any(|part| {
            let known = open.campaign_row.and_then(|row| first_given(part, row));
            first_given(part, row).is_some_and(|given| known.is_none_or(|known| !same(given, known)))
        })
    }

    /// Whether the row came from a site that is not the session's.
    fn is_from_other_site(&self, open: &Open, row: u32) -> bool {
        let known = open.site_row.and_then(|row| self.site(row));
        self.site(row).is_some_and(|given| known.is_none_or(|known| bare(given) != bare(known)))
    }

    /// Whether a session came by no campaign and from no site so far.
    fn is_direct(open: &Open) -> bool {
        open.campaign_row.is_none() && open.site_row.is_none()
    }

    /// The site that a row came from.
    fn site(&self, row: u32) -> Option<&'a str> {
        self.hosts.is_valid(row as usize).then(|| self.hosts.value(row as usize))
    }
}

fn first_given<'a>(part: &[&'a StringViewArray], row: u32) -> Option<&'a str> {
    let row = row as usize;
    part.iter().find(|values| values.is_valid(row)).map(|values| values.value(row))
}

/// Campaigns are typed by hand: `Spring` and `spring` are one.
fn same(a: &str, b: &str) -> bool {
    a == b || a.chars().flat_map(char::to_lowercase).eq(b.chars().flat_map(char::to_lowercase))
}

fn bare(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, new_null_array};
    use arrow::compute::concat_batches;
    use chrono::Duration;
    use proptest::prelude::*;
    use touchline_schemas::tables::{Table, events};

    use super::super::SessionParams;
    use super::super::fragment::{Shape, fragments};
    use super::super::rules::Splits;
    use super::*;
    use crate::scan::scan_schema;

    /// Page views of one visitor: minute, campaign, referring host.
    type View = (i64, Option<&'static str>, Option<&'static str>);

    fn batch(views: &[View], first_number: usize) -> RecordBatch {
        let schema = scan_schema(Table::Events);
        let texts = |text: &dyn Fn(usize, &View) -> Option<String>| -> ArrayRef {
            let texts = views.iter().enumerate().map(|(place, view)| text(place, view));
            Arc::new(texts.collect::<StringViewArray>())
        };
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            events::OCCURRED_AT | events::RECEIVED_AT => {
                let times = views.iter().map(|(minute, ..)| minute * 60_000_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")) as ArrayRef
            }
            events::IS_BOT => Arc::new(BooleanArray::from(vec![false; views.len()])),
            "event_id" => texts(&|place, _| Some(format!("{:03}", first_number + place))),
            "event_type" => texts(&|_, _| Some("page_view".to_owned())),
            "visitor_id" => texts(&|_, _| Some("v".to_owned())),
            "utm_campaign" => texts(&|_, view| view.1.map(str::to_owned)),
            "referrer_host" => texts(&|_, view| view.2.map(str::to_owned)),
            _ => new_null_array(field.data_type(), views.len()),
        });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    }

    fn views() -> impl Strategy<Value = Vec<View>> {
        let campaign = proptest::sample::select(vec![None, None, Some("a"), Some("b")]);
        let host = proptest::sample::select(vec![None, None, Some("x.example"), Some("y.example")]);
        proptest::collection::vec((0..300_i64, campaign, host), 1..40).prop_map(|mut views| {
            views.sort();
            views
        })
    }

    fn rules() -> impl Strategy<Value = SessionRules> {
        let campaign = any::<bool>()
            .prop_map(|from_direct| CampaignSplit { parts: vec![vec![TextField::UtmCampaign]], from_direct });
        let referrer = any::<bool>().prop_map(|from_direct| ReferrerSplit { from_direct });
        let length = prop_oneof![Just(20), Just(60)];
        (proptest::option::of(campaign), proptest::option::of(referrer), proptest::option::of(length)).prop_map(
            |(campaign, referrer, minutes)| SessionRules {
                splits: Splits { campaign, referrer, midnight: None, max_length: minutes.map(Duration::minutes) },
                ..SessionRules::default()
            },
        )
    }

    proptest! {
        #[test]
        fn sessions_that_ended_before_the_next_event_stand_for_their_events(
            (views, rules, until) in (views(), rules(), 0..300_i64)
        ) {
            let names: Vec<String> =
                scan_schema(Table::Sessions).fields().iter().map(|field| field.name().clone()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let shape = Shape::new(&names, &rules).fragments;
            let params = SessionParams { rules: rules.clone(), ..SessionParams::default() };
            let split = views.partition_point(|(minute, ..)| *minute < until);
            let of = |views: &[View], first| fragments(&batch(views, first), &shape, &params).unwrap();
            let whole = merge(&of(&views, 0), &rules).unwrap();
            let earlier = merge(&of(&views[..split], 0), &rules).unwrap();
            let both = concat_batches(&shape, [&of(&views[split..], split), &earlier]).unwrap();
            prop_assert_eq!(merge(&both, &rules).unwrap(), whole);
        }
    }
}
