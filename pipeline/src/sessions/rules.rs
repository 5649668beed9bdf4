//! What ends a session: the rules that a profile and an account's choices come to.

use chrono::{DateTime, Duration, Offset, TimeZone};
use chrono_tz::Tz;
use touchline_schemas::event::TextField;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// What ends a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// Name and version of the profile, as in `touchline/2`.
    pub profile: String,
    /// The longest pause inside a session.
    pub timeout: Duration,
    /// Whose events may belong together.
    pub identity: Identity,
    /// What else ends a session.
    pub splits: Splits,
}

/// Whose events may belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// All of a device.
    Device,
    /// Those of a device for which the client gave the same session id; those without one are a group of their own,
    /// to which `timeout` applies.
    ClientSession {
        /// The longest pause after which the client's id still means the same session. Without such a limit no session
        /// would ever be over, and every late event would have to be compared with all of history.
        timeout: Duration,
    },
}

/// What ends a session besides a pause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splits {
    /// An event that came by another campaign.
    pub campaign: Option<CampaignSplit>,
    /// An event that came from another site.
    pub referrer: Option<ReferrerSplit>,
    /// The end of a day on the clocks of this time zone.
    pub midnight: Option<Tz>,
    /// An event that is later than this after the session's first.
    pub max_length: Option<Duration>,
}

/// When an event came by another campaign than its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignSplit {
    /// What is compared. Each part is the first of its fields that is given; a part that the event does not give is not
    /// compared. All fields are among `UTM_FIELDS` of the table `sessions`.
    pub parts: Vec<Vec<TextField>>,
    /// Whether a campaign also ends a session that came by none and from no site.
    pub from_direct: bool,
}

/// When an event came from another site than its session. What is internal to the account is no other site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferrerSplit {
    /// Whether a site also ends a session that came by no campaign and from no site.
    pub from_direct: bool,
}

impl SessionRules {
    /// The rules `touchline`, version 2: a pause longer than `timeout`, and nothing else.
    pub fn touchline(timeout: Duration) -> Self {
        Self { profile: "touchline/2".to_owned(), timeout, identity: Identity::Device, splits: Splits::default() }
    }

    /// Names these rules in answers: `sessions/`, the profile, and the splits that are on, as in
    /// `sessions/touchline/2+campaign+midnight`.
    pub fn definition(&self) -> String {
        let names = self.splits.names();
        std::iter::once(format!("sessions/{}", self.profile))
            .chain(names.map(str::to_owned))
            .collect::<Vec<_>>()
            .join("+")
    }

    /// Whether stored sessions and new events can be merged without reading the stored sessions' events again.
    ///
    /// Pauses, midnights and the client's ids are properties of two parts of a session, whatever lies between them; a
    /// change of campaign or site and the greatest length depend on the order of all events since the first.
    pub fn is_mergeable(&self) -> bool {
        self.splits.campaign.is_none() && self.splits.referrer.is_none() && self.splits.max_length.is_none()
    }

    /// The longest pause inside any session, whoever decides: after it, a session is over.
    pub fn longest_pause(&self) -> Duration {
        match self.identity {
            Identity::Device => self.timeout,
            Identity::ClientSession { timeout } => self.timeout.max(timeout),
        }
    }

    /// The longest pause inside a session, in microseconds, for events with or without a session id of the client.
    pub(super) fn timeout_us(&self, has_client_session: bool) -> i64 {
        let timeout = match self.identity {
            Identity::ClientSession { timeout } if has_client_session => timeout,
            Identity::Device | Identity::ClientSession { .. } => self.timeout,
        };
        timeout.num_microseconds().unwrap_or(i64::MAX)
    }
}

impl Default for SessionRules {
    fn default() -> Self {
        Self::touchline(Duration::minutes(30))
    }
}

impl Splits {
    /// What settings call the splits that are on.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("campaign", self.campaign.is_some()),
            ("referrer", self.referrer.is_some()),
            ("midnight", self.midnight.is_some()),
            ("max_24h", self.max_length.is_some()),
        ];
        all.into_iter().filter_map(|(name, is_on)| is_on.then_some(name))
    }
}

/// The day on the clocks of `zone`, as days since 1970-01-01.
///
/// Where clocks are set back over midnight, an hour of a day comes after the next day has begun. It belongs to its day
/// all the same.
pub(super) fn local_day(at_us: i64, zone: Tz) -> i32 {
    let offset_s = DateTime::from_timestamp_micros(at_us)
        .map_or(0, |at| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc());
    let local_us = at_us.saturating_add(i64::from(offset_s) * 1_000_000);
    i32::try_from(local_us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_what_clocks_say() {
        for (at, zone, expected) in [
            ("2026-03-01T22:59:59.999999Z", "Europe/Berlin", "2026-03-01"),
            ("2026-03-01T23:00:00Z", "Europe/Berlin", "2026-03-02"),
            ("2026-07-01T22:00:00Z", "Europe/Berlin", "2026-07-02"),
            ("2026-07-01T03:59:59Z", "America/New_York", "2026-06-30"),
            ("2026-07-01T18:30:00Z", "Asia/Kolkata", "2026-07-02"),
            // At one minute past midnight clocks went back to the day before.
            ("2010-11-07T02:30:30Z", "America/St_Johns", "2010-11-07"),
            ("2010-11-07T02:31:00Z", "America/St_Johns", "2010-11-06"),
            ("2010-11-07T03:30:00Z", "America/St_Johns", "2010-11-07"),
            ("1969-12-31T23:59:59Z", "UTC", "1969-12-31"),
        ] {
            let at_us = at.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros();
            let day = local_day(at_us, zone.parse().unwrap());
            let date = chrono::NaiveDate::default() + Duration::days(i64::from(day));
            assert_eq!(date.to_string(), expected, "{at} {zone}");
        }
    }

    #[test]
    fn only_rules_that_do_not_depend_on_order_are_mergeable() {
        let midnight = Splits { midnight: Some(Tz::UTC), ..Splits::default() };
        let mut rules = SessionRules { splits: midnight, ..SessionRules::default() };
        assert!(rules.is_mergeable());
        assert_eq!(rules.definition(), "sessions/touchline/2+midnight");
        rules.splits.max_length = Some(Duration::hours(24));
        assert!(!rules.is_mergeable());
        assert_eq!(rules.definition(), "sessions/touchline/2+midnight+max_24h");
    }
}
