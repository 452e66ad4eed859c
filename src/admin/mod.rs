//! The admin server: health, numbers, and what the gateway knows, over HTTP. Not on the request path.

mod answer;
mod config;
mod drain;
mod gate;
mod health;
mod metrics;
mod registries;
mod routes;
mod serve;
mod services;
mod time;

use std::sync::Arc;

use axum::routing::get;
use axum::{Router, middleware};
use tokio::sync::Semaphore;

use crate::assemble::World;
use crate::config::Secret;
use crate::observe;

pub use gate::Peer;
pub use serve::serve;

/// What every answer is made from.
#[derive(Clone)]
struct Admin {
    world: Arc<World>,
    control: observe::Handle,
    token: Option<Secret>,
    /// Whole pages being made; each can hold megabytes.
    pages: Arc<Semaphore>,
}

/// Pages made at once; more wait.
const PAGES: usize = 2;

/// Every admin address. A request must carry its [`Peer`] as an extension.
pub fn router(world: Arc<World>, token: Option<Secret>) -> Router {
    let control = observe::install();
    let admin = Admin { world, control, token, pages: Arc::new(Semaphore::new(PAGES)) };
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .route("/routes", get(routes::all))
        .route("/routes/{*name}", get(routes::one))
        .route("/services", get(services::all))
        .route("/services/{*name}", get(services::one).post(drain::change))
        .route("/registries", get(registries::all))
        .route("/config", get(config::effective))
        .fallback(answer::no_such_address)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(middleware::from_fn_with_state(admin.clone(), gate::check))
        .layer(middleware::from_fn(serve::in_time))
        .with_state(admin)
}
