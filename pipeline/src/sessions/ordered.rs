//! Cutting in order: for rules under which what an event does depends on all events of its session so far.
//!
//! A visitor's fragments are sorted by time, then id, of their first events, and walked through once. One event is the
//! usual fragment here; a longer one, such as a stored session, is right as long as no other event falls inside it,
//! because it shows all that later decisions ask for: its start and end, its first campaign, and its first referrer.

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
            open = Some(session);
            visit(row, step);
        }
    }
    Ok(())
}

/// The session that the next row may continue.
#[derive(Debug, Clone, Copy)]
struct Open {
    first_row: u32,
    latest_row: u32,
    start_us: i64,
    end_us: i64,
    /// The first that carried any campaign parameter.
    campaign_row: Option<u32>,
}

impl Open {
    fn at(row: u32, start_us: i64, end_us: i64) -> Self {
        Self { first_row: row, latest_row: row, start_us, end_us, campaign_row: None }
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
        let is_direct = self.is_direct(open);
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

    /// Whether the row came from a site that the session did not begin with.
    fn is_from_other_site(&self, open: &Open, row: u32) -> bool {
        let known = self.site(open.first_row);
        self.site(row).is_some_and(|given| known.is_none_or(|known| bare(given) != bare(known)))
    }

    /// Whether a session came by no campaign so far, and its first event from no site.
    fn is_direct(&self, open: &Open) -> bool {
        open.campaign_row.is_none() && self.site(open.first_row).is_none()
    }

    /// The site that a row came from, if it is not the account's own.
    fn site(&self, row: u32) -> Option<&'a str> {
        let host = self.hosts.is_valid(row as usize).then(|| self.hosts.value(row as usize))?;
        let own = self.referrer.map_or(&[][..], |split| &split.own_domains);
        (!own.iter().any(|domain| is_within(host, domain))).then_some(host)
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

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
