//! Queries of any entity, on the store that is asked for.

use futures_util::{FutureExt, future::BoxFuture};
use poem_openapi::{
    Enum, Object,
    types::{Any, Example},
};
use serde_json::{Map, Value, json};
use shared::{
    aggregation::{Aggregation, Function, Group, MOST_GROUPS, Measure, Period},
    entity::{Entity, Kind, Visitor},
    query::{Page, Position, Query, Sort},
    repository::{ReadError, Repository},
    specification::Specification,
    violation::Violation,
};

use super::super::{cursor::CursorKeys, problem::Problem};
use crate::repositories::Repositories;

const DEFAULT_LIMIT: u32 = 20;

/// The stores that are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "QueriedRepository")]
enum Store {
    Mysql,
    Mongodb,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", rename = "GroupPeriod")]
enum GroupPeriod {
    Day,
    Week,
    Month,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// What entities of one group have in common.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
struct GroupBy {
    field: String,
    /// Of a time: cut to this, in UTC; weeks begin on Monday.
    #[oai(default)]
    by: Option<GroupPeriod>,
}

/// What is told of each group.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
struct Aggregate {
    function: AggregateFunction,
    /// A count has none.
    #[oai(default)]
    field: Option<String>,
}

/// Which entities, from which store; or sums over groups of them.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub(super) struct QueryRequest {
    /// `mysql` is what is committed; `mongodb` follows it.
    repository: Store,
    pub(super) entity: Kind,
    /// Without it everything.
    #[oai(default, rename = "where")]
    condition: Option<Any<Value>>,
    /// A field that is sorted by, with `-` for descending. Newest first where it is missing.
    #[oai(default, validator(max_length = 64))]
    sort: Option<String>,
    #[oai(default, validator(minimum(value = "1"), maximum(value = "100")))]
    limit: Option<u32>,
    #[oai(default, validator(maximum(value = "10000")))]
    offset: Option<u32>,
    /// `next` of the part before.
    #[oai(default, validator(max_length = 8192))]
    after: Option<String>,
    /// Whether to count all that fulfil the condition.
    #[oai(default)]
    count: Option<bool>,
    #[oai(default, validator(min_items = 1, max_items = 2))]
    group_by: Option<Vec<GroupBy>>,
    /// Then groups are answered and no entities.
    #[oai(default, validator(min_items = 1, max_items = 10))]
    aggregate: Option<Vec<Aggregate>>,
}

impl Example for QueryRequest {
    fn example() -> Self {
        let condition = json!({ "all": [
            { "field": "status", "op": "in", "value": ["pending", "confirmed"] },
            { "field": "total_amount", "op": "gte", "value": "100.00" },
        ] });
        Self {
            repository: Store::Mysql,
            entity: Kind::Order,
            condition: Some(Any(condition)),
            sort: Some("-created_at".to_owned()),
            limit: Some(20),
            offset: None,
            after: None,
            count: Some(true),
            group_by: None,
            aggregate: None,
        }
    }
}

/// What the store answered: `items`, or `groups`.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct QueryAnswer {
    repository: Store,
    entity: Kind,
    /// How many milliseconds the store is behind what is committed. Missing where that cannot be told.
    lag_ms: Option<u64>,
    /// Entities as their own routes show them.
    items: Option<Vec<Any<Value>>>,
    groups: Option<Vec<AnsweredGroup>>,
    /// Whether there are more than these.
    has_more: bool,
    /// The cursor that continues behind these, as `after`.
    next: Option<String>,
    /// How many there are in all, where `count` asked for it.
    total: Option<u64>,
}

/// One group of entities.
#[derive(Object)]
struct AnsweredGroup {
    /// What they have in common, by field.
    key: Any<Map<String, Value>>,
    /// By function and field: `count`, `sum_amount`. Amounts are text.
    values: Any<Map<String, Value>>,
}

/// Runs a query of one kind of entity.
pub(super) struct Run<'a> {
    pub(super) request: QueryRequest,
    pub(super) repositories: &'a Repositories,
    pub(super) cursors: CursorKeys,
}

impl<'a> Visitor for Run<'a> {
    type Output = BoxFuture<'a, Result<QueryAnswer, Problem>>;

    fn visit<E: Entity>(self) -> Self::Output {
        async move {
            let specification = match &self.request.condition {
                Some(Any(condition)) => Specification::<E>::parse(condition, "/where"),
                None => Ok(Specification::everything()),
            };
            // The lag before the read: what is read is not older than that.
            let lag_ms = match self.request.repository {
                Store::Mysql => Some(0),
                Store::Mongodb => self.repositories.projector_lag_ms().await,
            };
            let answer = match self.request.aggregate {
                Some(_) => self.groups(specification).await?,
                None => self.entities(specification).await?,
            };
            Ok(QueryAnswer { lag_ms, ..answer })
        }
        .boxed()
    }
}

impl Run<'_> {
    async fn entities<E: Entity>(
        &self,
        specification: Result<Specification<E>, Vec<Violation>>,
    ) -> Result<QueryAnswer, Problem> {
        let request = &self.request;
        let mut violations = Vec::new();
        let mut refuse = |pointer: &str, rule: &str| {
            violations.push(Violation::at(pointer, "not-allowed", rule.to_owned()));
        };
        if request.group_by.is_some() {
            refuse("/group_by", "groups need something to tell of each: aggregate");
        }
        if request.offset.is_some() && request.after.is_some() {
            refuse("/after", "not beside offset: it is paged by the one or the other");
        }
        let sort = request.sort.as_deref().map_or_else(|| Some(Sort::default()), Sort::parse);
        if sort.is_none() {
            refuse("/sort", "must be a field that is sorted by, with - for descending");
        }
        let (Some(sort), Ok(specification), true) = (sort, &specification, violations.is_empty()) else {
            violations.extend(specification.err().into_iter().flatten());
            return Err(Problem::invalid(violations));
        };
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
        let position = Position::Offset(request.offset.unwrap_or_default());
        let mut query = Query { specification: specification.clone(), sort, position, limit };
        if let Some(after) = &request.after {
            query.position = self.cursors.verify(&query, after)?;
        }
        let (page, total) = match request.repository {
            Store::Mysql => self.found(&self.repositories.mysql(), &query).await?,
            Store::Mongodb => self.found(&self.repositories.mongodb(), &query).await?,
        };
        let next = page.items.last().filter(|_| page.has_more).map(|last| self.cursors.sign(&query, last));
        let items = page.items.iter().map(|entity| serde_json::to_value(entity).map(Any));
        let items = items.collect::<Result<_, _>>().map_err(ReadError::Json)?;
        Ok(QueryAnswer { items: Some(items), has_more: page.has_more, next, total, ..self.empty() })
    }

    async fn found<E: Entity>(
        &self,
        repository: &impl Repository<E>,
        query: &Query<E>,
    ) -> Result<(Page<E>, Option<u64>), ReadError> {
        let total = match self.request.count {
            Some(true) => Some(repository.count(&query.specification).await?),
            _ => None,
        };
        Ok((repository.find(query).await?, total))
    }

    async fn groups<E: Entity>(
        &self,
        specification: Result<Specification<E>, Vec<Violation>>,
    ) -> Result<QueryAnswer, Problem> {
        let aggregation = self.aggregation(specification).map_err(Problem::invalid)?;
        let mut rows = match self.request.repository {
            Store::Mysql => {
                let mysql = self.repositories.mysql::<E>();
                mysql.timed(E::KIND, "aggregate", mysql.inner().aggregate(&aggregation)).await?
            }
            Store::Mongodb => {
                let mongodb = self.repositories.mongodb::<E>();
                mongodb.timed(E::KIND, "aggregate", mongodb.inner().aggregate(&aggregation)).await?
            }
        };
        let has_more = rows.len() > MOST_GROUPS as usize;
        rows.truncate(MOST_GROUPS as usize);
        let group = |row: shared::aggregation::GroupRow| {
            let names = aggregation.groups().iter().map(|group| shared::entity::Field::name(group.field).to_owned());
            let measures = aggregation.measures().iter().map(|measure| measure.name());
            AnsweredGroup { key: Any(names.zip(row.keys).collect()), values: Any(measures.zip(row.measures).collect()) }
        };
        Ok(QueryAnswer { groups: Some(rows.into_iter().map(group).collect()), has_more, ..self.empty() })
    }

    fn aggregation<E: Entity>(
        &self,
        specification: Result<Specification<E>, Vec<Violation>>,
    ) -> Result<Aggregation<E>, Vec<Violation>> {
        let request = &self.request;
        let mut violations = Vec::new();
        let paging = [
            ("sort", request.sort.is_some()),
            ("limit", request.limit.is_some()),
            ("offset", request.offset.is_some()),
            ("after", request.after.is_some()),
            ("count", request.count.is_some()),
        ];
        for (name, _) in paging.into_iter().filter(|(_, sent)| *sent) {
            let rule = "groups are answered whole, in their order".to_owned();
            violations.push(Violation::at(&format!("/{name}"), "not-allowed", rule));
        }
        let mut groups = Vec::new();
        for (index, GroupBy { field, by }) in request.group_by.iter().flatten().enumerate() {
            let period = by.map(|period| match period {
                GroupPeriod::Day => Period::Day,
                GroupPeriod::Week => Period::Week,
                GroupPeriod::Month => Period::Month,
            });
            match field.parse() {
                Ok(field) => groups.push(Group { field, period }),
                Err(_) => violations.push(unknown(&format!("/group_by/{index}/field"))),
            }
        }
        let mut measures = Vec::new();
        for (index, aggregate) in request.aggregate.iter().flatten().enumerate() {
            match measure::<E>(aggregate, &format!("/aggregate/{index}")) {
                Ok(measure) => measures.push(measure),
                Err(violation) => violations.push(violation),
            }
        }
        match specification {
            Ok(specification) if violations.is_empty() => Aggregation::new(specification, groups, measures),
            specification => {
                violations.extend(specification.err().into_iter().flatten());
                Err(violations)
            }
        }
    }

    fn empty(&self) -> QueryAnswer {
        QueryAnswer {
            repository: self.request.repository,
            entity: self.request.entity,
            lag_ms: None,
            items: None,
            groups: None,
            has_more: false,
            next: None,
            total: None,
        }
    }
}

fn measure<E: Entity>(aggregate: &Aggregate, at: &str) -> Result<Measure<E::Field>, Violation> {
    let function = match aggregate.function {
        AggregateFunction::Count if aggregate.field.is_none() => return Ok(Measure::Count),
        AggregateFunction::Count => Function::Count,
        AggregateFunction::Sum => Function::Sum,
        AggregateFunction::Avg => Function::Avg,
        AggregateFunction::Min => Function::Min,
        AggregateFunction::Max => Function::Max,
    };
    let Some(name) = &aggregate.field else {
        return Err(Violation::at(&format!("{at}/field"), "required", "the field is missing".to_owned()));
    };
    let field = name.parse().map_err(|_| unknown(&format!("{at}/field")))?;
    Ok(Measure::Of { function, field })
}

fn unknown(pointer: &str) -> Violation {
    Violation::at(pointer, "not-allowed", "the entity has no such field".to_owned())
}
