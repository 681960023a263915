//! The admin API: what the CLI asks, health, and Prometheus' metrics. JSON over HTTP, on loopback.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::controller::{Controller, Gone, InstanceStatus};
use crate::placement::SessionView;

/// The API's routes.
pub fn router(controller: Controller) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route("/v1/instances", get(instances))
        .route("/v1/instances/{name}/drain", post(drain))
        .route("/v1/instances/{name}/undrain", post(undrain))
        .route("/v1/sessions", get(sessions))
        .route("/v1/sessions/{id}/terminate", post(terminate))
        .with_state(controller)
}

async fn metrics(State(controller): State<Controller>) -> Result<Response, Gone> {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = controller.metrics().await?;
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

async fn instances(State(controller): State<Controller>) -> Result<Json<Value>, Gone> {
    let instances = controller.instances().await?;
    Ok(Json(instances.iter().map(instance).collect()))
}

async fn sessions(State(controller): State<Controller>) -> Result<Json<Value>, Gone> {
    let sessions = controller.sessions().await?;
    Ok(Json(sessions.iter().map(session).collect()))
}

async fn drain(
    State(controller): State<Controller>,
    Path(name): Path<String>,
) -> Result<Response, Gone> {
    set_draining(&controller, &name, true).await
}

async fn undrain(
    State(controller): State<Controller>,
    Path(name): Path<String>,
) -> Result<Response, Gone> {
    set_draining(&controller, &name, false).await
}

async fn set_draining(
    controller: &Controller,
    name: &str,
    draining: bool,
) -> Result<Response, Gone> {
    Ok(match controller.drain(name.into(), draining).await? {
        Ok(()) => Json(json!({"name": name, "draining": draining})).into_response(),
        Err(unknown) => not_found(&unknown.to_string()),
    })
}

async fn terminate(
    State(controller): State<Controller>,
    Path(id): Path<String>,
) -> Result<Response, Gone> {
    if controller.terminate(id.as_str().into()).await? {
        let body = Json(json!({"id": id, "terminating": true}));
        return Ok((StatusCode::ACCEPTED, body).into_response());
    }
    Ok(not_found(&format!("there is no session `{id}`")))
}

fn not_found(error: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}

fn instance(status: &InstanceStatus) -> Value {
    let lease = status.view.lease.as_ref().map(|lease| {
        json!({
            "state": lease.state.label(),
            "session": lease.session.as_str(),
            "fence": lease.fence.to_string(),
            "subject": &*lease.owner.user.subject,
            "since_seconds": lease.age.as_secs(),
        })
    });
    json!({
        "name": status.view.name.as_str(),
        "pool": status.view.pool.as_str(),
        "family": status.family.as_str(),
        "address": status.address,
        "health": status.health.as_str(),
        "draining": status.view.draining,
        "lease": lease,
    })
}

fn session(view: &SessionView) -> Value {
    json!({
        "id": view.session.as_str(),
        "pool": view.pool.as_str(),
        "instance": view.instance.as_ref().map(|instance| instance.as_str()),
        "subject": &*view.owner.user.subject,
        "tenant": &*view.owner.tenant,
        "client_address": &*view.client_address,
        "state": view.state,
        "age_seconds": view.age.as_secs(),
        "node": view.node.as_str(),
        "vm": view.vm.as_str(),
    })
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.to_string()}));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}
