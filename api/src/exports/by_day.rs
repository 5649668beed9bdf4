//! Which reports can be exported day by day: those whose rows about a day follow from the rows of their tables that lie on
//! that day. Of the others it is known why not.

use touchline_schemas::export::ReportSource;
use touchline_schemas::tables::Table;

use crate::report::params::COMPARE;

/// A report, the tables that it is computed from, and whether the account's time zone bears on it.
struct ByDay {
    report: &'static str,
    tables: &'static [Table],
    is_zoned: bool,
}

const BY_DAY: [ByDay; 10] = [
    ByDay { report: "overview", tables: &[Table::Sessions], is_zoned: true },
    ByDay { report: "sessions", tables: &[Table::Sessions], is_zoned: false },
    ByDay { report: "traffic", tables: &[Table::Sessions], is_zoned: true },
    ByDay { report: "utm", tables: &[Table::Sessions], is_zoned: false },
    ByDay { report: "visitors", tables: &[Table::Visitors], is_zoned: false },
    ByDay { report: "first-touch", tables: &[Table::Visitors], is_zoned: false },
    ByDay { report: "events", tables: &[Table::Events], is_zoned: false },
    // One of them, by the model.
    ByDay { report: "attribution", tables: &[Table::Touchpoints, Table::Attribution], is_zoned: false },
    ByDay { report: "messages/reasons", tables: &[Table::MessageRollups], is_zoned: false },
    ByDay { report: "messages/site-messages", tables: &[Table::MessageRollups], is_zoned: false },
];

const OTHER_DAYS: &str = "what people did on other days belongs to its rows";
const TWO_TABLES: &str =
    "it is put together from tables of different versions, so that nobody can say which day changed";
const NO_DAYS: &str = "it is not about days";

/// Reports that cannot, and why.
const NOT_BY_DAY: [(&str, &str); 10] = [
    ("funnel", OTHER_DAYS),
    ("retention", OTHER_DAYS),
    ("paths", OTHER_DAYS),
    ("messages/frequency", OTHER_DAYS),
    ("messages/overlap", OTHER_DAYS),
    ("pages", TWO_TABLES),
    ("messages", TWO_TABLES),
    ("sequences", TWO_TABLES),
    ("realtime", NO_DAYS),
    ("ingest", "it is read from the ledger of ingest, and from no table"),
];

/// The tables whose changed days are the report's; else why there are none.
pub(super) fn tables(source: &ReportSource) -> Result<Vec<Table>, String> {
    let report = source.report.as_str();
    let refused = |reason: &str| Err(format!("`{report}` cannot be exported as changes: {reason}"));
    let Some(by_day) = BY_DAY.iter().find(|by_day| by_day.report == report) else {
        // What lies below a report is of its kind.
        let family = report.split('/').next().unwrap_or_default();
        let of = |name: &str| NOT_BY_DAY.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason);
        return refused(of(report).or_else(|| of(family)).unwrap_or("there is no such report"));
    };
    if source.params.contains_key(COMPARE) {
        return refused("with `compare` the days before belong to its rows");
    }
    Ok(by_day.tables.to_vec())
}

/// Whether the days of the report's rows are those of a time zone.
pub(super) fn takes_time_zone(report: &str) -> bool {
    BY_DAY.iter().any(|by_day| by_day.report == report && by_day.is_zoned)
}

/// Whether the report takes no range.
pub(super) fn has_no_range(report: &str) -> bool {
    NOT_BY_DAY.iter().any(|(known, reason)| *known == report && *reason == NO_DAYS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn reports_whose_days_stand_alone_can_be_exported_as_changes() {
        let check = |report: &str, params: &[(&str, &str)], expected: Result<&[Table], &str>| {
            let params: BTreeMap<_, _> =
                params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let found = tables(&ReportSource { report: report.to_owned(), params });
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{report}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{report}: {said}"),
                (found, expected) => panic!("{report}: {found:?} {expected:?}"),
            }
        };
        check("sessions", &[], Ok(&[Table::Sessions]));
        check("traffic", &[("by", "channel")], Ok(&[Table::Sessions]));
        check("traffic", &[("compare", "previous")], Err("with `compare`"));
        check("first-touch", &[], Ok(&[Table::Visitors]));
        check("attribution", &[], Ok(&[Table::Touchpoints, Table::Attribution]));
        check("retention", &[], Err("other days"));
        check("funnel", &[], Err("other days"));
        check("realtime", &[], Err("not about days"));
        check("sequences/welcome/lift", &[], Err("different versions"));
        check("messages/overlap", &[], Err("other days"));
        check("messages/site-messages", &[], Ok(&[Table::MessageRollups]));
        check("traffics", &[], Err("no such report"));
    }
}
