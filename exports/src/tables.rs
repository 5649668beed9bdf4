//! What a run of changes has to know of the lake: versions of tables, and on which days they differ.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::{Lake, LakeError};
use touchline_schemas::Tenant;
use touchline_schemas::control::TableVersion;
use touchline_schemas::tables::Table;

/// The newest version of a table.
#[derive(Debug, Clone)]
pub struct Newest {
    /// Which.
    pub version: TableVersion,
    /// Up to when what was received is in it, if it says so.
    pub watermark: Option<DateTime<Utc>>,
}

/// Days; `None` means that it may be any.
pub type Days = Option<BTreeSet<NaiveDate>>;

/// Knows tables.
#[async_trait]
pub trait Tables: Send + Sync {
    /// The newest version of a table.
    async fn newest(&self, table: Table) -> Result<Newest, LakeError>;

    /// The days on which a tenant has rows now.
    async fn days(&self, table: Table, tenant: Tenant) -> Result<BTreeSet<NaiveDate>, LakeError>;

    /// The days on which rows of a tenant came or went in the versions `after + 1 ..= through`.
    async fn days_changed(&self, table: Table, tenant: Tenant, after: i64, through: i64) -> Result<Days, LakeError>;
}

#[async_trait]
impl Tables for Lake {
    async fn newest(&self, table: Table) -> Result<Newest, LakeError> {
        let table = self.table(table);
        let snapshot = table.snapshot().await?;
        let watermark = snapshot.info.as_ref().and_then(|info| info.watermark);
        Ok(Newest { version: TableVersion { id: table.id().await?, version: snapshot.version }, watermark })
    }

    async fn days(&self, table: Table, tenant: Tenant) -> Result<BTreeSet<NaiveDate>, LakeError> {
        let snapshot = self.table(table).snapshot().await?;
        Ok(snapshot.files(tenant).iter().map(|file| file.date).collect())
    }

    async fn days_changed(&self, table: Table, tenant: Tenant, after: i64, through: i64) -> Result<Days, LakeError> {
        let changed = self.table(table).days_changed(after, through).await?;
        Ok(changed.map(|mut days| days.remove(&tenant).unwrap_or_default()))
    }
}
