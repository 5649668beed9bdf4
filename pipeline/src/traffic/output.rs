//! From groups to the rows of `traffic_rollups`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use touchline_schemas::tables::traffic_rollups::{CALENDAR_ACCOUNT, CALENDAR_UTC};
use touchline_schemas::tables::{MONEY_PRECISION, MONEY_SCALE, Table};

use super::tally::{Amounts, NO_DAY, Tally};
use super::{Calendar, Dimension, Group, Question};
use crate::days::{Days, date_of, number_of};

/// The rows of a day, in the columns of the table's files.
#[derive(Debug, Clone)]
pub struct DayRollup {
    /// The day, of either calendar.
    pub day: NaiveDate,
    /// Its rows, by calendar, dimension and value.
    pub rows: RecordBatch,
}

/// Adds the groups of a tally whose visitors were counted.
pub(super) fn push_groups(tally: &Tally, question: &Question, into: &mut Vec<Group>) {
    for (calendar, groups) in tally.groups.iter().enumerate() {
        for ((dimension, groups), values) in question.dimensions.iter().zip(groups).zip(&tally.values) {
            let counted = groups.list.iter().filter(|group| group.day != NO_DAY);
            into.extend(counted.map(|group| Group {
                calendar,
                part: match question.calendars[calendar] {
                    Calendar::Whole => None,
                    Calendar::Hours | Calendar::Days(_) | Calendar::Intervals(..) => Some(group.day),
                },
                dimension: *dimension,
                value: values.get(group.value).map(str::to_owned),
                visitors: group.visitors,
                rows: group.rows,
                amounts: group.amounts,
            }));
        }
    }
}

/// The groups of each day as rows. The first calendar is UTC's, the second the account's; an account whose days are
/// those of UTC has the rows of the first in both.
pub(super) fn by_day(groups: Vec<Group>, zone: Tz) -> Result<Vec<DayRollup>, DataFusionError> {
    let mut days: BTreeMap<NaiveDate, Vec<(&str, Group)>> = BTreeMap::new();
    for group in groups {
        let Some(day) = group.part.map(date_of) else { continue };
        let of_day = days.entry(day).or_default();
        if group.calendar > 0 {
            of_day.push((CALENDAR_ACCOUNT, group));
            continue;
        }
        if zone == Tz::UTC {
            of_day.push((CALENDAR_ACCOUNT, group.clone()));
        }
        of_day.push((CALENDAR_UTC, group));
    }
    let (mut of_utc, mut of_account) = (Days::new(Tz::UTC), Days::new(zone));
    let rollups = days.into_iter().map(|(day, mut groups)| {
        groups.sort_by(|(calendar, a), (other, b)| {
            (calendar, a.dimension, &a.value).cmp(&(other, b.dimension, &b.value))
        });
        let begins_us = |calendar: &str| {
            if calendar == CALENDAR_UTC { of_utc.begin_us(number_of(day)) } else { of_account.begin_us(number_of(day)) }
        };
        Ok(DayRollup { day, rows: batch(&groups, begins_us)? })
    });
    Ok(rollups.collect::<Result<_, ArrowError>>()?)
}

/// What a row of a dimension says of each measure; none where it makes no sense.
struct Measures {
    sessions: Option<i64>,
    page_views: i64,
    events: i64,
    /// Bounces, engaged sessions, duration.
    of_sessions: Option<[i64; 3]>,
    conversions: Option<i64>,
    revenue_e4: Option<i128>,
}

fn measures(group: &Group) -> Measures {
    let Amounts { events, page_views, bounces, engaged_sessions, duration_s, conversions, .. } = group.amounts;
    match group.dimension {
        Dimension::Page => {
            Measures { sessions: None, page_views, events, of_sessions: None, conversions: None, revenue_e4: None }
        }
        Dimension::EventType => Measures {
            sessions: None,
            page_views,
            events,
            of_sessions: None,
            conversions: Some(conversions),
            revenue_e4: group.amounts.revenue(),
        },
        Dimension::Total
        | Dimension::Channel
        | Dimension::UtmSource
        | Dimension::UtmMedium
        | Dimension::UtmCampaign
        | Dimension::UtmContent
        | Dimension::UtmTerm
        | Dimension::ReferrerHost
        | Dimension::LandingPage
        | Dimension::ExitPage
        | Dimension::Country
        | Dimension::DeviceType
        | Dimension::Browser
        | Dimension::Os => Measures {
            sessions: Some(group.rows),
            page_views,
            events,
            of_sessions: Some([bounces, engaged_sessions, duration_s]),
            conversions: Some(conversions),
            revenue_e4: group.amounts.revenue(),
        },
    }
}

impl Amounts {
    /// The sum in ten thousandths; none if nothing has a revenue, or if it has more digits than money has.
    pub fn revenue(&self) -> Option<i128> {
        let limit = 10_i128.pow(u32::from(MONEY_PRECISION));
        (self.with_revenue > 0 && self.revenue_e4.abs() < limit).then_some(self.revenue_e4)
    }
}

fn batch(groups: &[(&str, Group)], mut begins_us: impl FnMut(&str) -> Option<i64>) -> Result<RecordBatch, ArrowError> {
    let [utc_us, account_us] = [CALENDAR_UTC, CALENDAR_ACCOUNT].map(&mut begins_us);
    let day_at = groups.iter().map(|(calendar, _)| if *calendar == CALENDAR_UTC { utc_us } else { account_us });
    let said: Vec<Measures> = groups.iter().map(|(_, group)| measures(group)).collect();
    let count =
        |of: &dyn Fn(&Measures) -> Option<i64>| -> ArrayRef { Arc::new(said.iter().map(of).collect::<Int64Array>()) };
    let revenue = said.iter().map(|said| said.revenue_e4).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(day_at.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(groups.iter().map(|(calendar, _)| calendar))),
        Arc::new(StringArray::from_iter_values(groups.iter().map(|(_, group)| group.dimension.name()))),
        Arc::new(groups.iter().map(|(_, group)| group.value.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|(_, group)| group.visitors))),
        count(&|said| said.sessions),
        count(&|said| Some(said.page_views)),
        count(&|said| Some(said.events)),
        count(&|said| said.of_sessions.map(|[bounces, _, _]| bounces)),
        count(&|said| said.of_sessions.map(|[_, engaged, _]| engaged)),
        count(&|said| said.of_sessions.map(|[_, _, duration_s]| duration_s)),
        count(&|said| said.conversions),
        Arc::new(revenue.with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?),
    ];
    RecordBatch::try_new(Table::TrafficRollups.file_schema(), columns)
}
