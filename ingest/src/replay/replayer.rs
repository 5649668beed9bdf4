//! Replays straight into the lake, as imports do: beside a running server, or without one.

use std::collections::HashSet;
use std::sync::Arc;

use touchline_enrich::Enricher;
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::tables::rejected_events::RefusedEvent;

use super::changes::Changes;
use super::{Replay, ReplayStatus, ReplayedEvent, Terms};
use crate::erased::ErasedIds;
use crate::lake_writer::{LakeWriter, LakeWriterError};
use crate::receive::Limits;
use crate::record::decode;

/// Writes the refused events of one tenant that pass the check now.
pub struct Replayer {
    writer: LakeWriter,
    tenant: Tenant,
    clock: SharedClock,
    limits: Limits,
    enricher: Arc<Enricher>,
    erased: ErasedIds,
    mask_ip: bool,
    next_number: i64,
}

impl Replayer {
    /// A replay for `tenant` through `writer`, which must have a node of its own.
    pub fn new(
        writer: LakeWriter,
        tenant: Tenant,
        clock: SharedClock,
        limits: Limits,
        enricher: Arc<Enricher>,
        mask_ip: bool,
    ) -> Self {
        Self {
            writer: writer.beside_the_log(),
            tenant,
            clock,
            limits,
            enricher,
            erased: ErasedIds::default(),
            mask_ip,
            next_number: 1,
        }
    }

    /// The people whose events are refused; whoever replays keeps it fresh.
    pub fn erased(&self) -> &ErasedIds {
        &self.erased
    }

    /// Changes and checks events; those of a trial are shown.
    pub fn check(&self, events: &[RefusedEvent], changes: &Changes, is_trial: bool) -> Replay {
        let erased = self.erased.current();
        let terms = Terms {
            tenant: self.tenant,
            now: self.clock.now(),
            mask_ip: self.mask_ip,
            limits: &self.limits,
            enricher: &self.enricher,
            erased: &erased,
            shows_bodies: is_trial,
        };
        Replay::check(events, changes, terms)
    }

    /// Commits those that pass; returns what became of each.
    pub async fn store(&mut self, replay: Replay) -> Result<Vec<ReplayedEvent>, LakeWriterError> {
        if replay.passed() == 0 {
            return Ok(replay.refused());
        }
        let (batch, outcome) = replay.into_parts();
        let mut payload = Vec::new();
        batch.put(|_| true, &mut payload);
        // What was encoded a moment ago decodes.
        let requests: Vec<_> = decode(&payload).into_iter().collect();
        let written = self.writer.store(self.next_number, &requests).await?;
        self.next_number += 1;
        let mut stored: HashSet<_> = written.stored.into_iter().collect();
        // Of two with one id the first is stored.
        let statuses = requests
            .iter()
            .flat_map(|request| &request.events)
            .map(|event| if stored.remove(&event.hash) { ReplayStatus::Stored } else { ReplayStatus::Duplicate });
        Ok(outcome.told(statuses))
    }
}
