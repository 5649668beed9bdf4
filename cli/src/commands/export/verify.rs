//! `touchline export verify`: whether a folder holds what its manifest says.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use touchline_exports::destination::{ConfiguredPlaces, Folder, Places as _, S3Access};
use touchline_exports::manifest::{SignedManifest, Signer};
use touchline_exports::verify::{self, Verified};
use touchline_schemas::control::SigningSecret;
use touchline_schemas::export::Destination;

use super::{Context, Outcome};

const S3: &str = "s3://";

/// What is looked at, and with which key.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The manifest: a file, or `s3://bucket/…/manifest.json`.
    manifest: String,
    /// File with the secret that signed it [default: the key that it names, from this installation].
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    manifest: String,
    export: String,
    run_id: i64,
    sequence: i64,
    files: u64,
    rows: u64,
    bytes: u64,
    key_id: String,
    differences: Vec<String>,
}

/// Compares, and prints a line for each difference.
pub async fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let (folder, file) = place(context, &args.manifest)?;
    let (signed, manifest_sha256) = verify::read(&folder, &file).await?;
    let signer = signer(context, args, &signed).await?;
    let verified = verify::verify(&folder, signed, manifest_sha256, signer.as_ref()).await?;
    let findings = Findings::of(&args.manifest, &verified);
    let text = if findings.differences.is_empty() { findings.summary() } else { findings.differences.join("\n") };
    context.output.answer(&findings, &text)?;
    Ok(if findings.differences.is_empty() { Outcome::Done } else { Outcome::Failed })
}

/// The folder that holds the manifest, and the manifest's name in it.
fn place(context: &Context, manifest: &str) -> anyhow::Result<(Folder, String)> {
    let Some(in_bucket) = manifest.strip_prefix(S3) else {
        let path = Path::new(manifest);
        let name = path.file_name().and_then(|name| name.to_str()).context("a manifest is a file")?;
        return Ok((Folder::holding(path)?, name.to_owned()));
    };
    let (folder, name) = in_bucket.rsplit_once('/').context("a manifest is s3://bucket/…/manifest.json")?;
    let destination: Destination = format!("{S3}{folder}").parse()?;
    let s3 = S3Access::from(&context.settings()?.config.exports.s3);
    Ok((ConfiguredPlaces { root: PathBuf::new(), s3 }.open(&destination)?, name.to_owned()))
}

/// The key that the manifest names, or the one that is given; none if nobody knows it.
async fn signer(context: &Context, args: &VerifyArgs, signed: &SignedManifest) -> anyhow::Result<Option<Signer>> {
    let key_id = &signed.signature.key_id;
    let Some(path) = &args.secret_file else {
        let key = context.app().await?.control.signing_key(key_id).await?;
        return Ok(key.as_ref().map(Signer::from));
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let secret = SigningSecret::parse(&text);
    let secret =
        secret.with_context(|| format!("{} holds no secret: `whsec_` and 32 bytes in base64", path.display()))?;
    Ok(Some(Signer::new(key_id.clone(), &secret)))
}

impl Findings {
    fn of(manifest: &str, verified: &Verified) -> Self {
        let said = &verified.signed.manifest;
        Self {
            manifest: manifest.to_owned(),
            export: said.export.name.clone(),
            run_id: said.run_id.0,
            sequence: said.sequence,
            files: said.totals.files,
            rows: said.totals.rows,
            bytes: said.totals.bytes,
            key_id: verified.signed.signature.key_id.clone(),
            differences: verified.differences.iter().map(ToString::to_string).collect(),
        }
    }

    fn summary(&self) -> String {
        let Self { manifest, export, sequence, files, rows, key_id, .. } = self;
        format!("{manifest}: {export}, number {sequence}: {files} files and {rows} rows are as signed by {key_id}")
    }
}
