//! The REST side: which route leads where, and the document that says so.

mod crud;
mod document;
mod health;
mod input;
pub(crate) mod problem;
pub(crate) mod request;
mod users;

use std::{sync::Arc, time::Duration};

use poem::{Endpoint, EndpointExt, Response, Route, endpoint::make_sync, get, web::Html};
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::Value;
use shared::{config, entity::User, store::Store};

use crate::{
    health::StoreHealth,
    notifications::websocket::{self, Sockets},
};
use crud::Crud;
use health::HealthRoutes;
use input::Schemas;

/// What the routes need.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) health: StoreHealth,
    pub(crate) sockets: Sockets,
}

/// The whole of what the API serves.
pub(crate) fn endpoint(state: State, settings: &config::Http) -> anyhow::Result<impl Endpoint + use<>> {
    let service = service(&state);
    let document = document::published(&service.spec())?;
    let schemas = Schemas::new(&document, settings.max_body_bytes)?;
    let text = serde_json::to_string_pretty(&document)?;
    // The page brings everything it needs, so it also works without the network.
    let page = service.swagger_ui_html().replace(&service.spec(), &text);
    let json = move |_| Response::builder().content_type("application/json").body(text.clone());
    let limit = Duration::from_millis(settings.request_timeout_ms);
    Ok(Route::new()
        .nest("/", service)
        .at("/openapi.json", get(make_sync(json)))
        .at("/docs", get(make_sync(move |_| Html(page.clone()))))
        .at("/ws", get(websocket::connect).data(state.sockets))
        .data(schemas)
        .around(move |next: Arc<_>, request| request::surround(next, request, limit)))
}

/// The `OpenAPI` document as it is served.
pub(crate) fn document(state: &State) -> serde_json::Result<Value> {
    document::published(&service(state).spec())
}

fn service(state: &State) -> OpenApiService<impl OpenApi + use<>, ()> {
    let resources = (Crud::<User>::new(state.store.clone()), HealthRoutes::new(state.health.clone()));
    OpenApiService::new(resources, "Sluice", env!("CARGO_PKG_VERSION"))
        .description("Users whose every change is announced exactly as it was stored.")
}
