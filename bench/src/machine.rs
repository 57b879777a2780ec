//! What it was measured on.

use anyhow::{Context, ensure};
use serde::Serialize;
use shared::{config::Config, database};
use sqlx::{Connection, MySqlConnection};

#[derive(Clone, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) measured_at: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) mysql: String,
    /// The load average of the minute before: others' work, unless something was measured just now.
    pub(crate) load_before: String,
}

impl Machine {
    /// # Errors
    /// If MySQL loses commits when the machine does: what is measured on it says nothing.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let mut settings = Config::load(None)?.database;
        settings.name.clear();
        let mut connection = MySqlConnection::connect_with(&database::options(&settings)).await?;
        let (mysql, sync_binlog, flush): (String, u32, u32) =
            sqlx::query_as("SELECT VERSION(), @@sync_binlog, @@innodb_flush_log_at_trx_commit")
                .fetch_one(&mut connection)
                .await?;
        ensure!(sync_binlog == 1 && flush == 1, "MySQL's commits are not durable");
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            measured_at: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            processor: processor.context("/proc/cpuinfo names no processor")?.1.to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            mysql,
            load_before: std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}
