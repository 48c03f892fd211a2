//! The route table: the API at a glance.

pub mod admins;
pub mod audit;
pub mod auth;
pub mod config;
pub mod credentials;
pub mod data_set_restores;
pub mod data_sets;
pub mod docs;
pub mod events;
pub mod gc;
pub mod groups;
pub mod health;
pub mod jobs;
pub mod platform_users;
pub mod saves;
pub mod schedules;
pub mod servers;
pub mod services;
pub mod stats;
pub mod targets;
pub mod tokens;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, patch, post, put},
};

use crate::{cors, error::ApiError, gate, state::AppState};

macro_rules! routes {
    ($($method:ident $path:literal $($module:ident)::+;)+) => {
        /// Every route: its method, in lower case, and its path.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),+];

        /// The module of each route's handler, in the order of [`ROUTES`].
        pub(crate) const HANDLERS: &[&[&str]] = &[$(&[$(stringify!($module)),+]),+];

        fn endpoints() -> Router<AppState> {
            Router::new()$(.route($path, $method($($module::)+handle)))+
        }
    };
}

routes! {
    get    "/healthz"                    health::live;
    get    "/readyz"                     health::ready;
    get    "/openapi.json"               docs::document;
    get    "/docs"                       docs::page;
    get    "/docs/{file}"                docs::asset;
    post   "/v1/auth/login"              auth::login;
    post   "/v1/auth/refresh"            auth::refresh;
    post   "/v1/auth/logout"             auth::logout;
    post   "/v1/auth/logout-everywhere"  auth::logout_everywhere;
    get    "/v1/auth/sessions"           auth::sessions::list;
    delete "/v1/auth/sessions/{id}"      auth::sessions::delete;
    get    "/v1/auth/me"                 auth::me;
    get    "/v1/admins"                  admins::list;
    post   "/v1/admins"                  admins::create;
    get    "/v1/admins/{id}"             admins::get;
    patch  "/v1/admins/{id}"             admins::update;
    delete "/v1/admins/{id}"             admins::delete;
    post   "/v1/admins/{id}/password"    admins::password;
    get    "/v1/admins/{id}/roles"       admins::roles::list;
    post   "/v1/admins/{id}/roles"       admins::roles::create;
    delete "/v1/admins/{id}/roles/{role}" admins::roles::delete;
    post   "/v1/platform-users"          platform_users::create;
    get    "/v1/tokens"                  tokens::list;
    post   "/v1/tokens"                  tokens::create;
    get    "/v1/tokens/{id}"             tokens::get;
    delete "/v1/tokens/{id}"             tokens::delete;
    get    "/v1/services"                services::list;
    post   "/v1/services"                services::create;
    get    "/v1/services/{id}"           services::get;
    patch  "/v1/services/{id}"           services::update;
    delete "/v1/services/{id}"           services::delete;
    post   "/v1/services/{id}/backups"   services::backups;
    post   "/v1/services/{id}/wipe"      services::wipe;
    get    "/v1/services/{id}/broker"    services::broker::get;
    put    "/v1/services/{id}/broker"    services::broker::put;
    delete "/v1/services/{id}/broker"    services::broker::delete;
    get    "/v1/services/{id}/broker/definitions" services::broker::definitions;
    get    "/v1/servers"                 servers::list;
    post   "/v1/servers"                 servers::create;
    get    "/v1/servers/{id}"            servers::get;
    patch  "/v1/servers/{id}"            servers::update;
    delete "/v1/servers/{id}"            servers::delete;
    get    "/v1/credentials"             credentials::list;
    post   "/v1/credentials"             credentials::create;
    get    "/v1/credentials/{id}"        credentials::get;
    patch  "/v1/credentials/{id}"        credentials::update;
    delete "/v1/credentials/{id}"        credentials::delete;
    get    "/v1/targets"                 targets::list;
    post   "/v1/targets"                 targets::create;
    get    "/v1/targets/{id}"            targets::get;
    patch  "/v1/targets/{id}"            targets::update;
    delete "/v1/targets/{id}"            targets::delete;
    post   "/v1/targets/{id}/probe"      targets::probe;
    post   "/v1/targets/{id}/backups"    targets::backups;
    post   "/v1/targets/{id}/import"     targets::import;
    post   "/v1/targets/{id}/wipe"       targets::wipe;
    get    "/v1/saves"                   saves::list;
    get    "/v1/saves/report"            saves::report;
    get    "/v1/saves/{id}"              saves::get;
    patch  "/v1/saves/{id}"              saves::update;
    delete "/v1/saves/{id}"              saves::delete;
    get    "/v1/saves/{id}/content"      saves::content;
    post   "/v1/saves/{id}/restore"      saves::restore;
    post   "/v1/saves/{id}/verify"       saves::verify;
    post   "/v1/saves/{id}/copies"       saves::copies;
    post   "/v1/saves/{id}/accept"       saves::accept;
    get    "/v1/schedules"               schedules::list;
    post   "/v1/schedules"               schedules::create;
    get    "/v1/schedules/upcoming"      schedules::agenda;
    get    "/v1/schedules/{id}"          schedules::get;
    patch  "/v1/schedules/{id}"          schedules::update;
    delete "/v1/schedules/{id}"          schedules::delete;
    post   "/v1/schedules/{id}/pause"    schedules::pause;
    post   "/v1/schedules/{id}/resume"   schedules::resume;
    post   "/v1/schedules/{id}/run"      schedules::run;
    get    "/v1/schedules/{id}/slots"    schedules::slots;
    get    "/v1/schedules/{id}/upcoming" schedules::upcoming;
    get    "/v1/schedules/{id}/retention" schedules::retention;
    get    "/v1/data-sets"               data_sets::list;
    post   "/v1/data-sets"               data_sets::create;
    get    "/v1/data-sets/{id}"          data_sets::get;
    delete "/v1/data-sets/{id}"          data_sets::delete;
    post   "/v1/data-sets/{id}/restore"  data_sets::restore;
    get    "/v1/data-set-restores"       data_set_restores::list;
    get    "/v1/data-set-restores/{id}"  data_set_restores::get;
    post   "/v1/data-set-restores/{id}/resume" data_set_restores::resume;
    post   "/v1/data-set-restores/{id}/undo" data_set_restores::undo;
    post   "/v1/gc"                      gc::create;
    get    "/v1/jobs"                    jobs::list;
    get    "/v1/jobs/{id}"               jobs::get;
    get    "/v1/jobs/{id}/history"       jobs::history;
    get    "/v1/jobs/{id}/events"        jobs::stream;
    post   "/v1/jobs/{id}/cancel"        jobs::cancel;
    post   "/v1/jobs/{id}/retry"         jobs::retry;
    post   "/v1/jobs/{id}/undo"          jobs::undo;
    get    "/v1/groups/{id}"             groups::get;
    get    "/v1/events"                  events::list;
    get    "/v1/audit"                   audit::list;
    get    "/v1/audit/export"            audit::export;
    get    "/v1/stats"                   stats::list;
    get    "/v1/config"                  config::get;
}

/// Every route, behind the gate.
pub fn router(state: &AppState) -> Router {
    let router = endpoints()
        .fallback(|| async { ApiError::NotFound("page") })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(state.http.body_limit_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), gate::gate))
        .with_state(state.clone());
    // Around the gate, so that scripts can read its refusals too.
    match cors::layer(&state.http.cors) {
        Some(cors) => router.layer(cors).layer(middleware::from_fn(gate::complete)),
        None => router,
    }
}
