//! Lists by condition and order: whatever a field offers finds exactly what the values say.

use std::fmt::Write;

use harness::{
    client::Client,
    sample::{self, Sample},
    stack::Stack,
};
use shared::entity::{Field, FieldType, Value};
use strum::VariantArray;

use super::of_each_entity;

of_each_entity!(each_field_filters_and_sorts);

async fn each_field_filters_and_sorts<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create_many::<E>(&client, 0..6).await?;
    for number in 6..12 {
        sample::create::<E>(&client, number).await?;
        client.patch(&E::path(number - 5), &E::change()).await?;
    }
    let listed = client.get(&format!("{}?limit=100", E::PATH)).await?;
    let all: Vec<E> = serde_json::from_value(listed.body["items"].clone())?;
    assert_eq!(all.len(), 12);
    let (mut filtered, mut sorted) = (0, 0);
    for field in E::Field::VARIANTS.iter().copied() {
        if field.facts().filterable {
            filters(&client, &all, field).await?;
            filtered += 1;
        } else {
            refuses::<E>(&client, &format!("{}=1", field.name())).await?;
        }
        if field.facts().sortable {
            sorts(&client, &all, field).await?;
            sorted += 1;
        } else {
            refuses::<E>(&client, &format!("sort={}", field.name())).await?;
        }
    }
    assert!(filtered >= 4 && sorted >= 2, "{filtered} filters, {sorted} sorts");
    for unknown in ["colour=red", "status.like=x", "id.gt=a", "status.prefix=a", "created_at.in=2026-01-01T00:00:00Z"] {
        refuses::<E>(&client, unknown).await?;
    }
    for no_value in ["status=nonsense", "status.in=nonsense", "created_at=yesterday", "created_at.gt=1"] {
        refuses::<E>(&client, no_value).await?;
    }
    // Conditions hold together.
    let one = format!("id.in={},{}&status={}", E::sample_id(0), E::sample_id(1), E::STATUSES[1]);
    assert_eq!(find::<E>(&client, &one).await?, [E::sample_id(1)]);
    if let Some((address, filter)) = E::SCOPE {
        scoped::<E>(&client, address, filter).await?;
    }
    api.stop().await?;
    stack.discard().await
}

/// A list with an address of its own is the same as the filtered one, with the same parameters; but another list.
async fn scoped<E: Sample>(client: &Client, address: &str, filter: &str) -> anyhow::Result<()> {
    for more in ["sort=id&limit=100".to_owned(), format!("sort=-created_at&limit=2&status={}", E::STATUSES[1])] {
        let scoped = client.get(&format!("{}/{address}?{more}", E::PATH)).await?;
        let filtered = client.get(&format!("{}?{filter}&{more}", E::PATH)).await?;
        assert_eq!(scoped.status, 200, "{scoped:?}");
        assert!(scoped.body["items"].as_array().is_some_and(|items| items.len() > 1), "{scoped:?}");
        assert_eq!(
            (&scoped.body["items"], &scoped.body["has_more"]),
            (&filtered.body["items"], &filtered.body["has_more"])
        );
        if let Some(cursor) = scoped.body["next"].as_str() {
            let next = client.get(&format!("{}/{address}?{more}&after={cursor}", E::PATH)).await?;
            assert_eq!(next.status, 200, "{next:?}");
            let elsewhere = client.get(&format!("{}?{more}&after={cursor}", E::PATH)).await?;
            client.check_problem(&elsewhere, 400, "invalid-cursor").await?;
        }
    }
    let (kind, _) = address.split_once('/').unwrap_or_default();
    let nobody = client.get(&format!("{}/{kind}/nobody", E::PATH)).await?;
    assert_eq!((nobody.status.as_u16(), nobody.body["items"].as_array().map(Vec::len)), (200, Some(0)));
    Ok(())
}

async fn refuses<E: Sample>(client: &Client, query: &str) -> anyhow::Result<()> {
    let refused = client.get(&format!("{}?{query}", E::PATH)).await?;
    client.check_problem(&refused, 400, "invalid-parameter").await?;
    assert_eq!(refused.body["errors"][0]["parameter"], query.split('=').next().unwrap_or_default());
    Ok(())
}

/// The ids that a query finds, sorted by themselves.
async fn find<E: Sample>(client: &Client, query: &str) -> anyhow::Result<Vec<String>> {
    let found = client.get(&format!("{}?limit=100&sort=id&{query}", E::PATH)).await?;
    anyhow::ensure!(found.status == 200, "{query}: {found:?}");
    let items: Vec<E> = serde_json::from_value(found.body["items"].clone())?;
    Ok(items.iter().map(|entity| entity.id().to_string()).collect())
}

/// Every operator of the field, with values that the samples have and one that none has.
async fn filters<E: Sample>(client: &Client, all: &[E], field: E::Field) -> anyhow::Result<()> {
    let name = field.name();
    let mut values: Vec<Value<'_>> = all.iter().map(|entity| entity.value(field)).collect();
    values.sort();
    values.dedup();
    values.retain(|value| *value != Value::Null);
    let expect = async |query: String, fits: &(dyn Fn(&Value<'_>) -> bool + Sync)| {
        let mut expected: Vec<String> = all
            .iter()
            .filter(|it| it.value(field) != Value::Null && fits(&it.value(field)))
            .map(|it| it.id().to_string())
            .collect();
        expected.sort();
        assert_eq!(find::<E>(client, &query).await?, expected, "{query}");
        anyhow::Ok(())
    };
    for value in values.iter().take(5) {
        let text = text(value);
        expect(format!("{name}={text}"), &|it| it == value).await?;
        match field.facts().field_type {
            FieldType::Integer | FieldType::Amount | FieldType::Time => {
                expect(format!("{name}.gt={text}"), &|it| it > value).await?;
                expect(format!("{name}.gte={text}"), &|it| it >= value).await?;
                expect(format!("{name}.lt={text}"), &|it| it < value).await?;
                expect(format!("{name}.lte={text}"), &|it| it <= value).await?;
                expect(format!("{name}.gt={text}&{name}.lte={text}"), &|_| false).await?;
            }
            FieldType::Text => {
                let prefix = &text[..text.len().div_ceil(2)];
                let begins = |it: &Value<'_>| matches!(it, Value::Text(it) if it.starts_with(prefix));
                expect(format!("{name}.prefix={prefix}"), &begins).await?;
                // Case and all, and nothing in it is a pattern.
                expect(
                    format!("{name}.prefix={}", swapped(prefix)),
                    &|it| matches!(it, Value::Text(it) if it.starts_with(&swapped(prefix))),
                )
                .await?;
                expect(format!("{name}.prefix=%25"), &|_| false).await?;
                expect(format!("{name}={}", swapped(&text)), &|_| false).await?;
            }
            FieldType::Choice(_) => {}
        }
    }
    if matches!(field.facts().field_type, FieldType::Text | FieldType::Choice(_)) {
        let several: Vec<&Value<'_>> = values.iter().step_by(2).collect();
        let mut query = format!("{name}.in=");
        for value in &several {
            write!(query, "{},", text(value))?;
        }
        expect(query.trim_end_matches(',').to_owned(), &|it| several.contains(&it)).await?;
    }
    Ok(())
}

/// In the other case.
fn swapped(text: &str) -> String {
    let swap = |letter: char| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    text.chars().map(swap).collect()
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Amount(amount) => amount.to_string(),
        Value::Time(time) => time.to_text(),
    }
}

/// Both directions; among equals by the id.
async fn sorts<E: Sample>(client: &Client, all: &[E], field: E::Field) -> anyhow::Result<()> {
    let mut expected: Vec<&E> = all.iter().collect();
    expected.sort_by_key(|it| (it.value(field), it.id().clone()));
    for sort in [field.name().to_owned(), format!("-{}", field.name())] {
        let found = client.get(&format!("{}?limit=100&sort={sort}", E::PATH)).await?;
        let items: Vec<E> = serde_json::from_value(found.body["items"].clone())?;
        let ids = |entities: &[&E]| entities.iter().map(|it| it.id().clone()).collect::<Vec<_>>();
        assert_eq!(ids(&items.iter().collect::<Vec<_>>()), ids(&expected), "{sort}");
        expected.reverse();
    }
    Ok(())
}
