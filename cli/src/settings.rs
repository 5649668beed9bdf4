//! Where the settings come from: flag, then environment, then configuration file, then default.

use std::path::{Path, PathBuf};

use touchline_schemas::config::{Config, ConfigError, S3Config, Secret};
use touchline_schemas::paths::DataDir;

use crate::args::GlobalArgs;
use crate::environment::Environment;

/// The data directory unless another is named.
pub const DEFAULT_DATA_DIR: &str = "touchline-data";
/// The configuration file that is read when it is there and no other is named.
const DEFAULT_CONFIG_FILE: &str = "touchline.toml";
const CONFIG_VARIABLE: &str = "TOUCHLINE_CONFIG";
const DATA_DIR_VARIABLE: &str = "TOUCHLINE_DATA_DIR";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in the configuration file is wrong.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// Something in the environment is wrong.
    #[error(transparent)]
    Environment(ConfigError),
}

/// What a command works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration, the environment's variables laid over it.
    pub config: Config,
    /// The file that it was read from.
    pub config_file: Option<PathBuf>,
    /// Where everything of this installation is.
    pub data_dir: DataDir,
}

impl Settings {
    /// Reads the settings; `default_data_dir` is what the data directory is called unless somebody says otherwise.
    pub fn load(global: &GlobalArgs, environment: &Environment, default_data_dir: &str) -> Result<Self, SettingsError> {
        let config_file = config_file(global, environment, Path::is_file);
        let config = match &config_file {
            Some(path) => read(path)?,
            None => Config::default(),
        };
        let mut config = config.apply_env(environment.variables()).map_err(SettingsError::Environment)?;
        take_usual_names(&mut config.exports.s3, environment);
        Ok(Self { config, config_file, data_dir: data_dir(global, environment, default_data_dir) })
    }
}

/// What nobody has configured of the object store comes from the variables that AWS gave names to: credentials all
/// together or not at all.
fn take_usual_names(s3: &mut S3Config, environment: &Environment) {
    let get = |names: &[&str]| names.iter().find_map(|name| environment.get(name));
    let text = |names: &[&str]| get(names).map(str::to_owned);
    s3.endpoint = s3.endpoint.take().or_else(|| text(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    s3.region = s3.region.take().or_else(|| text(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    if s3.access_key_id.is_none() && s3.secret_access_key.is_none() {
        s3.access_key_id = text(&["AWS_ACCESS_KEY_ID"]);
        s3.secret_access_key = get(&["AWS_SECRET_ACCESS_KEY"]).map(Secret::from);
        s3.session_token = get(&["AWS_SESSION_TOKEN"]).map(Secret::from);
    }
}

fn read(path: &Path) -> Result<Config, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    Config::from_toml(&text).map_err(|source| SettingsError::File { path: path.to_owned(), source })
}

/// A file that somebody named must be there; the default one need not.
fn config_file(global: &GlobalArgs, environment: &Environment, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let named = global.config.clone().or_else(|| environment.get(CONFIG_VARIABLE).map(PathBuf::from));
    named.or_else(|| Some(PathBuf::from(DEFAULT_CONFIG_FILE)).filter(|path| exists(path)))
}

fn data_dir(global: &GlobalArgs, environment: &Environment, default: &str) -> DataDir {
    let named = global.data_dir.clone().or_else(|| environment.get(DATA_DIR_VARIABLE).map(PathBuf::from));
    DataDir::new(named.unwrap_or_else(|| Path::new(".").join(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(config: Option<&str>, data_dir: Option<&str>) -> GlobalArgs {
        GlobalArgs {
            config: config.map(PathBuf::from),
            data_dir: data_dir.map(PathBuf::from),
            json: false,
            log_format: None,
        }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_default() {
        let check = |flag: Option<&str>, variable: Option<&str>, expected: &str| {
            let variables: Vec<_> = variable.map(|value| ("TOUCHLINE_DATA_DIR", value)).into_iter().collect();
            let found = data_dir(&global(None, flag), &environment(&variables), "usual");
            assert_eq!(found.root(), Path::new(expected), "{flag:?} {variable:?}");
        };
        check(Some("flag"), Some("variable"), "flag");
        check(None, Some("variable"), "variable");
        check(None, Some(""), "./usual");
        check(None, None, "./usual");
    }

    #[test]
    fn only_the_default_file_may_be_missing() {
        let check = |flag: Option<&str>, variable: Option<&str>, is_there: bool, expected: Option<&str>| {
            let variables: Vec<_> = variable.map(|value| ("TOUCHLINE_CONFIG", value)).into_iter().collect();
            let found = config_file(&global(flag, None), &environment(&variables), |_| is_there);
            assert_eq!(found.as_deref(), expected.map(Path::new));
        };
        check(Some("flag.toml"), Some("variable.toml"), false, Some("flag.toml"));
        check(None, Some("variable.toml"), false, Some("variable.toml"));
        check(None, None, true, Some("touchline.toml"));
        check(None, None, false, None);
    }

    #[test]
    fn the_environment_is_laid_over_the_configuration() {
        let variables = environment(&[("TOUCHLINE_SERVER__LISTEN", "127.0.0.1:9"), ("HOME", "/nowhere")]);
        let config = Config::default().apply_env(variables.variables()).expect("valid");
        assert_eq!(config.server.listen.port(), 9);
    }
}
