//! Lists in parts: by cursor nothing comes twice or is missed, whatever is written meanwhile.

use std::{
    collections::HashSet,
    ops::Range,
    str::FromStr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use harness::{
    client::{Answer, Client},
    sample::{self, Sample},
    stack::Stack,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::entity::{Entity, User};

use super::of_each_entity;

of_each_entity!(by_cursor_while_others_write);
of_each_entity!(in_parts);

/// Samples that stay while others come and go, by id on both sides of them.
const STAYING: Range<usize> = 1_000..1_040;

#[derive(Default)]
struct Writers {
    writes: AtomicUsize,
    stopped: AtomicBool,
}

impl Writers {
    /// Creates, changes and deletes until it is stopped. Of those that it creates every third is left, and none that stays
    /// is deleted.
    async fn write<E: Sample>(&self, client: &Client, from: usize) -> anyhow::Result<()> {
        for number in from..from + 1_000 {
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            sample::create::<E>(client, number).await?;
            let changed = client.patch(&E::path(STAYING.start + number % STAYING.len()), &E::change()).await?;
            ensure!(changed.status == 200, "{changed:?}");
            if !number.is_multiple_of(3) {
                let deleted = client.delete(&E::path(number)).await?;
                ensure!(deleted.status == 204, "{deleted:?}");
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits until each part of a list is another time's than the one before.
    async fn have_written(&self) -> anyhow::Result<()> {
        let before = self.writes.load(Ordering::Relaxed);
        wait::until("something is written", async || Ok((self.writes.load(Ordering::Relaxed) > before).then_some(())))
            .await
    }
}

async fn by_cursor_while_others_write<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create_many::<E>(&client, STAYING).await?;
    let writers = Writers::default();
    let walking = async {
        let walked = async {
            for field in ["created_at", E::IMMUTABLE] {
                for sort in [field.to_owned(), format!("-{field}")] {
                    walk::<E>(&client, &writers, &sort).await.context(sort)?;
                }
            }
            anyhow::Ok(())
        };
        let walked = walked.await;
        writers.stopped.store(true, Ordering::Relaxed);
        walked
    };
    let writing = [0, 2_000].map(|from| writers.write::<E>(&client, from));
    let (walked, written) = tokio::join!(walking, try_join_all(writing));
    walked?;
    written?;
    api.stop().await?;
    stack.discard().await
}

/// Follows the links from the first part to the last.
async fn walk<E: Sample>(client: &Client, writers: &Writers, sort: &str) -> anyhow::Result<()> {
    let (name, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    let field = E::Field::from_str(name).ok().context("no such field")?;
    let mut path = format!("{}?limit=7&sort={sort}", E::PATH);
    let mut seen: Vec<E> = Vec::new();
    loop {
        let part = client.get(&path).await?;
        ensure!(part.status == 200, "{part:?}");
        let items: Vec<E> = serde_json::from_value(part.body["items"].clone())?;
        seen.extend(items);
        ensure!(seen.len() < 2_000, "the list does not end");
        let Some(next) = next_of(&part) else { break };
        ensure!(part.body["has_more"] == true && part.body["items"].as_array().map(Vec::len) == Some(7));
        path = next;
        writers.have_written().await?;
    }
    let place = |entity: &E| (entity.value(field).into_owned(), entity.id().clone());
    for (one, other) in seen.iter().zip(seen.iter().skip(1)) {
        let (lesser, greater) = if descending { (other, one) } else { (one, other) };
        ensure!(place(lesser) < place(greater), "{} does not come before {}", one.id(), other.id());
    }
    let ids: HashSet<&str> = seen.iter().map(|entity| entity.id().as_str()).collect();
    ensure!(ids.len() == seen.len(), "one came twice");
    for number in STAYING {
        ensure!(ids.contains(E::sample_id(number).as_str()), "{} was missed", E::sample_id(number));
    }
    Ok(())
}

/// The path of the next part, by the header; it must say the same as the body.
fn next_of(part: &Answer) -> Option<String> {
    let mut links = part.header("link").split(", ");
    let next = links.find_map(|link| link.strip_suffix(">; rel=\"next\"")?.strip_prefix('<'));
    assert_eq!(next.is_some(), part.body["has_more"] == true, "{part:?}");
    let cursor = part.body["next"].as_str();
    assert!(
        next.is_none_or(|next| cursor.is_some_and(|cursor| next.ends_with(&format!("after={cursor}")))),
        "{part:?}"
    );
    next.map(str::to_owned)
}

fn ids(part: &Answer) -> Vec<&str> {
    let items = part.body["items"].as_array().into_iter().flatten();
    items.map(|item| item["id"].as_str().unwrap_or_default()).collect()
}

async fn in_parts<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    for number in 0..25 {
        sample::create::<E>(&client, number).await?;
    }
    let newest_first = client.get(E::PATH).await?;
    assert_eq!(ids(&newest_first), (5..25).rev().map(E::sample_id).collect::<Vec<_>>());
    assert_eq!((&newest_first.body["limit"], &newest_first.body["has_more"]), (&json!(20), &json!(true)));
    by_offset::<E>(&client).await?;
    counted::<E>(&client).await?;
    refused::<E>(&client).await?;
    a_cursor_is_of_its_list::<E>(&client).await?;
    api.stop().await?;
    stack.discard().await
}

async fn by_offset<E: Sample>(client: &Client) -> anyhow::Result<()> {
    let all: Vec<String> = (0..25).map(E::sample_id).collect();
    let mut walked = Vec::new();
    for offset in [0, 10, 20, 30] {
        let part = client.get(&format!("{}?sort=id&limit=10&offset={offset}", E::PATH)).await?;
        assert_eq!((&part.body["has_more"], &part.body["offset"]), (&json!(offset < 15), &json!(offset)));
        assert!(part.header("link").contains(&format!("&offset={offset}>; rel=\"self\"")), "{part:?}");
        assert!(part.header("link").contains(&format!("<{}?sort=id&limit=10>; rel=\"first\"", E::PATH)), "{part:?}");
        walked.extend(ids(&part).into_iter().map(str::to_owned));
    }
    assert_eq!(walked, all);
    // Who began by offset may go on by cursor.
    let begun = client.get(&format!("{}?sort=id&limit=10&offset=5", E::PATH)).await?;
    let gone_on = client.get(&next_of(&begun).context("no next")?).await?;
    assert_eq!(ids(&gone_on), all[15..].iter().map(String::as_str).collect::<Vec<_>>());
    Ok(())
}

async fn counted<E: Sample>(client: &Client) -> anyhow::Result<()> {
    let plain = client.get(&format!("{}?limit=3", E::PATH)).await?;
    assert_eq!((&plain.body["total"], plain.header("preference-applied")), (&Value::Null, ""));
    let prefer = [("Prefer", "respond-async, count=exact")];
    let counted = client.ask(Method::GET, &format!("{}?limit=3", E::PATH), &prefer, &Value::Null).await?;
    assert_eq!((&counted.body["total"], counted.header("preference-applied")), (&json!(25), "count=exact"));
    let filtered = format!("{}?id.in={},{},nobody", E::PATH, E::sample_id(3), E::sample_id(4));
    let counted = client.ask(Method::GET, &filtered, &prefer, &Value::Null).await?;
    assert_eq!(counted.body["total"], 2);
    Ok(())
}

async fn refused<E: Sample>(client: &Client) -> anyhow::Result<()> {
    for query in ["limit=0", "limit=101", "limit=many", "offset=10001", "offset=-1", "sort=nothing", "sort=version"] {
        let refused = client.get(&format!("{}?{query}", E::PATH)).await?;
        client.check_problem(&refused, 400, "invalid-parameter").await?;
        assert_eq!(refused.body["errors"][0]["parameter"], query.split('=').next().unwrap_or_default());
    }
    // All that is wrong is told.
    let refused = client.get(&format!("{}?limit=0&colour=red&id.like=x", E::PATH)).await?;
    client.check_problem(&refused, 400, "invalid-parameter").await?;
    let told: Vec<&str> = refused.violations().into_iter().map(|(parameter, _)| parameter).collect();
    assert_eq!(told, ["colour", "id.like", "limit"]);
    Ok(())
}

async fn a_cursor_is_of_its_list<E: Sample>(client: &Client) -> anyhow::Result<()> {
    let part = client.get(&format!("{}?limit=2&sort=id&status={}", E::PATH, E::STATUSES[0])).await?;
    let cursor = part.body["next"].as_str().context("no cursor")?.to_owned();
    let of_this_list = format!("{}?sort=id&status={}&limit=3&after={cursor}", E::PATH, E::STATUSES[0]);
    let gone_on = client.get(&of_this_list).await?;
    assert_eq!(ids(&gone_on), [2, 3, 4].map(E::sample_id), "the limit may change");

    let other_kind = if E::KIND == User::KIND { "/api/v1/products" } else { "/api/v1/users" };
    let query = |sort: &str, status: &str| format!("sort={sort}&status={status}&after={cursor}");
    let mut others = vec![
        format!("{}?{}", E::PATH, query("-id", E::STATUSES[0])),
        format!("{}?{}", E::PATH, query("created_at", E::STATUSES[0])),
        format!("{}?{}", E::PATH, query("id", E::STATUSES[1])),
        format!("{}?sort=id&after={cursor}", E::PATH),
        format!("{}&created_at.gte=2020-01-01T00:00:00Z", of_this_list),
        format!("{other_kind}?sort=id&status=active&after={cursor}"),
        format!("{}?sort=id&status={}&after=", E::PATH, E::STATUSES[0]),
    ];
    for at in (0..cursor.len()).step_by(5).chain([cursor.len() - 1]) {
        let mut tampered = cursor.clone();
        tampered.replace_range(at..=at, if &cursor[at..=at] == "A" { "B" } else { "A" });
        others.push(of_this_list.replace(&cursor, &tampered));
    }
    for path in others {
        let refused = client.get(&path).await?;
        client.check_problem(&refused, 400, "invalid-cursor").await.context(path)?;
    }
    let both = client.get(&format!("{of_this_list}&offset=2")).await?;
    client.check_problem(&both, 400, "invalid-parameter").await
}
