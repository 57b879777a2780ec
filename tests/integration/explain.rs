//! What ordinary reads cost on large tables: rows that are touched, as the server counts them, and its own plans.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::stack::Stack;
use shared::{
    config, database,
    entity::{
        Entity, Field, FieldType, Order, OrderField, Payment, PaymentField, Product, ProductField, User, UserField,
        Value,
    },
    query::{Position, Query, Sort},
    repository::{MySqlRepository, ReadError, Repository},
    specification::{Specification, Test},
};
use sqlx::{Executor, MySqlConnection, MySqlPool};
use strum::VariantArray;

const USERS: u32 = 200_000;
const PRODUCTS: u32 = 20_000;
const ORDERS: u32 = 50_000;
const PAYMENTS: u32 = 50_000;
const LIMIT: u32 = 100;

/// Numbers from 0, as many as the statement behind takes.
const NUMBERS: &str = "WITH RECURSIVE digits (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM digits WHERE d < 9), \
                       numbers AS (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d AS n \
                       FROM digits a, digits b, digits c, digits e, digits f, digits g) ";

/// Straight into the tables: only reading is of interest here.
async fn fill(mysql: &mut MySqlConnection) -> anyhow::Result<()> {
    let time = "TIMESTAMP('2026-01-01') + INTERVAL n DIV 3 SECOND";
    let rows = [
        format!(
            "INSERT INTO users (id, email, name, status, version, created_at, updated_at) {NUMBERS} \
             SELECT CONCAT('u', LPAD(n * 7919 % {USERS}, 6, '0')), CONCAT('m', n % 150000, '@example.com'), \
             CONCAT('Name ', n % 100000), IF(n % 20 = 0, 'suspended', 'active'), 1, {time}, {time} \
             FROM numbers WHERE n < {USERS}"
        ),
        format!(
            "INSERT INTO products (id, sku, name, category, price, currency, stock, status, attributes, version, \
             created_at, updated_at) {NUMBERS} SELECT CONCAT('p', n), CONCAT('S', n), CONCAT('Thing ', n % 9000), \
             CONCAT('c', n % 50), (n % 5000) / 10, 'USD', n % 100, IF(n % 20 = 0, 'archived', 'active'), '{{}}', 1, \
             {time}, {time} FROM numbers WHERE n < {PRODUCTS}"
        ),
        format!(
            "INSERT INTO orders (id, user_id, status, total_amount, currency, version, created_at, updated_at) \
             {NUMBERS} SELECT CONCAT('o', n), CONCAT('u', LPAD(n % 5000, 6, '0')), \
             ELT(1 + n % 7, 'pending', 'confirmed', 'processing', 'shipped', 'delivered', 'returned', 'cancelled'), \
             (n % 9000) / 10, 'USD', 1, {time}, {time} FROM numbers WHERE n < {ORDERS}"
        ),
        format!(
            "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price) {NUMBERS} \
             SELECT CONCAT('o', n), 0, CONCAT('p', n % {PRODUCTS}), 1, (n % 9000) / 10 FROM numbers WHERE n < {ORDERS}"
        ),
        format!(
            "INSERT INTO payments (id, user_id, order_id, amount, currency, gateway, status, version, created_at, \
             updated_at) {NUMBERS} SELECT CONCAT('y', n), CONCAT('u', LPAD(n % 5000, 6, '0')), \
             IF(n % 3 = 0, NULL, CONCAT('o', n)), (n % 7000) / 10, 'USD', 'stripe', \
             ELT(1 + n % 6, 'pending', 'processing', 'completed', 'failed', 'cancelled', 'refunded'), 1, {time}, {time} \
             FROM numbers WHERE n < {PAYMENTS}"
        ),
        "ANALYZE TABLE users, products, orders, order_items, payments".to_owned(),
    ];
    for statement in rows {
        mysql.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement))).await?;
    }
    Ok(())
}

/// What the server did for one statement.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Rows and index entries that were read.
    read: i64,
    sorted: i64,
}

/// The only connection of its pool, so that the session's counters are of what is run on it.
struct Meter {
    pool: MySqlPool,
    /// Of asking for the counters.
    overhead: Cost,
    reads: u32,
    /// The list that read most.
    most: (i64, String),
}

impl Meter {
    async fn new(settings: &config::Database) -> anyhow::Result<Self> {
        let settings = config::Database { max_connections: 1, read_timeout_ms: 60_000, ..settings.clone() };
        let (pool, most) = (database::pool(&settings), (0, String::new()));
        let mut meter = Self { pool, overhead: Cost::default(), reads: 0, most };
        // Of the first statements of a connection the server reads more.
        meter.cost(async { Ok(()) }).await?;
        meter.overhead = meter.cost(async { Ok(()) }).await?.1;
        Ok(meter)
    }

    fn repository<E: Entity>(&self) -> MySqlRepository<E> {
        MySqlRepository::new(self.pool.clone())
    }

    async fn cost<T>(&mut self, read: impl Future<Output = Result<T, ReadError>>) -> anyhow::Result<(T, Cost)> {
        self.reads += 1;
        let before = self.counters().await?;
        let answer = read.await?;
        let after = self.counters().await?;
        let read = after.read - before.read - self.overhead.read;
        Ok((answer, Cost { read, sorted: after.sorted - before.sorted - self.overhead.sorted }))
    }

    async fn counters(&self) -> anyhow::Result<Cost> {
        let statement = "SHOW SESSION STATUS WHERE variable_name LIKE 'Handler_read%' OR variable_name = 'Sort_rows'";
        let counters: Vec<(String, String)> = sqlx::query_as(statement).fetch_all(&self.pool).await?;
        let mut cost = Cost::default();
        for (name, value) in counters {
            let counter = if name == "Sort_rows" { &mut cost.sorted } else { &mut cost.read };
            *counter += value.parse::<i64>()?;
        }
        Ok(cost)
    }

    /// A list that an index gives in its order: as many rows as are shown, or a few times that.
    async fn is_cheap<E: Entity>(&mut self, what: &str, query: &Query<E>) -> anyhow::Result<()> {
        let repository = self.repository::<E>();
        let (page, cost) = self.cost(repository.find(query)).await?;
        let what = format!("{} {what}: {} items, {cost:?}", E::KIND, page.items.len());
        if cost.read > self.most.0 {
            self.most = (cost.read, what.clone());
        }
        let plan = repository.explain(query).await?.replace(' ', "");
        // As the older form of a plan calls it, and the newer one.
        let scans = plan.contains("\"access_type\":\"ALL\"") || plan.contains("Tablescanon");
        ensure!(!scans, "{what}: {plan}");
        ensure!(cost.read <= i64::from(LIMIT) * 8, "{what}: {plan}");
        ensure!(cost.sorted <= i64::from(LIMIT) + 1, "{what}: {plan}");
        Ok(())
    }
}

fn list<E: Entity>(conditions: Vec<Specification<E>>, sort: Sort<E::Field>, position: Position) -> Query<E> {
    Query { specification: Specification::All(conditions), sort, position, limit: LIMIT }
}

fn sorts<E: Entity>() -> anyhow::Result<Vec<Sort<E::Field>>> {
    let sortable = E::Field::VARIANTS.iter().filter(|field| field.facts().sortable);
    let both = sortable.flat_map(|field| [field.name().to_owned(), format!("-{}", field.name())]);
    both.map(|sort| Sort::parse(&sort).context("a sort")).collect()
}

/// The list as it is, by every sort, also from a cursor in the middle; and by every filter, newest first.
async fn lists<E: Entity>(meter: &mut Meter) -> anyhow::Result<()> {
    let from_start = Position::Offset(0);
    meter.is_cheap::<E>("newest first", &list(vec![], Sort::default(), from_start.clone())).await?;
    let repository = meter.repository::<E>();
    let middle = list(vec![], Sort::default(), Position::Offset(9_000));
    let middle = repository.find(&middle).await?.items.pop().context("an entity in the middle")?;
    for sort in sorts::<E>()? {
        let first = list::<E>(vec![], sort, from_start.clone());
        meter.is_cheap(&format!("by {sort}"), &first).await?;
        let next = list::<E>(vec![], sort, first.after(&middle));
        meter.is_cheap(&format!("by {sort} from a cursor"), &next).await?;
    }
    for field in E::Field::VARIANTS.iter().copied().filter(|field| field.facts().filterable) {
        let value = middle.value(field).into_owned();
        if value == Value::Null {
            continue;
        }
        let mut tests = vec![("eq", Test::Eq(value.clone()))];
        if !matches!(field.facts().field_type, FieldType::Time | FieldType::Amount | FieldType::Integer) {
            tests.push(("in", Test::In(vec![value.clone()])));
        }
        if field.facts().field_type == FieldType::Text
            && let Value::Text(text) = &value
        {
            tests.push(("prefix", Test::Prefix(text.to_string())));
        }
        for (operator, test) in tests {
            let condition = Specification::is(field, test);
            let first = list::<E>(vec![condition.clone()], Sort::default(), from_start.clone());
            meter.is_cheap(&format!("with {} {operator}", field.name()), &first).await?;
            let next = list::<E>(vec![condition], Sort::default(), first.after(&middle));
            meter.is_cheap(&format!("with {} {operator} from a cursor", field.name()), &next).await?;
        }
        // A range in its own order.
        let ranges = [("gte", Test::Gte(value.clone())), ("lt", Test::Lt(value.clone()))];
        for (operator, test) in ranges.into_iter().filter(|_| field.facts().sortable) {
            let sort = Sort::parse(field.name()).context("a sort")?;
            let range = list::<E>(vec![Specification::is(field, test)], sort, from_start.clone());
            meter.is_cheap(&format!("with {} {operator}, by it", field.name()), &range).await?;
        }
    }
    let (found, cost) = meter.cost(repository.get(middle.id())).await?;
    ensure!(found.is_some() && cost.read <= 10 && cost.sorted == 0, "get: {cost:?}");
    Ok(())
}

/// The routes with a scope of their own, and with a filter beside it.
async fn scopes(meter: &mut Meter) -> anyhow::Result<()> {
    let user = Value::Text("u000042".into());
    let from_start = Position::Offset(0);
    let of_user = Specification::is(OrderField::UserId, Test::Eq(user.clone()));
    meter.is_cheap::<Order>("of a user", &list(vec![of_user], Sort::default(), from_start.clone())).await?;
    let of_user = Specification::is(PaymentField::UserId, Test::Eq(user));
    meter.is_cheap::<Payment>("of a user", &list(vec![of_user], Sort::default(), from_start.clone())).await?;
    let category = Specification::is(ProductField::Category, Test::Eq(Value::Text("c7".into())));
    meter.is_cheap::<Product>("of a category", &list(vec![category], Sort::default(), from_start)).await?;
    for beginning in ["Name 4242", "m4242", "n", "zzz"] {
        let pool = meter.pool.clone();
        let read = async { Ok(shared::entity::search_users(&pool, beginning, LIMIT).await?) };
        let (found, cost) = meter.cost(read).await?;
        println!("users beginning with {beginning}: {} items, {cost:?}", found.len());
        ensure!(cost.read <= i64::from(LIMIT) * 8 && cost.sorted == 0, "{beginning}: {cost:?}");
    }
    Ok(())
}

/// What may scan does so within its time.
async fn exceptions(meter: &mut Meter, limit: Duration) -> anyhow::Result<()> {
    let text = |text: &'static str| Value::Text(text.into());
    let contains = Specification::<User>::is(UserField::Name, Test::Contains("77".to_owned()));
    let different = Specification::Any(vec![
        Specification::is(UserField::Name, Test::Eq(text("Name 7"))),
        Specification::is(UserField::Email, Test::Eq(text("m7@example.com"))),
    ]);
    let scans = [
        ("contains", contains.clone()),
        ("ne", Specification::is(UserField::Status, Test::Ne(text("active")))),
        ("not", Specification::Not(Box::new(contains))),
        ("any over different fields", different),
    ];
    let repository = meter.repository::<User>();
    for (what, specification) in scans {
        let begun = Instant::now();
        let (count, _) = meter.cost(repository.count(&specification)).await?;
        let counted = begun.elapsed();
        let query = Query { specification, sort: Sort::default(), position: Position::Offset(10_000), limit: LIMIT };
        meter.cost(repository.find(&query)).await?;
        println!("{what}: {count} counted in {counted:?}, with a deep part {:?}", begun.elapsed());
        ensure!(begun.elapsed() < limit, "{what} took {:?}", begun.elapsed());
    }
    Ok(())
}

/// All users, page by page: the last pages cost what the first do.
async fn pages(meter: &mut Meter) -> anyhow::Result<()> {
    let repository = meter.repository::<User>();
    let mut query = list::<User>(vec![], Sort::default(), Position::Offset(0));
    let (mut times, mut seen) = (Vec::new(), 0);
    loop {
        let begun = Instant::now();
        let page = repository.find(&query).await?;
        times.push(begun.elapsed());
        seen += page.items.len();
        match page.items.last() {
            Some(last) if page.has_more => query.position = query.after(last),
            _ => break,
        }
    }
    ensure!(seen == USERS as usize, "{seen} users were seen");
    let first: Duration = times.iter().take(50).sum();
    let last: Duration = times.iter().rev().take(50).sum();
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    println!(
        "{} pages in {:?}: the first 50 {first:?}, the last 50 {last:?}, ratio {ratio:.2}",
        times.len(),
        times.iter().sum::<Duration>()
    );
    ensure!(ratio < 5.0, "the last pages cost {ratio:.2} times what the first do");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_reads_of_large_tables_touch_what_they_show() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let begun = Instant::now();
    fill(&mut stack.mysql().await?).await?;
    println!("the tables were filled in {:?}", begun.elapsed());
    let mut meter = Meter::new(&stack.config.database).await?;
    lists::<User>(&mut meter).await?;
    lists::<Product>(&mut meter).await?;
    lists::<Order>(&mut meter).await?;
    lists::<Payment>(&mut meter).await?;
    scopes(&mut meter).await?;
    exceptions(&mut meter, Duration::from_millis(stack.config.database.read_timeout_ms)).await?;
    pages(&mut meter).await?;
    println!("{} reads were measured in {:?}; most read the {}", meter.reads, begun.elapsed(), meter.most.1);
    meter.pool.close().await;
    stack.finish().await
}
