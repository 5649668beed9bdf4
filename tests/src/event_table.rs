//! Events in memory as a table, for tests of transforms that need neither log nor lake.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use touchline_pipeline::scan::scan_schema;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events};

/// An event of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryEvent {
    /// When it happened, in microseconds since 1970.
    pub occurred_at_us: i64,
    /// When it arrived.
    pub received_at_us: i64,
    /// Whether it is a bot's.
    pub is_bot: bool,
    /// Ten-thousandths of its revenue.
    pub revenue_e4: Option<i64>,
    /// Its texts.
    pub texts: Vec<(TextField, String)>,
}

impl MemoryEvent {
    /// One of its texts.
    pub fn text(&self, field: TextField) -> Option<&str> {
        self.texts.iter().find(|(known, _)| *known == field).map(|(_, text)| text.as_str())
    }
}

/// A table whose partitions hold these events.
pub fn event_table(partitions: &[Vec<&MemoryEvent>]) -> anyhow::Result<Arc<dyn TableProvider>> {
    let batches = partitions.iter().map(|events| Ok(vec![batch(events)?])).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Arc::new(MemTable::try_new(scan_schema(Table::Events), batches)?))
}

fn batch(events: &[&MemoryEvent]) -> anyhow::Result<RecordBatch> {
    let schema = scan_schema(Table::Events);
    let times = |of: fn(&MemoryEvent) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| of(event))).with_timezone("UTC"))
    };
    let columns = schema.fields().iter().map(|field| -> anyhow::Result<ArrayRef> {
        Ok(match field.name().as_str() {
            events::OCCURRED_AT => times(|event| event.occurred_at_us),
            events::RECEIVED_AT => times(|event| event.received_at_us),
            events::IS_BOT => Arc::new(events.iter().map(|event| Some(event.is_bot)).collect::<BooleanArray>()),
            events::REVENUE => {
                let revenue: Decimal128Array = events.iter().map(|event| event.revenue_e4.map(i128::from)).collect();
                Arc::new(revenue.with_precision_and_scale(18, 4)?)
            }
            name => {
                let text = TextField::ALL.into_iter().find(|text| text.column() == name);
                let texts = events.iter().map(|event| text.and_then(|text| event.text(text)));
                Arc::new(texts.collect::<StringViewArray>())
            }
        })
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<anyhow::Result<Vec<_>>>()?)?)
}
