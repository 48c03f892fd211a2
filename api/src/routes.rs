//! The route table: the API at a glance.

pub mod auth;
pub mod credentials;
pub mod events;
pub mod health;
pub mod jobs;
pub mod saves;
pub mod servers;
pub mod services;
pub mod targets;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

use crate::{error::ApiError, gate, state::AppState};

/// Every route, behind the gate.
pub fn router(state: &AppState) -> Router {
    Router::new()
        .route("/healthz", get(health::live::handle))
        .route("/readyz", get(health::ready::handle))
        .route("/v1/auth/login", post(auth::login::handle))
        .route("/v1/auth/logout", post(auth::logout::handle))
        .route("/v1/auth/me", get(auth::me::handle))
        .route("/v1/services", get(services::list::handle).post(services::create::handle))
        .route(
            "/v1/services/{id}",
            get(services::get::handle).patch(services::update::handle).delete(services::delete::handle),
        )
        .route("/v1/servers", get(servers::list::handle).post(servers::create::handle))
        .route(
            "/v1/servers/{id}",
            get(servers::get::handle).patch(servers::update::handle).delete(servers::delete::handle),
        )
        .route("/v1/credentials", get(credentials::list::handle).post(credentials::create::handle))
        .route(
            "/v1/credentials/{id}",
            get(credentials::get::handle).patch(credentials::update::handle).delete(credentials::delete::handle),
        )
        .route("/v1/targets", get(targets::list::handle).post(targets::create::handle))
        .route(
            "/v1/targets/{id}",
            get(targets::get::handle).patch(targets::update::handle).delete(targets::delete::handle),
        )
        .route("/v1/targets/{id}/probe", post(targets::probe::handle))
        .route("/v1/targets/{id}/backups", post(targets::backups::handle))
        .route("/v1/saves", get(saves::list::handle))
        .route("/v1/saves/{id}", get(saves::get::handle))
        .route("/v1/saves/{id}/restore", post(saves::restore::handle))
        .route("/v1/jobs", get(jobs::list::handle))
        .route("/v1/jobs/{id}", get(jobs::get::handle))
        .route("/v1/jobs/{id}/history", get(jobs::history::handle))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel::handle))
        .route("/v1/jobs/{id}/retry", post(jobs::retry::handle))
        .route("/v1/events", get(events::list::handle))
        .fallback(|| async { ApiError::NotFound("page") })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(state.http.body_limit_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), gate::gate))
        .with_state(state.clone())
}
