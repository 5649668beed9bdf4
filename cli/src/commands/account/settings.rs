//! `touchline account settings`: what an account has chosen for itself.

use clap::Args;
use serde::Serialize;
use touchline_schemas::config::Config;
use touchline_schemas::control::{AccountSettings, ControlError, SETTINGS};
use touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES;

use crate::app::App;
use crate::commands::{Context, Usage};
use crate::output::{NOTHING, Row, table};

/// What `account settings` takes.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Slug of the account.
    slug: String,
    /// Settings to change, as in `time_zone=Europe/Berlin own_domains=shop.example,pay.example
    /// conversion_values=signup=fixed:12.50,order=property:margin`.
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// A setting to take back, so that it follows the configuration again. May be repeated.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
}

/// A setting as people see it.
#[derive(Debug, Serialize)]
struct SettingRow {
    setting: &'static str,
    value: Option<String>,
    default: String,
}

impl Row for SettingRow {
    const HEADINGS: &[&str] = &["setting", "value", "without it"];

    fn cells(&self) -> Vec<String> {
        let value = self.value.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![self.setting.to_owned(), value, self.default.clone()]
    }
}

/// The settings as programs see them.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    account: &'a str,
    settings: &'a AccountSettings,
}

/// Changes what is to be changed, all or nothing, and shows the outcome.
pub async fn run(args: SettingsArgs, context: &Context, app: &App) -> anyhow::Result<()> {
    let mut account = app.account(&args.slug).await?;
    // What is mistyped is told as such; what is changed is what the settings are by then.
    let settings = changed(account.settings.clone(), &args.changes, &args.unset)?;
    if settings != account.settings {
        let alter = |settings| altered(settings, &args.changes, &args.unset);
        account = app.control.alter_account_settings(account.id, alter, context.clock.now()).await?;
        for remark in remarks(&account.settings) {
            context.output.note(&remark);
        }
    }
    let rows = SETTINGS.map(|setting| SettingRow {
        setting,
        value: account.settings.get(setting),
        default: default(setting, &app.config),
    });
    let answer = Answer { account: &account.slug, settings: &account.settings };
    context.output.answer(&answer, &table(&rows))
}

fn changed(settings: AccountSettings, changes: &[String], unset: &[String]) -> Result<AccountSettings, Usage> {
    if let Some(change) = changes.iter().find(|change| !change.contains('=')) {
        return Err(Usage(format!("`{change}` is not KEY=VALUE")));
    }
    altered(settings, changes, unset).map_err(|error| Usage(error.to_string()))
}

fn altered(
    mut settings: AccountSettings,
    changes: &[String],
    unset: &[String],
) -> Result<AccountSettings, ControlError> {
    for key in unset {
        settings.unset(key)?;
    }
    for (key, value) in changes.iter().filter_map(|change| change.split_once('=')) {
        settings.set(key, value)?;
    }
    Ok(settings)
}

/// What somebody who has changed settings should know.
fn remarks(settings: &AccountSettings) -> Vec<String> {
    let mut remarks = vec![
        "Changed. The tables follow with the next run of their jobs: `touchline jobs run all` does it now.".to_owned(),
    ];
    if let Some(days) = settings.retention_days {
        remarks.push(format!("Events older than {days} days are removed for good by the job `retention`."));
    }
    remarks
}

/// What holds for an account that has not chosen.
fn default(setting: &str, config: &Config) -> String {
    match setting {
        "time_zone" => "UTC".to_owned(),
        "own_domains" => "the page's own host".to_owned(),
        "mask_ip" => config.ingest.mask_ip.to_string(),
        "privacy_signals" => "honour".to_owned(),
        "session_profile" | "channel_rules" => "touchline".to_owned(),
        "session_timeout_minutes" => config.sessions.timeout_minutes.to_string(),
        "session_splits" | "tracked_domains" => "none".to_owned(),
        "conversion_event_types" => DEFAULT_CONVERSION_EVENT_TYPES.join(","),
        "conversion_values" => "the event's revenue".to_owned(),
        "goals" => "none".to_owned(),
        "attribution_lookback_days" => "30".to_owned(),
        "retention_days" => "for ever".to_owned(),
        _ => NOTHING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn changes_are_made_together_or_not_at_all() {
        let before = AccountSettings { mask_ip: Some(true), ..AccountSettings::default() };
        let after = changed(
            before.clone(),
            &texts(&["retention_days=90", "conversion_values=a=revenue"]),
            &texts(&["mask_ip"]),
        );
        let after = after.unwrap();
        assert_eq!((after.retention_days, after.mask_ip), (Some(90), None));
        assert_eq!(after.get("conversion_values").as_deref(), Some("a=revenue"));

        let check = |changes: &[&str], unset: &[&str], expected: &str| {
            let message = changed(before.clone(), &texts(changes), &texts(unset)).unwrap_err().to_string();
            assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
        };
        check(&["retention_days=90", "time_zone=Mars"], &[], "time_zone must be the IANA name");
        check(&["retention_days"], &[], "`retention_days` is not KEY=VALUE");
        check(&[], &["colour"], "there is no setting `colour`");
    }

    #[test]
    fn every_setting_has_a_default_to_show() {
        for setting in SETTINGS {
            assert_ne!(default(setting, &Config::default()), NOTHING, "{setting}");
        }
    }

    #[test]
    fn removal_of_events_is_announced() {
        let remarks = remarks(&AccountSettings { retention_days: Some(90), ..AccountSettings::default() });
        assert!(remarks.iter().any(|remark| remark.contains("older than 90 days")), "{remarks:?}");
    }
}
