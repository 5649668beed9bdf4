//! News: only the people whom they touch are computed, and only files in which one of these stands are written.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::NaiveDate;
use futures::TryStreamExt;
use touchline_lake::DataFile;
use touchline_pipeline::identities::{People, USER_PREFIX, VISITOR_PREFIX};
use touchline_pipeline::scan::{LakeScan, scan_schema};
use touchline_pipeline::visitors::{SessionChanges, Updated, Who, of_changes, person_ids, split, update};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, identities as identity, identity_edges, visitors as column};

use super::{News, VisitorsJob, Work};
use crate::derived::{ROWS_PER_FILE, Replacement, day_of, split_days, write_day};
use crate::{JobContext, JobError, JobReport};

impl VisitorsJob {
    /// Brings a tenant's rows up to date with the news.
    #[expect(clippy::too_many_arguments, reason = "a job's step: from what, whose, where to")]
    pub(super) async fn absorb(
        &self,
        work: &Work,
        tenant: Tenant,
        news: &News,
        people: &Arc<People>,
        context: &JobContext,
        report: &mut JobReport,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        let moved = self.moved(news, people, report).await?;
        let touched = moved.people()?;
        let (near, far) =
            self.standing_in(work.stored.files(tenant), |person| touched.contains(person), report).await?;
        let stored = one(self.read(LakeScan::new(Table::Visitors, near.clone())).await.map_err(JobError::failed)?)?;
        count(&near, report);
        let (stored, unchanged) = separate(&stored, &touched)?;
        let mut rows = vec![unchanged];
        rows.extend(self.brought_up(work, tenant, &moved, &stored, people, report).await?);
        replacement.remove.extend(near);
        self.write(tenant, rows, far, context, replacement).await
    }

    /// What the news say of people.
    async fn moved(&self, news: &News, people: &People, report: &mut JobReport) -> Result<Moved, JobError> {
        count(&news.sessions, report);
        count(&news.identities, report);
        let changed = LakeScan::changes(Table::Identities, news.identities.clone());
        let changed = self.read(changed).await.map_err(JobError::failed)?;
        let anew: HashSet<String> = changed.iter().flat_map(people_of).collect();
        let mut changes = SessionChanges::default();
        for file in &news.sessions {
            let rows = self.read(LakeScan::changes(Table::Sessions, vec![file.clone()])).await;
            changes.push(&rows.map_err(JobError::failed)?).map_err(JobError::failed)?;
        }
        let (went, came) = changes.finish().map_err(JobError::failed)?;
        let visitors = |sessions: Vec<RecordBatch>| {
            let visitors = sessions.iter().map(|rows| of_changes(rows, people)).collect::<Result<Vec<_>, _>>();
            one(visitors.map_err(JobError::failed)?)
        };
        let (went, came) = (visitors(went)?, visitors(came)?);
        Ok(Moved { anew, went, came })
    }

    /// Splits files into those in which one of some people stands, and the others. Of their rows only the people are
    /// read.
    async fn standing_in(
        &self,
        files: &[DataFile],
        takes: impl Fn(&str) -> bool,
        report: &mut JobReport,
    ) -> Result<(Vec<DataFile>, Vec<DataFile>), JobError> {
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for file in files {
            report.rows_read += file.rows;
            let scan = Arc::new(LakeScan::new(Table::Visitors, vec![file.clone()]));
            let rows = self.engine.context().read_table(scan).map_err(JobError::failed)?;
            let rows = rows.select_columns(&[column::PERSON_ID]).map_err(JobError::failed)?;
            let mut rows = rows.execute_stream().await.map_err(JobError::failed)?;
            let mut stands = false;
            while let Some(batch) = rows.try_next().await.map_err(JobError::failed)? {
                stands = person_ids(&batch).map_err(JobError::failed)?.iter().flatten().any(&takes);
                if stands {
                    break;
                }
            }
            if stands { near.push(file.clone()) } else { far.push(file.clone()) }
        }
        Ok((near, far))
    }

    /// The rows of all touched people, of whom `stored` has the rows of before.
    async fn brought_up(
        &self,
        work: &Work,
        tenant: Tenant,
        moved: &Moved,
        stored: &RecordBatch,
        people: &Arc<People>,
        report: &mut JobReport,
    ) -> Result<Vec<RecordBatch>, JobError> {
        let others = |visitors: &RecordBatch| Ok::<_, JobError>(separate(visitors, &moved.anew)?.1);
        let (old, went, came) = (others(stored)?, others(&moved.went)?, others(&moved.came)?);
        let Updated { rows, unknown } = update(&old, &went, &came).map_err(JobError::failed)?;
        let mut anew = moved.anew.clone();
        anew.extend(unknown);
        let mut brought_up = vec![rows];
        if !anew.is_empty() {
            // Each of their sessions was there before, with one of them, or came. So all began on days of these rows.
            let days = days_of([stored, &moved.came], &anew)?;
            let began = |file: &&DataFile| days.iter().any(|(first, last)| (*first..=*last).contains(&file.date));
            let sessions: Vec<DataFile> = work.sessions.files(tenant).iter().filter(began).cloned().collect();
            let who = Who::People(Arc::new(anew));
            brought_up.extend(self.compute(&sessions, people, &who, report).await.map_err(JobError::failed)?);
        }
        Ok(brought_up)
    }

    /// Writes rows beside the files `far`. Where that would leave a day with another file that is not full, those that
    /// it has are filled up, so that a day's files stay few.
    async fn write(
        &self,
        tenant: Tenant,
        rows: Vec<RecordBatch>,
        far: Vec<DataFile>,
        context: &JobContext,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        let mut days = split_days(Table::Visitors, tenant, &rows).map_err(JobError::failed)?;
        let is_full = |rows: u64| rows.is_multiple_of(ROWS_PER_FILE as u64);
        let to_fill_up = |file: &DataFile| {
            !is_full(file.rows) && days.get(&file.date).is_some_and(|rows| !is_full(rows.num_rows() as u64))
        };
        let loose: Vec<DataFile> = far.into_iter().filter(to_fill_up).collect();
        let filling = self.read(LakeScan::new(Table::Visitors, loose.clone())).await.map_err(JobError::failed)?;
        let mut filling: BTreeMap<NaiveDate, RecordBatch> =
            split_days(Table::Visitors, tenant, &filling).map_err(JobError::failed)?;
        let table = self.engine.lake().table(Table::Visitors);
        while let Some((day, rows)) = days.pop_first() {
            let rows = [rows].into_iter().chain(filling.remove(&day)).collect();
            let written = write_day(table, tenant, day, rows, context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
        }
        replacement.remove.extend(loose);
        Ok(())
    }
}

/// What the news say of people.
struct Moved {
    /// Everybody one of whose ids changed hands, before or now.
    anew: HashSet<String>,
    /// Sessions that went, each as a visitor.
    went: RecordBatch,
    /// Sessions that came, likewise.
    came: RecordBatch,
}

impl Moved {
    /// Everybody whose row may be another than before.
    fn people(&self) -> Result<HashSet<String>, JobError> {
        let mut people = self.anew.clone();
        for visitors in [&self.went, &self.came] {
            let named = person_ids(visitors).map_err(JobError::failed)?.iter().flatten();
            people.extend(named.map(str::to_owned));
        }
        Ok(people)
    }
}

fn count(files: &[DataFile], report: &mut JobReport) {
    report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
    report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
}

fn one(visitors: Vec<RecordBatch>) -> Result<RecordBatch, JobError> {
    concat_batches(&scan_schema(Table::Visitors), &visitors).map_err(JobError::failed)
}

/// The rows of some people, and those of others.
fn separate(visitors: &RecordBatch, people: &HashSet<String>) -> Result<(RecordBatch, RecordBatch), JobError> {
    split(visitors, |person| people.contains(person)).map_err(JobError::failed)
}

/// The days from the first to the last session of each of some people, as spans that do not meet.
fn days_of(visitors: [&RecordBatch; 2], people: &HashSet<String>) -> Result<Vec<(NaiveDate, NaiveDate)>, JobError> {
    let mut spans: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for rows in visitors {
        let (theirs, _) = separate(rows, people)?;
        let [first, last] = [column::FIRST_SEEN_AT, column::LAST_SEEN_AT].map(|name| {
            let times =
                theirs.column_by_name(name).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
            times.ok_or_else(|| JobError::failed(format!("visitors have no time `{name}`")))
        });
        let days = first?.values().iter().zip(last?.values());
        spans.extend(days.map(|(first, last)| (day_of(*first), day_of(*last))));
    }
    spans.sort_unstable();
    let mut apart: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for (first, last) in spans {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    Ok(apart)
}

/// The people that rows of `identities` name, and whom their ids stand for by themselves.
fn people_of(identities: &RecordBatch) -> Vec<String> {
    let column = |name: &str| identities.column_by_name(name).and_then(|values| values.as_string_view_opt());
    let (Some(people), Some(types), Some(ids)) =
        (column(identity::PERSON_ID), column(identity::ID_TYPE), column(identity::ID))
    else {
        return Vec::new();
    };
    let mut named = Vec::with_capacity(2 * identities.num_rows());
    for row in 0..identities.num_rows() {
        let is_user = types.value(row) == identity_edges::TYPE_USER;
        let prefix = if is_user { USER_PREFIX } else { VISITOR_PREFIX };
        named.push(format!("{prefix}{}", ids.value(row)));
        named.push(people.value(row).to_owned());
    }
    named
}
