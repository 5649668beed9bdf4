//! Rows of a table as a Polars frame: instants as microseconds, money as ten-thousandths, days as days since 1970, all
//! of them 64-bit integers, so that there is one kind of number to compute with and to compare.

use std::fs::File;
use std::path::Path;

use arrow::datatypes::DataType as ArrowType;
use chrono::NaiveDate;
use polars::prelude::*;
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use touchline_lake::DataFile;
use touchline_schemas::tables::{MONEY_PRECISION, Table};

use crate::VerifyError;

/// Microseconds of a day of UTC.
pub const DAY_US: i64 = 86_400_000_000;
/// The first ten-thousandth that money has no digits for.
const MONEY_LIMIT: i64 = 10_i64.pow(MONEY_PRECISION as u32);

/// A sum of money under its own name; null if nothing was summed, as `count` says, or if it has more digits than money
/// has.
pub fn known_money(name: &str, count: &str) -> Expr {
    let within = col(name).gt(lit(-MONEY_LIMIT)).and(col(name).lt(lit(MONEY_LIMIT)));
    when(col(count).gt(lit(0)).and(within)).then(col(name)).otherwise(lit(NULL)).alias(name.to_owned())
}

/// The rows of `files` with `columns`, which may include the table's date column: that is read from the file's place
/// in the table.
pub fn read(root: &Path, table: Table, files: &[DataFile], columns: &[&str]) -> Result<DataFrame, VerifyError> {
    let [_, _, date] = table.partition_columns();
    let in_file: Vec<String> = columns.iter().filter(|name| **name != date).map(|name| (*name).to_owned()).collect();
    let mut rows = empty(table, columns).map_err(VerifyError::computing("an empty table"))?;
    for file in files {
        let path = root.join(table.name()).join(&file.path);
        let mut read = || {
            let mut part = ParquetReader::new(File::open(&path)?).with_columns(Some(in_file.clone())).finish()?;
            let height = part.height();
            if columns.contains(&date) {
                part.with_column(Int64Chunked::full(date.into(), day_number(file.date), height).into_column())?;
            }
            let part = part.select(columns.iter().copied())?;
            let normal = part.columns().iter().map(normal).collect::<PolarsResult<Vec<_>>>()?;
            rows.vstack_mut(&DataFrame::new(height, normal)?).map(drop)
        };
        read().map_err(|error: PolarsError| VerifyError::File {
            table,
            path: file.path.clone(),
            detail: error.to_string(),
        })?;
    }
    rows.rechunk_mut();
    Ok(rows)
}

/// The lists of `files` with their values below each other: a row for each place of the lists, which are of equal
/// length, with the `key` of the row that they stand in. Rows whose lists are empty leave nothing.
pub fn read_lists(
    root: &Path,
    table: Table,
    files: &[DataFile],
    key: &[&str],
    lists: &[&str],
) -> Result<DataFrame, VerifyError> {
    let [_, _, date] = table.partition_columns();
    let columns: Vec<&str> = key.iter().chain(lists).copied().collect();
    let in_file: Vec<String> = columns.iter().filter(|name| **name != date).map(|name| (*name).to_owned()).collect();
    let mut parts = Vec::new();
    for file in files {
        let path = root.join(table.name()).join(&file.path);
        let read = || {
            let mut part = ParquetReader::new(File::open(&path)?).with_columns(Some(in_file.clone())).finish()?;
            let height = part.height();
            if columns.contains(&date) {
                part.with_column(Int64Chunked::full(date.into(), day_number(file.date), height).into_column())?;
            }
            let options = ExplodeOptions { empty_as_null: false, keep_nulls: false };
            let part = part.select(columns.iter().copied())?.explode(lists.iter().copied(), options)?;
            let normal = part.columns().iter().map(normal).collect::<PolarsResult<Vec<_>>>()?;
            DataFrame::new(part.height(), normal)
        };
        parts.push(read().map_err(|error: PolarsError| VerifyError::File {
            table,
            path: file.path.clone(),
            detail: error.to_string(),
        })?);
    }
    let none = empty(table, &columns).map_err(VerifyError::computing("an empty table"))?;
    stack(std::iter::once(none).chain(parts).collect()).map_err(VerifyError::computing("lists"))
}

/// No rows with `columns` of a table; of lists, their values.
pub fn empty(table: Table, columns: &[&str]) -> PolarsResult<DataFrame> {
    let schema = table.schema();
    let fields = columns.iter().map(|name| {
        let field = schema.field_with_name(name).map_err(|error| polars_err!(ColumnNotFound: "{error}"))?;
        let of = match field.data_type() {
            ArrowType::List(values) => values.data_type(),
            other => other,
        };
        let dtype = match of {
            ArrowType::Boolean => DataType::Boolean,
            ArrowType::Int64
            | ArrowType::Float64
            | ArrowType::Date32
            | ArrowType::Timestamp(..)
            | ArrowType::Decimal128(..) => DataType::Int64,
            _ => DataType::String,
        };
        Ok(Column::full_null((*name).into(), 0, &dtype))
    });
    DataFrame::new(0, fields.collect::<PolarsResult<Vec<_>>>()?)
}

fn normal(column: &Column) -> PolarsResult<Column> {
    match column.dtype() {
        DataType::Datetime(..) | DataType::Date | DataType::Decimal(..) => {
            column.to_physical_repr().strict_cast(&DataType::Int64)
        }
        // Compared by their bits.
        DataType::Float64 => {
            let bits = column.f64()?.iter().map(|fraction| fraction.map(|fraction| fraction.to_bits() as i64));
            Ok(bits.collect::<Int64Chunked>().with_name(column.name().clone()).into_column())
        }
        _ => Ok(column.clone()),
    }
}

/// Days since 1970.
pub fn day_number(day: NaiveDate) -> i64 {
    day.signed_duration_since(NaiveDate::default()).num_days()
}

/// The UTC day, since 1970, of an instant in microseconds.
pub fn day_of(instant_us: Expr) -> Expr {
    let day = || lit(DAY_US);
    // Division cuts off towards zero; taking the time of day away first makes it exact, also before 1970.
    let time_of_day = (instant_us.clone() % day() + day()) % day();
    (instant_us - time_of_day) / day()
}

/// A column of one number: a bare literal takes whatever width suits it.
pub fn number(value: i64) -> Expr {
    lit(value).cast(DataType::Int64)
}

/// Frames of the same columns below each other.
pub fn stack(parts: Vec<DataFrame>) -> PolarsResult<DataFrame> {
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else { return Ok(DataFrame::empty()) };
    for part in parts {
        whole.vstack_mut(&part)?;
    }
    whole.rechunk_mut();
    Ok(whole)
}

/// Sorted ascending, nulls first.
pub fn ascending() -> SortMultipleOptions {
    SortMultipleOptions::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_of_utc() {
        let instants = df!("at" => [0, DAY_US - 1, DAY_US, -1, -DAY_US]).unwrap();
        let days = instants.lazy().select([day_of(col("at"))]).collect().unwrap();
        let days: Vec<_> = days.column("at").unwrap().i64().unwrap().iter().flatten().collect();
        assert_eq!(days, [0, 0, 1, -1, -1]);
    }
}
