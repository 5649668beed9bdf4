//! `data`: rows one by one and in numbered pages, for clients that pull all data into a place of their own.
//!
//! A numbered page is found by counting, so that a late one costs as much as all before it, and rows that come between two
//! requests move the others. The lists of reports have cursors instead.

pub mod conversions;
pub mod funnel;

use arrow::array::{Array, RecordBatch};
use datafusion::prelude::DataFrame;

use super::AnswerMeta;
use crate::PipelineError;
use crate::columns::{amounts, counts, texts, times};

/// Names this definition in answers.
pub const DEFINITION: &str = "data/1";

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its number; the first is 1.
    pub number: usize,
    /// Rows of a page.
    pub size: usize,
}

impl Page {
    fn of(self, frame: DataFrame) -> Result<DataFrame, PipelineError> {
        Ok(frame.limit(self.number.saturating_sub(1).saturating_mul(self.size), Some(self.size))?)
    }
}

/// A page, and of how many rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The rows of the page.
    pub rows: Vec<T>,
    /// Rows of all pages.
    pub total_count: usize,
    /// What they were read from.
    pub meta: AnswerMeta,
}

/// The campaign that led somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Campaign {
    /// The channel.
    pub channel: Option<String>,
    /// `utm_source`.
    pub source: Option<String>,
    /// `utm_medium`.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
}

impl Campaign {
    /// The columns of a campaign, in the tables that have one.
    const COLUMNS: [&str; 4] = ["channel", "utm_source", "utm_medium", "utm_campaign"];

    fn read(batch: &RecordBatch, row: usize) -> Result<Self, PipelineError> {
        let [channel, source, medium, campaign] = Self::COLUMNS.map(|name| text(batch, name, row));
        Ok(Self { channel: channel?, source: source?, medium: medium?, campaign: campaign? })
    }
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<String>, PipelineError> {
    let column = texts(batch, name)?;
    Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
}

fn time_us(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<i64>, PipelineError> {
    let column = times(batch, name)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

fn count(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<i64>, PipelineError> {
    let column = counts(batch, name)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

/// An amount or a credit, in ten-thousandths.
fn e4(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<i128>, PipelineError> {
    let column = amounts(batch, name)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}
