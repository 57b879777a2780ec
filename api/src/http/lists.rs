//! Lists: paging by cursor or by offset, sorting, and flat filters.

mod filters;

use poem::{FromRequest, Request, RequestBody, web::Data};
use poem_openapi::{
    ApiResponse, Object,
    payload::Json,
    types::{ParseFromJSON, ToJSON, Type},
};
use shared::{
    entity::Entity,
    query::{Position, Query, Sort},
    repository::Repository,
    specification::Specification,
};

use super::{
    cursor::CursorKeys,
    problem::{Code, Problem},
};

pub(super) use filters::{FilterForm, forms};

const DEFAULT_LIMIT: u32 = 20;
pub(super) const MOST_LIMIT: u32 = 100;
pub(super) const MOST_OFFSET: u32 = 10_000;

/// A part of a list.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Page<E: Type + ToJSON + ParseFromJSON> {
    items: Vec<E>,
    /// Whether there are items after these.
    has_more: bool,
    /// The cursor that continues behind these, as `after`.
    next: Option<String>,
    limit: u32,
    /// Where it was asked for by offset.
    offset: Option<u32>,
    /// How many there are in all, where `Prefer: count=exact` asked for it.
    total: Option<u64>,
}

#[derive(ApiResponse)]
pub(super) enum Listed<E: Type + ToJSON + ParseFromJSON + Send> {
    /// A part of the list.
    #[oai(status = 200)]
    Part(
        Json<Page<E>>,
        /// This part, the first and the next (RFC 8288).
        #[oai(header = "Link")]
        String,
        /// `count=exact` where that was done.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

/// What is asked for of a list. Its parameters are documented where the document is written.
pub(super) struct Listing<E: Entity> {
    pub(super) specification: Specification<E>,
    sort: Sort<E::Field>,
    limit: u32,
    offset: Option<u32>,
    after: Option<String>,
    count: bool,
    path: String,
    /// The parameters but for the position.
    parameters: Vec<(String, String)>,
    keys: CursorKeys,
}

impl<'a, E: Entity> FromRequest<'a> for Listing<E> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let keys = <Data<&CursorKeys> as FromRequest>::from_request(request, body).await?.0.clone();
        let sent: Vec<(String, String)> =
            request.params().map_err(|_| Problem::invalid_parameter("query", "cannot be read"))?;
        let prefer = request.header("prefer").unwrap_or_default();
        let mut listing = Self {
            specification: Specification::everything(),
            sort: Sort::default(),
            limit: DEFAULT_LIMIT,
            offset: None,
            after: None,
            count: prefer.split(',').any(|preference| preference.trim() == "count=exact"),
            path: request.uri().path().to_owned(),
            parameters: Vec::new(),
            keys,
        };
        listing.read(sent)?;
        Ok(listing)
    }
}

impl<E: Entity> Listing<E> {
    fn read(&mut self, sent: Vec<(String, String)>) -> Result<(), Problem> {
        let (mut violations, mut conditions) = (Vec::new(), Vec::new());
        for (name, value) in sent {
            let read = match name.as_str() {
                "limit" => number(&value, 1, MOST_LIMIT).map(|limit| self.limit = limit),
                "offset" => number(&value, 0, MOST_OFFSET).map(|offset| self.offset = Some(offset)),
                "after" => {
                    self.after = Some(value.clone());
                    Ok(())
                }
                "sort" => match Sort::parse(&value) {
                    Some(sort) => {
                        self.sort = sort;
                        Ok(())
                    }
                    None => Err("must be a field that lists are sorted by, with - for descending".to_owned()),
                },
                _ => filters::condition(&name, &value).map(|condition| conditions.push(condition)),
            };
            match read {
                Ok(()) if matches!(name.as_str(), "offset" | "after") => {}
                Ok(()) => self.parameters.push((name, value)),
                Err(rule) => violations.push(shared::violation::Violation::of_parameter(&name, rule)),
            }
        }
        if self.offset.is_some() && self.after.is_some() {
            let rule = "not beside offset: a list is paged by the one or the other".to_owned();
            violations.push(shared::violation::Violation::of_parameter("after", rule));
        }
        if !violations.is_empty() {
            return Err(Problem::new(Code::InvalidParameter).with_violations(violations));
        }
        self.specification = Specification::All(conditions);
        Ok(())
    }

    /// The part that was asked for, of what fulfils `scope` besides.
    pub(super) async fn answer<R: Repository<E>>(
        self,
        repository: &R,
        scope: Option<Specification<E>>,
    ) -> Result<Listed<E>, Problem>
    where
        E: Type + ToJSON + ParseFromJSON,
    {
        let Self { specification, sort, limit, offset, after, count, path, parameters, keys } = self;
        let specification = match scope {
            Some(scope) => Specification::All(vec![scope, specification]),
            None => specification,
        };
        let position = Position::Offset(offset.unwrap_or_default());
        let mut query = Query { specification, sort, position, limit };
        if let Some(cursor) = &after {
            query.position = keys.verify(&query, cursor)?;
        }
        let total = if count { Some(repository.count(&query.specification).await?) } else { None };
        let found = repository.find(&query).await?;
        let next = found.items.last().filter(|_| found.has_more).map(|last| keys.sign(&query, last));
        let link = links(&path, &parameters, offset, after.as_deref(), next.as_deref());
        let page = Page { items: found.items, has_more: found.has_more, next, limit, offset, total };
        Ok(Listed::Part(Json(page), link, count.then(|| "count=exact".to_owned())))
    }
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a number within {least} to {most}"))
}

/// The header `Link` (RFC 8288).
fn links(
    path: &str,
    parameters: &[(String, String)],
    offset: Option<u32>,
    after: Option<&str>,
    next: Option<&str>,
) -> String {
    let target = |position: Option<(&str, &str)>| {
        let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(position);
        match serde_urlencoded::to_string(pairs.collect::<Vec<_>>()).unwrap_or_default() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    };
    let offset = offset.map(|offset| offset.to_string());
    let here = after.map(|after| ("after", after)).or(offset.as_deref().map(|offset| ("offset", offset)));
    let mut links = vec![format!("<{}>; rel=\"self\"", target(here)), format!("<{}>; rel=\"first\"", target(None))];
    if let Some(next) = next {
        links.push(format!("<{}>; rel=\"next\"", target(Some(("after", next)))));
    }
    links.join(", ")
}
