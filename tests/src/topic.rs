//! What an administrator of Kafka does to a topic.

use std::time::Duration;

use anyhow::anyhow;
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};
use shared::{config::Kafka, kafka};

use crate::wait;

fn admin(settings: &Kafka) -> anyhow::Result<(AdminClient<DefaultClientContext>, AdminOptions)> {
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
    Ok((kafka::client(settings).create()?, options))
}

/// Gives the topic exactly these settings; every other has its default again.
pub async fn configure(settings: &Kafka, entries: &[(&str, &str)]) -> anyhow::Result<()> {
    let (admin, options) = admin(settings)?;
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&settings.topic));
    for (name, value) in entries {
        change = change.set(name, value);
    }
    for altered in admin.alter_configs([&change], &options).await? {
        altered.map_err(|(_, code)| anyhow!("the topic could not be configured: {code}"))?;
    }
    Ok(())
}

/// Deletes the topic with all that is in it.
pub async fn delete(settings: &Kafka) -> anyhow::Result<()> {
    let (admin, options) = admin(settings)?;
    for deleted in admin.delete_topics(&[&settings.topic], &options).await? {
        deleted.map_err(|(_, code)| anyhow!("the topic could not be deleted: {code}"))?;
    }
    wait::until("the topic is gone", async || Ok(kafka::find_topic(settings).await.is_err().then_some(()))).await
}
