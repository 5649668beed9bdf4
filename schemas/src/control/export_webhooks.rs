//! Which webhooks are to be told that a run of an export has ended. What comes of it changes nothing about the run.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::export_runs::entity::{ActiveModel, Column, Entity};
use super::export_runs::{self, ExportRun, ExportRunId, WebhookState};
use super::exports::{self, ExportId};
use super::moment::micros;
use super::{ControlDb, ControlError};

/// What came of an attempt to tell a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It took the message.
    Delivered,
    /// It did not.
    Failed {
        /// Why, in words that do not hold its address: that may be half a secret.
        error: String,
        /// When to try again; never if there is to be no other attempt.
        retry_at: Option<DateTime<Utc>>,
    },
}

impl ControlDb {
    /// The run that ended first among those whose webhook is to be told now.
    pub async fn next_export_webhook(&self, now: DateTime<Utc>) -> Result<Option<ExportRun>, ControlError> {
        let is_due =
            Condition::any().add(Column::WebhookRetryAt.is_null()).add(Column::WebhookRetryAt.lte(micros(now)));
        let find = Entity::find()
            .filter(Column::WebhookState.eq(WebhookState::Pending.as_str()))
            .filter(is_due)
            .order_by_asc(Column::EndedAt)
            .order_by_asc(Column::Id);
        export_runs::first(&self.db, find).await
    }

    /// Writes down what came of an attempt to tell a run's webhook. Nothing changes if it need not be told any more.
    pub async fn note_export_webhook(&self, run: ExportRunId, outcome: WebhookOutcome) -> Result<(), ControlError> {
        use sea_orm::ActiveValue::Set;

        let row = match outcome {
            WebhookOutcome::Delivered => ActiveModel {
                webhook_state: Set(WebhookState::Delivered.as_str().to_owned()),
                webhook_retry_at: Set(None),
                webhook_error: Set(None),
                ..Default::default()
            },
            WebhookOutcome::Failed { error, retry_at } => {
                let state = if retry_at.is_some() { WebhookState::Pending } else { WebhookState::Failed };
                ActiveModel {
                    webhook_state: Set(state.as_str().to_owned()),
                    webhook_retry_at: Set(retry_at.map(micros)),
                    webhook_error: Set(Some(error)),
                    ..Default::default()
                }
            }
        };
        let noted = Entity::update_many()
            .set(row)
            .col_expr(Column::WebhookAttempts, Expr::col(Column::WebhookAttempts).add(1))
            .filter(Column::Id.eq(run.0))
            .filter(Column::WebhookState.eq(WebhookState::Pending.as_str()))
            .exec(&self.db)
            .await;
        noted.map(|_| ()).map_err(ControlError::during("note what came of a webhook"))
    }
}

/// What is to be done about the webhook when a run of this export ends.
pub(super) async fn due(db: &impl ConnectionTrait, export: ExportId) -> Result<WebhookState, ControlError> {
    match exports::find(db, None, export).await {
        Ok(export) if export.definition.webhook.is_some() => Ok(WebhookState::Pending),
        Ok(_) | Err(ControlError::UnknownExport) => Ok(WebhookState::None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ExportTrigger;
    use crate::control::exports::tests::{create_with_webhook, with_account};
    use crate::control::moment::tests::at;

    fn failed(retry_at: Option<i64>) -> WebhookOutcome {
        WebhookOutcome::Failed { error: "it answered 500".to_owned(), retry_at: retry_at.map(at) }
    }

    #[tokio::test]
    async fn a_webhook_is_told_until_it_listens_or_nobody_tries_any_more() {
        let (control, account) = with_account().await;
        let (export, _) = create_with_webhook(&control, account, "a").await;
        let mut runs = Vec::new();
        for second in [2, 3] {
            let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(second), at(second)).await.unwrap();
            let run = control.begin_export_run(run.id, "file:x", at(second)).await.unwrap();
            runs.push(control.fail_export_run(&run, "no", None, at(second)).await.unwrap().id);
        }
        let next = async |second| control.next_export_webhook(at(second)).await.unwrap().map(|run| run.id);
        assert_eq!(next(3).await, Some(runs[0]));
        control.note_export_webhook(runs[0], failed(Some(9))).await.unwrap();
        assert_eq!(next(8).await, Some(runs[1]));
        assert_eq!(next(9).await, Some(runs[0]));
        control.note_export_webhook(runs[0], WebhookOutcome::Delivered).await.unwrap();
        control.note_export_webhook(runs[1], failed(None)).await.unwrap();
        control.note_export_webhook(runs[1], WebhookOutcome::Delivered).await.unwrap();
        assert_eq!(next(99).await, None);

        let told = control.export_runs(export.id, None, 9).await.unwrap();
        let told: Vec<_> =
            told.into_iter().map(|run| (run.webhook_state, run.webhook_attempts, run.webhook_error)).collect();
        let error = Some("it answered 500".to_owned());
        assert_eq!(told, [(WebhookState::Failed, 1, error), (WebhookState::Delivered, 2, None)]);
    }

    #[tokio::test]
    async fn nobody_is_told_of_an_export_that_was_deleted_meanwhile() {
        let (control, account) = with_account().await;
        let (export, _) = create_with_webhook(&control, account, "a").await;
        let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
        let run = control.begin_export_run(run.id, "file:x", at(2)).await.unwrap();
        control.delete_export(None, export.id, at(3)).await.unwrap();
        let ended = control.fail_export_run(&run, "no", None, at(4)).await.unwrap();
        assert_eq!(ended.webhook_state, WebhookState::None);
    }
}
