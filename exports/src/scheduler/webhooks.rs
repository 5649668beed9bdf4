//! Tells webhooks: one attempt at a time, and what came of it in the ledger, so that a restart forgets none.

use std::sync::Arc;

use touchline_jobs::lease::Lease;
use touchline_schemas::control::{ControlError, ExportRun, WebhookOutcome};

use super::Inner;
use crate::announcement::message;
use crate::manifest::Signer;
use crate::webhook::WebhookError;

/// The lease of whoever tells webhooks.
const WEBHOOKS_LEASE: &str = "exports:webhooks";

impl Inner {
    pub(super) async fn serve_webhooks(self: &Arc<Self>) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.announce().await {
                tracing::error!(%error, "the webhooks of exports could not be looked after");
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(self.pace.poll_interval) => {}
            }
        }
    }

    /// Tells the webhooks that are due, if nobody else does; how many were tried.
    pub(super) async fn announce(&self) -> Result<usize, ControlError> {
        if self.control.next_export_webhook(self.clock.now()).await?.is_none() {
            return Ok(0);
        }
        let (name, holder) = (WEBHOOKS_LEASE.to_owned(), self.pace.holder.clone());
        let lease = Lease::acquire(&self.control, &self.clock, name, holder, self.pace.lease_ttl).await?;
        let Some(lease) = lease else { return Ok(0) };
        let told = tokio::select! {
            told = self.tell_all() => told,
            () = lease.keep() => Ok(0),
        };
        lease.release().await;
        told
    }

    async fn tell_all(&self) -> Result<usize, ControlError> {
        let mut tried = 0;
        while let Some(run) = self.control.next_export_webhook(self.clock.now()).await? {
            // A stop cuts off the telling, which only reads the ledger.
            let told = tokio::select! {
                told = self.tell(&run) => told?,
                () = self.stop.cancelled() => return Ok(tried),
            };
            self.control.note_export_webhook(run.id, told).await?;
            tried += 1;
        }
        Ok(tried)
    }

    async fn tell(&self, run: &ExportRun) -> Result<WebhookOutcome, ControlError> {
        let given_up = |error: &str| WebhookOutcome::Failed { error: error.to_owned(), retry_at: None };
        let export = match self.control.export(None, run.export_id).await {
            Ok(export) => export,
            Err(ControlError::UnknownExport) => return Ok(given_up("the export was deleted")),
            Err(error) => return Err(error),
        };
        let Some(url) = &export.definition.webhook else { return Ok(given_up("the export has no webhook any more")) };
        let signer = Signer::from(&self.control.export_signing_key(export.id).await?);
        let sent = match message(&export, run) {
            Ok(message) => self.announcer.send(url, signer.hmac(), &message).await,
            Err(error) => Err(WebhookError::from(error)),
        };
        let Err(error) = sent else { return Ok(WebhookOutcome::Delivered) };
        tracing::warn!(export = %run.export_id, run_id = %run.id, %error, "the webhook of an export was not told");
        let attempts = run.webhook_attempts.saturating_add(1);
        let is_worth_it = error.may_pass() && attempts < self.config.max_attempts;
        let retry_at = is_worth_it.then(|| self.clock.now() + self.pause(attempts));
        Ok(WebhookOutcome::Failed { error: error.to_string(), retry_at })
    }
}
