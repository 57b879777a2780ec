//! `sluice-worker outbox parked`: events that Kafka does not take.

use std::{
    fs::File,
    io::{BufWriter, Write, stdout},
    path::PathBuf,
};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Subcommand;
use serde_json::{Value, json};
use shared::{
    config::Config,
    outbox::{self, MOST_LISTED, Order, ParkedEvent, ParkedPayload, Which},
};
use uuid::Uuid;

use super::{
    Actor, connect, limited,
    outbox::checked,
    output::{row, say, say_json, table},
    ring,
};

#[derive(Subcommand)]
pub(super) enum Parked {
    /// Lists the events that somebody has to decide about, with how many wait behind each.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// All events of one entity, such as user:ann.
        #[arg(long, value_name = "KIND:ID", value_parser = entity)]
        entity: Option<Which>,
        /// Also those that wait behind others, and those that were discarded.
        #[arg(long, conflicts_with = "entity")]
        all: bool,
    },
    /// Shows an event with its payload, as JSON.
    Show { event_id: Uuid },
    /// Lets an event be published after all, and what waits behind it.
    Replay {
        event_id: Uuid,
        /// The repaired event: its id, type, entity, entityid and entityversion must be the same.
        #[arg(long, value_name = "FILE")]
        payload: Option<PathBuf>,
        #[command(flatten)]
        actor: Actor,
    },
    /// Never publishes an event; what waits behind it is published.
    Discard {
        event_id: Uuid,
        /// Why, for the log of what operators did.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        actor: Actor,
    },
    /// Writes all parked events as JSON, one a line, with their payloads.
    Export {
        /// Where to, instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

fn entity(text: &str) -> Result<Which, String> {
    match text.split_once(':') {
        Some((kind, id)) if !kind.is_empty() && !id.is_empty() => Ok(Which::Entity(kind.to_owned(), id.to_owned())),
        _ => Err("must be a kind and an id, such as user:ann".to_owned()),
    }
}

impl Parked {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let mut connection = connect(config).await?;
        match self {
            Self::List { json, entity, all } => {
                let which = entity.unwrap_or(if all { Which::All } else { Which::Poison });
                let events = limited(outbox::list(&mut connection, &which)).await?;
                show(&events, json)
            }
            Self::Show { event_id } => {
                let mut found = None;
                let take = |event| {
                    found = Some(whole(event));
                    Ok(())
                };
                limited(outbox::export(&mut connection, &Which::One(event_id), take)).await?;
                let event = found.with_context(|| format!("no event {event_id} is parked"))?;
                say(&serde_json::to_string_pretty(&event?)?)
            }
            Self::Replay { event_id, payload, actor } => {
                let payload = payload.map(|path| {
                    std::fs::read(&path).with_context(|| format!("--payload: {} cannot be read", path.display()))
                });
                let (payload, order) = (payload.transpose()?, Order { actor: actor.name()?, reason: None });
                limited(outbox::replay(&mut connection, event_id, payload.as_deref(), &order)).await?;
                ring(config).await;
                say(&format!("{event_id} will be published, and what waits behind it"))
            }
            Self::Discard { event_id, reason, actor } => {
                let order = Order { actor: actor.name()?, reason: Some(checked(&reason)?) };
                limited(outbox::discard(&mut connection, event_id, &order)).await?;
                ring(config).await;
                say(&format!("{event_id} will not be published; what waits behind it will"))
            }
            Self::Export { out } => export(&mut connection, out).await,
        }
    }
}

fn show(events: &[ParkedEvent], json: bool) -> anyhow::Result<()> {
    if json {
        return events.iter().try_for_each(say_json);
    }
    if events.is_empty() {
        return say("nothing is parked");
    }
    let mut rows = vec![row(["EVENT", "ENTITY", "VERSION", "BYTES", "BEHIND", "PARKED", "TRIED", "STATE", "WHY"])];
    rows.extend(events.iter().map(|event| {
        let state = if event.reason == "blocked" { &event.reason } else { &event.state };
        row([
            &event.event_id.to_string(),
            &format!("{}:{}", event.kind, event.entity_id),
            &event.version.to_string(),
            &event.payload_bytes.to_string(),
            &event.blocked.to_string(),
            &event.parked_at,
            &event.attempts.to_string(),
            state,
            event.error.as_deref().unwrap_or_default(),
        ])
    }));
    say(&table(&rows))?;
    if events.len() == MOST_LISTED as usize {
        say(&format!("these are the first {MOST_LISTED}; `outbox parked export` writes all"))?;
    }
    Ok(())
}

/// With headers and payload: as text where that is what they are, and in Base64 where not.
fn whole(event: ParkedPayload) -> serde_json::Result<Value> {
    let ParkedPayload { event, crc32c, headers, payload } = event;
    let checksum_is_right = outbox::checksum(&payload) == crc32c;
    let mut shown = serde_json::to_value(event)?;
    shown["crc32c"] = json!(crc32c);
    shown["checksum_is_right"] = json!(checksum_is_right);
    for (name, bytes) in [("headers", headers), ("payload", payload)] {
        match String::from_utf8(bytes) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => shown[name] = json!(text),
            Ok(text) => shown[format!("{name}_base64")] = json!(BASE64_STANDARD.encode(text)),
            Err(error) => shown[format!("{name}_base64")] = json!(BASE64_STANDARD.encode(error.as_bytes())),
        }
    }
    Ok(shown)
}

async fn export(connection: &mut sqlx::MySqlConnection, out: Option<PathBuf>) -> anyhow::Result<()> {
    let mut target: Box<dyn Write + Send> = match &out {
        Some(path) => Box::new(BufWriter::new(
            File::create(path).with_context(|| format!("--out: {} cannot be written", path.display()))?,
        )),
        None => Box::new(BufWriter::new(stdout())),
    };
    let count = outbox::export(connection, &Which::All, |event| writeln!(target, "{}", whole(event)?)).await?;
    target.flush().context("the export could not be written")?;
    match out {
        Some(path) => say(&format!("{count} events were written to {}", path.display())),
        None => Ok(()),
    }
}
