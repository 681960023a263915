//! The admin API: what the CLI asks, health, and Prometheus' metrics. JSON over HTTP, on loopback.

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
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
        .layer(middleware::from_fn(no_web_pages))
        .with_state(controller)
}

/// A browser on this machine reaches loopback too, and sends what any web page has it send. Whatever
/// is not a GET or HEAD then carries `Origin` (Fetch standard, "`Origin` header"), which the programs
/// that have business here leave out. The answer to a GET is kept from the page by the browser.
async fn no_web_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let error = "web pages have no business here: leave the header `origin` out";
        let body = Json(json!({"error": error}));
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    next.run(request).await
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn web_pages_are_refused() {
        // Nobody listens to this controller: what gets past the door is answered 503.
        let (controller, _) = Controller::channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async { axum::serve(listener, router(controller)).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for path in ["/v1/instances/gpu-1/drain", "/v1/sessions/s-1/terminate"] {
            for (origin, expected) in [
                (None, StatusCode::SERVICE_UNAVAILABLE),
                (Some("http://a.example"), StatusCode::FORBIDDEN),
                (Some("null"), StatusCode::FORBIDDEN),
            ] {
                let mut request = client.post(format!("{url}{path}"));
                if let Some(origin) = origin {
                    request = request.header(header::ORIGIN, origin);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), expected, "{path} from {origin:?}");
            }
        }
        server.abort();
    }
}
