//! The REST side: which route leads where, and the document that says so.

mod answered;
mod cors;
mod crud;
mod cursor;
mod document;
mod health;
mod history;
mod input;
mod lists;
mod owned;
mod preconditions;
pub(crate) mod problem;
mod products;
mod repositories;
pub(crate) mod request;
mod resource;
mod routes;
mod users;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, Response, Route, endpoint::make_sync, get, web::Html};
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::Value;
use shared::{
    audit::AuditLog,
    change::Rules,
    config::Config,
    entity::{Order, Payment, Product, User},
    search::ProductSearch,
    store::Store,
};

use crate::{
    backlog::Gauge,
    health::StoreHealth,
    notifications::websocket::{self, Sockets},
    repositories::Repositories,
};
use crud::Crud;
use cursor::CursorKeys;
use health::HealthRoutes;
use input::Schemas;
use owned::OwnedRoutes;
use products::ProductRoutes;
use repositories::RepositoryRoutes;
use request::Surroundings;
use routes::Routes;
use users::UserRoutes;

/// What the routes need.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) repositories: Repositories,
    pub(crate) audit: AuditLog,
    pub(crate) search: ProductSearch,
    pub(crate) rules: Rules,
    pub(crate) health: StoreHealth,
    pub(crate) backlog: Gauge,
    pub(crate) sockets: Sockets,
}

/// The whole of what the API serves.
pub(crate) fn endpoint(state: State, config: &Config) -> anyhow::Result<impl Endpoint + use<>> {
    let service = service(&state);
    let document = document::published(&service.spec())?;
    let schemas = Schemas::new(&document, config.http.max_body_bytes)?;
    let surroundings = Arc::new(Surroundings::new(&config.http, Routes::new(&document), state.backlog.clone()));
    let text = serde_json::to_string_pretty(&document)?;
    // The page brings everything it needs, so it also works without the network.
    let page = service.swagger_ui_html().replace(&service.spec(), &text);
    let json = move |_| Response::builder().content_type("application/json").body(text.clone());
    Ok(Route::new()
        .nest("/", service)
        .at("/openapi.json", get(make_sync(json)))
        .at("/docs", get(make_sync(move |_| Html(page.clone()))))
        .at("/problems", get(problem::pages::index))
        .at("/problems/:code", get(problem::pages::page))
        .at("/ws", get(websocket::connect).data(state.sockets))
        .data(schemas)
        .data(CursorKeys::new(&config.server.cursor_keys))
        .around(move |next: Arc<_>, request| request::surround(next, request, surroundings.clone())))
}

/// The `OpenAPI` document as it is served.
pub(crate) fn document(state: &State) -> serde_json::Result<Value> {
    document::published(&service(state).spec())
}

fn service(state: &State) -> OpenApiService<impl OpenApi + use<>, ()> {
    let entities = (
        (UserRoutes::new(state), Crud::<User>::new(state)),
        (ProductRoutes::new(state), Crud::<Product>::new(state)),
        (OwnedRoutes::<Order>::new(state), Crud::<Order>::new(state)),
        (OwnedRoutes::<Payment>::new(state), Crud::<Payment>::new(state)),
    );
    let others = (RepositoryRoutes::new(state), HealthRoutes::new(state.health.clone()));
    OpenApiService::new((entities, others), "Sluice", env!("CARGO_PKG_VERSION"))
        .description("Users, products, orders and payments whose every change is announced exactly as it was stored.")
}
