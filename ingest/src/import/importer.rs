//! Gathers imported lines until they are worth a commit.

use std::sync::Arc;

use touchline_enrich::Enricher;
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::event::SOURCE_IMPORT;

use super::ndjson::{Form, ImportedLine, RefusedLine};
use crate::batch::Batch;
use crate::erased::ErasedIds;
use crate::lake_writer::{LakeWriter, LakeWriterError, Tally};
use crate::receive::check::Refusal;
use crate::receive::events::event;
use crate::receive::segment;
use crate::receive::{FieldError, Limits, RequestContext};
use crate::record::decode;

/// Writes the lines of an import.
pub struct Importer {
    writer: LakeWriter,
    tenant: Tenant,
    clock: SharedClock,
    limits: Limits,
    enricher: Arc<Enricher>,
    erased: ErasedIds,
    mask_ip: bool,
    commit_bytes: usize,
    gathered: Vec<Vec<ImportedLine>>,
    gathered_bytes: usize,
    /// Lines that this import and, if it goes on with another, that one have taken. Each commit bears their number.
    lines: u64,
    tally: Tally,
}

impl Importer {
    /// An import for `tenant` through `writer`, which must have a node of its own; commits every `commit_bytes` of lines.
    /// If the node has committed before, the import goes on where that one was broken off.
    ///
    /// # Errors
    ///
    /// If the lake does not say, or the ledger does not take, what the node has committed.
    pub async fn open(
        writer: LakeWriter,
        tenant: Tenant,
        clock: SharedClock,
        limits: Limits,
        enricher: Arc<Enricher>,
        mask_ip: bool,
        commit_bytes: usize,
    ) -> Result<Self, LakeWriterError> {
        let lines = writer.last_number().await?.and_then(|number| number.try_into().ok()).unwrap_or(0);
        Ok(Self {
            writer: writer.beside_the_log(),
            tenant,
            clock,
            limits,
            enricher,
            erased: ErasedIds::default(),
            mask_ip,
            commit_bytes,
            gathered: Vec::new(),
            gathered_bytes: 0,
            lines,
            tally: Tally::default(),
        })
    }

    /// How many lines are in the lake, or on their way: of a new import none, of one that goes on those that are not to be
    /// taken again.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The people whose events are refused; whoever imports keeps it fresh.
    pub fn erased(&self) -> &ErasedIds {
        &self.erased
    }

    /// Takes lines; commits when enough have come. What enough is depends on the lines alone, so that an import which goes
    /// on commits the same lines together: refused ones, which are committed before the others, are not kept twice.
    pub async fn push(&mut self, lines: Vec<ImportedLine>) -> Result<(), LakeWriterError> {
        self.lines += lines.len() as u64;
        self.gathered_bytes += lines.iter().map(ImportedLine::size_bytes).sum::<usize>();
        self.gathered.push(lines);
        if self.gathered_bytes >= self.commit_bytes { self.commit().await } else { Ok(()) }
    }

    /// Commits the rest; returns what became of all lines.
    pub async fn finish(mut self) -> Result<Tally, LakeWriterError> {
        if !self.gathered.is_empty() {
            self.commit().await?;
        }
        Ok(self.tally)
    }

    async fn commit(&mut self) -> Result<(), LakeWriterError> {
        // Read now and not when they came: who was erased meanwhile is not taken.
        let payloads: Vec<_> = std::mem::take(&mut self.gathered).iter().map(|lines| self.encode(lines)).collect();
        // What was encoded a moment ago decodes.
        let requests: Vec<_> = payloads.iter().filter_map(|payload| decode(payload).ok()).collect();
        let number = i64::try_from(self.lines).unwrap_or(i64::MAX);
        let written = self.writer.store(number, &requests).await?;
        self.gathered_bytes = 0;
        self.tally.received += written.tally.received;
        self.tally.stored += written.tally.stored;
        self.tally.duplicates += written.tally.duplicates;
        self.tally.rejected += written.tally.rejected;
        Ok(())
    }

    fn encode(&self, lines: &[ImportedLine]) -> Vec<u8> {
        let received_at = self.clock.now();
        let erased = self.erased.current();
        let mut entropy = rand::random::<[u8; 10]>;
        let mut batch = Batch::new(self.tenant, received_at, lines.len(), self.limits.max_event_bytes);
        for (index, line) in lines.iter().enumerate() {
            let mut ids = rand::random::<[u8; 10]>;
            let mut context = RequestContext {
                tenant: self.tenant,
                received_at,
                arrived_at: received_at,
                mask_ip: self.mask_ip,
                device: None,
                global_privacy_control: false,
                idempotency_key: None,
                limits: &self.limits,
                enricher: &self.enricher,
                erased: &erased,
                entropy: &mut ids,
            };
            match line {
                ImportedLine::Event(imported) => {
                    let index = index as u32;
                    let checked = match imported.form {
                        Form::Native => event(&imported.json, index, SOURCE_IMPORT, &mut context),
                        Form::Segment => segment::exported(&imported.json, index, &mut context),
                    };
                    batch.push(checked, &mut entropy);
                }
                ImportedLine::Refused(refused) => {
                    let raw = String::from_utf8_lossy(&refused.body);
                    batch.refuse(refusal(refused, index as u32, &raw), &mut entropy);
                }
            }
        }
        let mut payload = Vec::new();
        batch.put(|_| true, &mut payload);
        payload
    }
}

fn refusal<'a>(refused: &RefusedLine, index: u32, raw: &'a str) -> Refusal<'a> {
    let detail = format!("line {}: {}", refused.line_number, refused.reason);
    let errors = vec![FieldError { pointer: String::new(), code: refused.reason.code(), detail }];
    Refusal { index, event_id: None, event_type: None, errors, raw: raw.into(), source: SOURCE_IMPORT }
}
