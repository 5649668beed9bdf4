//! `touchline erase`: a person out of everything, with a certificate.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use touchline_jobs::erase::{Certificate, MIN_SEARCHED_BYTES};
use touchline_schemas::control::NewErasure;

use super::{Context, Outcome};
use crate::output::count;

/// What `erase` takes.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// Slug of the account whose person it is.
    #[arg(long, value_name = "SLUG")]
    pub account: String,
    /// A visitor id, user id or person id. Every id that belongs to the same person is erased with it. May be given
    /// several times.
    #[arg(long = "person", required = true, value_name = "ID")]
    pub people: Vec<String>,
    /// Only says what would be taken out of the tables.
    #[arg(long)]
    pub dry_run: bool,
    /// File to which the certificate is written, as JSON.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Who asked, in words that may stand in the certificate.
    #[arg(long, value_name = "TEXT")]
    pub requested_by: Option<String>,
}

/// Erases, and fails when anything of the person is left.
pub async fn run(args: EraseArgs, context: &Context) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    let account = app.account(&args.account).await?;
    let lake = app.open_lake().await?;
    let runner = app.runner(app.query_engine(&lake)?)?;
    let (ids, requested_by, is_dry_run) = (args.people, args.requested_by, args.dry_run);
    let new = NewErasure { account_id: account.id, ids, requested_by, is_dry_run };
    let certificate = app.eraser(&lake, runner).erase(new).await?;
    if let Some(path) = &args.certificate {
        let text = serde_json::to_string_pretty(&certificate)?;
        std::fs::write(path, text)
            .with_context(|| format!("the certificate cannot be written to {}", path.display()))?;
    }
    context.output.answer(&certificate, &text(&certificate, args.dry_run))?;
    if certificate.has_short_ids {
        context.output.note(&format!(
            "ids of less than {MIN_SEARCHED_BYTES} bytes are only found where they stand alone, not inside of texts"
        ));
    }
    let is_clean = certificate.verification.occurrences == 0;
    Ok(if is_clean { Outcome::Done } else { Outcome::Failed })
}

fn text(certificate: &Certificate, is_dry_run: bool) -> String {
    let rows: u64 = certificate.tables.iter().map(|table| table.rows_removed).sum();
    let texts: u64 = certificate.tables.iter().map(|table| table.texts_replaced).sum();
    let (ids, shared) = (certificate.id_hashes.len(), certificate.shared_ids);
    let tables = format!(
        "{ids} ids of one person and {shared} shared with others: {} rows, and ids in {} texts of other rows",
        count(rows),
        count(texts)
    );
    if is_dry_run {
        return format!("would erase {tables}");
    }
    let checked = &certificate.verification;
    let mut lines = vec![
        format!("erased {tables}; {} files deleted", count(certificate.deleted_files.len() as u64)),
        format!(
            "{} files with {} bytes looked through afterwards: found {} times",
            count(checked.files),
            count(checked.bytes),
            count(checked.occurrences)
        ),
    ];
    lines.extend(checked.found_in.iter().map(|path| format!("found in {path}")));
    lines.extend(certificate.unreadable_files.iter().map(|path| format!("cannot be read: {path}")));
    lines.join("\n")
}
