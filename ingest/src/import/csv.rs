//! Import of CSV: one event per row, by the names in the header. A cell may hold delimiters, quotes and line breaks if it
//! is quoted.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use super::ndjson::{
    Form, ImportedEvent, ImportedLine, LineReader, Occurrences, RefusedLine, RefusedReason, content_id,
};

/// Prefix of the ids that rows without an id are given.
const ID_PREFIX: &str = "row_";
/// What a name begins with that stands for a property.
const PROPERTY_PREFIX: &str = "properties.";
/// The fields of an event besides its properties.
const FIELDS: [&str; 8] =
    ["event_id", "event_type", "visitor_id", "user_id", "session_id", "timestamp", "ip", "user_agent"];

/// How columns become fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// What stands between cells.
    pub delimiter: u8,
    /// Fields and the columns that they are taken from. A column that is not named here is the field of its name, or
    /// else a property.
    pub map: Vec<(String, String)>,
    /// Fields that have the same value in every event.
    pub set: Vec<(String, String)>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', map: Vec::new(), set: Vec::new() }
    }
}

/// Why a file cannot be read as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The file is empty.
    #[error("the file has no header: its first row names the columns")]
    NoHeader,
    /// The header cannot be read.
    #[error("the header cannot be read: {0}")]
    BadHeader(String),
    /// A column that is asked for is not there.
    #[error("there is no column `{column}`; there are: {columns}")]
    NoColumn {
        /// The column.
        column: String,
        /// Those that there are.
        columns: String,
    },
    /// Two columns, or a column and a value that is set, are to become one.
    #[error("`{0}` is given twice, by columns or what is set: map one of them to `properties.` and a name of its own")]
    GivenTwice(String),
    /// Reading failed.
    #[error("{0}")]
    Io(String),
}

impl From<io::Error> for CsvError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Where a value belongs in an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Field(String),
    Property(String),
}

impl Place {
    fn of(name: &str) -> Self {
        if FIELDS.contains(&name) {
            return Self::Field(name.to_owned());
        }
        Self::Property(name.strip_prefix(PROPERTY_PREFIX).unwrap_or(name).to_owned())
    }
}

/// Where a value comes from.
#[derive(Debug)]
enum Source {
    /// The cell of this index.
    Cell(usize),
    Fixed(String),
}

/// Iterates over the events of a CSV file.
#[derive(Debug)]
pub struct CsvReader<R> {
    rows: Rows<R>,
    column_count: usize,
    /// What each event is made of, each place once.
    places: Vec<(Place, Source)>,
    occurrences: Occurrences,
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header of `reader`; rows of more than `max_row_bytes` are refused.
    ///
    /// # Errors
    ///
    /// There is no header, it lacks a column, or of two values only one could be kept.
    pub fn new(reader: R, options: &CsvOptions, max_row_bytes: usize) -> Result<Self, CsvError> {
        let mut rows = Rows { lines: LineReader::new(reader, max_row_bytes), delimiter: options.delimiter };
        let header = rows.next_row()?.ok_or(CsvError::NoHeader)?;
        let columns = header.cells.map_err(|reason| CsvError::BadHeader(reason.to_string()))?;
        if let Some((_, column)) = options.map.iter().find(|(_, column)| !columns.contains(column)) {
            return Err(CsvError::NoColumn { column: column.clone(), columns: columns.join(", ") });
        }
        let mut places = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let mut mapped = options.map.iter().filter(|(_, from)| from == column).map(|(name, _)| name).peekable();
            let own_name = mapped.peek().is_none().then_some(column);
            places.extend(mapped.chain(own_name).map(|name| (Place::of(name), Source::Cell(index))));
        }
        places.extend(options.set.iter().map(|(name, value)| (Place::of(name), Source::Fixed(value.clone()))));
        places.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some([(Place::Field(name) | Place::Property(name), _), _]) =
            places.array_windows().find(|[(one, _), (other, _)]| one == other)
        {
            return Err(CsvError::GivenTwice(name.clone()));
        }
        Ok(Self { rows, column_count: columns.len(), places, occurrences: Occurrences::default() })
    }

    fn event(&mut self, row: &Row) -> Result<ImportedEvent, RefusedReason> {
        let cells = row.cells.as_ref().map_err(Clone::clone)?;
        let (expected, found) = (self.column_count, cells.len());
        if found != expected {
            return Err(RefusedReason::WrongCells { expected, found });
        }
        let mut event = Map::new();
        let mut properties = Map::new();
        for (place, source) in &self.places {
            let value = match source {
                Source::Cell(index) => &cells[*index],
                Source::Fixed(value) => value,
            };
            if value.is_empty() {
                continue;
            }
            let (members, name) = match place {
                Place::Field(name) => (&mut event, name),
                Place::Property(name) => (&mut properties, name),
            };
            members.insert(name.clone(), Value::String(value.clone()));
        }
        if !properties.is_empty() {
            event.insert("properties".to_owned(), Value::Object(properties));
        }
        let event_id = match event.get("event_id").and_then(Value::as_str) {
            Some(event_id) => event_id.to_owned(),
            None => {
                // Of the event, not of the row: one file may be imported as several kinds of events.
                let content = serde_json::to_vec(&event).unwrap_or_default();
                let event_id = content_id(ID_PREFIX, &content, self.occurrences.next(&content));
                event.insert("event_id".to_owned(), Value::String(event_id.clone()));
                event_id
            }
        };
        Ok(ImportedEvent { event_id, json: Value::Object(event).to_string(), form: Form::Native })
    }
}

impl<R: BufRead> Iterator for CsvReader<R> {
    type Item = io::Result<ImportedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.rows.next_row() {
            Ok(row) => row?,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(match self.event(&row) {
            Ok(event) => ImportedLine::Event(event),
            Err(reason) => ImportedLine::Refused(RefusedLine { line_number: row.line_number, body: row.bytes, reason }),
        }))
    }
}

/// A row of a file.
#[derive(Debug)]
struct Row {
    /// Number of its first line, from 1.
    line_number: u64,
    /// Its bytes; of a row that is too long, its beginning.
    bytes: Vec<u8>,
    cells: Result<Vec<String>, RefusedReason>,
}

/// Reads rows of bounded length: a quote that is never closed costs no more memory than the limit.
#[derive(Debug)]
struct Rows<R> {
    lines: LineReader<R>,
    delimiter: u8,
}

impl<R: BufRead> Rows<R> {
    fn next_row(&mut self) -> io::Result<Option<Row>> {
        let max_bytes = self.lines.max_line_bytes();
        let Some(first) = self.lines.next_line()? else { return Ok(None) };
        let line_number = first.number;
        let (mut bytes, mut size_bytes) = (first.bytes.to_vec(), first.size_bytes);
        let mut quotes = Quotes::default();
        quotes.read(&bytes, self.delimiter);
        // A cell goes on behind a line's end as long as its quote is open.
        while size_bytes <= max_bytes as u64 && quotes.is_open() {
            let Some(line) = self.lines.next_line_or_blank()? else { break };
            size_bytes += 1 + line.size_bytes;
            bytes.push(b'\n');
            bytes.extend_from_slice(line.bytes);
            quotes.read(line.bytes, self.delimiter);
        }
        let cells = if size_bytes > max_bytes as u64 {
            bytes.truncate(max_bytes);
            Err(RefusedReason::TooLong { size_bytes, max_bytes })
        } else if quotes.is_open() {
            Err(RefusedReason::InvalidCsv("a quote is not closed".to_owned()))
        } else {
            self.cells(&bytes)
        };
        Ok(Some(Row { line_number, bytes, cells }))
    }

    fn cells(&self, row: &[u8]) -> Result<Vec<String>, RefusedReason> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .buffer_capacity(row.len().max(1))
            .from_reader(row);
        let mut records = reader.records();
        let cells = records.next().unwrap_or_else(|| Ok(csv::StringRecord::new()));
        let cells = cells.map_err(|error| RefusedReason::InvalidCsv(error.to_string()))?;
        if records.next().is_some() {
            return Err(RefusedReason::InvalidCsv("a carriage return stands where no line ends".to_owned()));
        }
        Ok(cells.iter().map(str::to_owned).collect())
    }
}

/// Whether a row goes on in the next line: that is so inside a cell that begins with a quote, up to one which is not
/// followed by another. A quote in the middle of a cell is a character like others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Quotes {
    /// Before the first character of a cell.
    #[default]
    Begin,
    /// In a cell without quotes, or behind its last one.
    Plain,
    /// In a quoted cell.
    Open,
    /// Behind a quote in a quoted cell: its end, unless another follows.
    MaybeClosed,
}

impl Quotes {
    /// Reads a line of the row, without its end.
    fn read(&mut self, line: &[u8], delimiter: u8) {
        for byte in line {
            *self = match (*self, *byte) {
                (Self::Open, b'"') => Self::MaybeClosed,
                (Self::Open, _) | (Self::Begin | Self::MaybeClosed, b'"') => Self::Open,
                (_, byte) if byte == delimiter => Self::Begin,
                _ => Self::Plain,
            };
        }
    }

    fn is_open(self) -> bool {
        self == Self::Open
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn read(file: &str, options: &CsvOptions) -> Result<Vec<Value>, CsvError> {
        let shown = |line: ImportedLine| match line {
            ImportedLine::Event(event) => {
                let mut json: Value = serde_json::from_str(&event.json).unwrap();
                assert_eq!(json["event_id"], event.event_id);
                if event.event_id.starts_with(ID_PREFIX) {
                    json.as_object_mut().unwrap().remove("event_id");
                }
                json
            }
            ImportedLine::Refused(refused) => json!(format!("{}: {}", refused.line_number, refused.reason)),
        };
        Ok(CsvReader::new(file.as_bytes(), options, 60)?.map(|line| shown(line.unwrap())).collect())
    }

    #[test]
    fn columns_become_fields_and_properties() {
        let options = CsvOptions {
            map: pairs(&[("timestamp", "when"), ("visitor_id", "cookie"), ("properties.plan", "tier")]),
            set: pairs(&[("event_type", "purchase")]),
            ..CsvOptions::default()
        };
        let file = "\u{feff}event_id,when,cookie,tier,revenue\r\ne1,2026-01-01,c1,pro,12.50\r\n,2026-01-02,c2,,\r\n";
        let expected = [
            json!({"event_id": "e1", "event_type": "purchase", "timestamp": "2026-01-01", "visitor_id": "c1",
                   "properties": {"plan": "pro", "revenue": "12.50"}}),
            json!({"event_type": "purchase", "timestamp": "2026-01-02", "visitor_id": "c2"}),
        ];
        assert_eq!(read(file, &options).unwrap(), expected);
    }

    #[test]
    fn quoted_cells_hold_anything() {
        let options = CsvOptions { delimiter: b';', ..CsvOptions::default() };
        let file = "event_type;note\nx;\"a;\"\"b\"\"\n\nc\"\ny;d\nz;5\" nail\n";
        let expected = [
            json!({"event_type": "x", "properties": {"note": "a;\"b\"\n\nc"}}),
            json!({"event_type": "y", "properties": {"note": "d"}}),
            json!({"event_type": "z", "properties": {"note": "5\" nail"}}),
        ];
        assert_eq!(read(file, &options).unwrap(), expected);
    }

    #[test]
    fn rows_that_are_none_are_refused_with_their_line() {
        let options = CsvOptions::default();
        let check = |row: &str, expected: &[&str]| {
            let found = read(&format!("event_type,user_id\n{row}"), &options).unwrap();
            assert_eq!(found, expected, "{row}");
        };
        check("x\n", &["2: the row has 1 cells, the header has 2"]);
        check("x,y,z\n", &["2: the row has 3 cells, the header has 2"]);
        check("x,1\ry,2\n", &["2: not a row of CSV: a carriage return stands where no line ends"]);
        check("x,\"y\n", &["2: not a row of CSV: a quote is not closed"]);
        let long = format!("x,{}\n", "y".repeat(70));
        check(&long, &["2: the line has 72 bytes, more than the 60 allowed"]);
    }

    #[test]
    fn the_same_file_gives_the_same_ids_and_equal_rows_stay_apart() {
        let ids = |event_type: &str| -> Vec<String> {
            let file = "user_id\n1\n1\n2\n";
            let options = CsvOptions { set: pairs(&[("event_type", event_type)]), ..CsvOptions::default() };
            let lines = CsvReader::new(file.as_bytes(), &options, 60).unwrap();
            let event = |line: io::Result<ImportedLine>| match line.unwrap() {
                ImportedLine::Event(event) => event.event_id,
                ImportedLine::Refused(refused) => panic!("{refused:?}"),
            };
            lines.map(event).collect()
        };
        let mut found = ids("open");
        assert_eq!(found, ids("open"));
        // The same rows as other events are others.
        found.extend(ids("click"));
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn a_column_may_become_several_fields_but_no_two_become_one() {
        let check = |map: &[(&str, &str)], set: &[(&str, &str)], header: &str| {
            let options = CsvOptions { map: pairs(map), set: pairs(set), ..CsvOptions::default() };
            read(&format!("{header}\nx,1\n"), &options)
        };
        let map = [("user_id", "id"), ("visitor_id", "id")];
        let expected = json!({"event_type": "x", "user_id": "1", "visitor_id": "1"});
        assert_eq!(check(&map, &[], "event_type,id").unwrap(), [expected]);
        for (map, set, header, twice) in [
            (&[][..], &[][..], "a,a", "a"),
            (&[], &[], "a,properties.a", "a"),
            (&[("user_id", "id")], &[], "user_id,id", "user_id"),
            (&[], &[("event_type", "y")], "event_type,id", "event_type"),
        ] {
            assert_eq!(check(map, set, header), Err(CsvError::GivenTwice(twice.to_owned())), "{header}");
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let options = CsvOptions { map: pairs(&[("user_id", "uid")]), ..CsvOptions::default() };
        let error = read("event_type,user\nx,1\n", &options).unwrap_err();
        assert_eq!(error.to_string(), "there is no column `uid`; there are: event_type, user");
        assert_eq!(read("", &CsvOptions::default()).unwrap_err(), CsvError::NoHeader);
    }
}
