//! The configuration: `configs/config.yaml` compiled in, then a file, then the environment.
//!
//! The environment is read here and nowhere else. A name that does not exist, a value of the wrong type and one that
//! cannot work end the start with one line that names the key.

mod sections;

use std::{collections::HashMap, ffi::OsStr, path::Path};

use config::{Environment, File, FileFormat};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

pub use sections::{
    Cache, Consumer, Database, Delivery, Http, Kafka, LogFormat, Mongodb, Notifications, Orders, Outbox, Redis,
    Scheduler, Server, Telemetry, Users, Worker,
};

const DEFAULTS: &str = include_str!("../../configs/config.yaml");
const PREFIX: &str = "SLUICE";
const SEPARATOR: &str = "__";
const FILE_SUFFIX: &str = "_FILE";

/// What both processes are told. `configs/config.yaml` explains each setting.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub http: Http,
    pub database: Database,
    pub redis: Redis,
    pub kafka: Kafka,
    pub mongodb: Mongodb,
    pub cache: Cache,
    pub outbox: Outbox,
    pub projector: Consumer,
    pub invalidator: Consumer,
    pub notifications: Notifications,
    pub users: Users,
    pub orders: Orders,
    pub scheduler: Scheduler,
    pub worker: Worker,
    pub telemetry: Telemetry,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("configuration: {0}")]
    Source(config::ConfigError),
    #[error("configuration: {key}: {reason}")]
    Key { key: String, reason: String },
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    /// If it is not one that could work; the text is one line that names the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment = std::env::vars_os();
        let environment = environment.filter_map(|(key, value)| Some((into_text(&key)?, into_text(&value)?)));
        Self::from_sources(file, &environment.collect())
    }

    /// As [`load`](Self::load), with a given environment.
    pub fn from_sources(file: Option<&Path>, environment: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Yaml));
        if let Some(path) = file {
            builder = builder.add_source(File::from(path).format(FileFormat::Yaml));
        }
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator(SEPARATOR)
            .separator(SEPARATOR)
            .source(Some(with_secret_files(environment)?));
        let merged = builder.add_source(environment).build().map_err(ConfigError::Source)?;
        let config: Self = serde_path_to_error::deserialize(merged).map_err(|error| ConfigError::Key {
            key: error.path().to_string(),
            reason: first_line(&error.into_inner().to_string()),
        })?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as YAML, secrets hidden.
    ///
    /// # Errors
    /// None that a loaded configuration could cause.
    pub fn to_yaml(&self) -> Result<String, serde_json::Error> {
        let sections = serde_json::to_value(self)?;
        let mut lines = Vec::new();
        for (section, settings) in sections.as_object().into_iter().flatten() {
            lines.push(format!("{section}:"));
            // A JSON scalar is a YAML scalar.
            lines.extend(settings.as_object().into_iter().flatten().map(|(name, value)| format!("  {name}: {value}")));
        }
        Ok(lines.join("\n"))
    }
}

fn into_text(text: &OsStr) -> Option<String> {
    text.to_str().map(str::to_owned)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Replaces `SLUICE__A__B_FILE=path` by `SLUICE__A__B=<what the file holds>`, without the line break at its end.
fn with_secret_files(environment: &HashMap<String, String>) -> Result<HashMap<String, String>, ConfigError> {
    let ours = environment.iter().filter(|(key, _)| key.starts_with("SLUICE__"));
    ours.map(|(key, value)| match key.strip_suffix(FILE_SUFFIX) {
        None => Ok((key.clone(), value.clone())),
        Some(name) if environment.contains_key(name) => {
            Err(ConfigError::Key { key: name.to_owned(), reason: format!("is set, and {key} too") })
        }
        Some(name) => match std::fs::read_to_string(value) {
            Ok(secret) => Ok((name.to_owned(), secret.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                Err(ConfigError::Key { key: key.clone(), reason: format!("{value} cannot be read: {error}") })
            }
        },
    })
    .collect()
}

/// Shows that there is a secret, not which.
fn hidden<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    use secrecy::ExposeSecret;
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { "[hidden]" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::from_sources(None, &environment.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid_and_the_environment_overrides_them() {
        let config = load(&[("SLUICE__SERVER__PORT", "8081"), ("UNRELATED", "x")]).unwrap();
        assert_eq!(config.server.port, 8081);
        assert_eq!(config.server.host, "127.0.0.1");
        // Text stays text, also where it looks like a number.
        let config = load(&[("SLUICE__DATABASE__PASSWORD", "0071e5")]).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&config.database.password), "0071e5");
    }

    #[test]
    fn each_mistake_is_one_line_that_names_its_key() {
        for (key, value, expected) in [
            ("SLUICE__SERVER__PROT", "1", "server"),
            ("SLUICE__SERVER__PORT", "many", "server.port"),
            ("SLUICE__KAFKA__PARTITIONS", "7", "kafka.partitions"),
            ("SLUICE__OUTBOX__LEASE_MS", "10", "outbox.lease_ms"),
            ("SLUICE__DATABASE__PASSWORD_FILE", "/does/not/exist", "SLUICE__DATABASE__PASSWORD_FILE"),
            ("SLUICE__TELEMETRY__LOG_FORMAT", "xml", "telemetry.log_format"),
            ("SLUICE__SEVER__PORT", "1", "sever"),
        ] {
            let error = load(&[(key, value)]).unwrap_err();
            assert!(error.contains(expected), "{key}={value}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_never_shown() {
        let path = std::env::temp_dir().join(format!("sluice-secret-{}", std::process::id()));
        std::fs::write(&path, "geheim\n").unwrap();
        let config = load(&[("SLUICE__DATABASE__PASSWORD_FILE", path.to_str().unwrap())]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&config.database.password), "geheim");
        let shown = config.to_yaml().unwrap() + &format!("{config:?}");
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
