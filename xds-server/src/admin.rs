//! The admin API: what the CLI asks, health, and Prometheus' metrics. JSON over HTTP, on loopback.

mod history;
mod keys;
mod nodes;
mod revocations;

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{FromRef, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::controller::{Controller, Gone, InstanceStatus, OrderError};
use crate::keys::IssuerKeys;
use crate::placement::{Pick, SessionView};
use crate::store::{History, UnixMillis};
use crate::xds::Streams;

/// Who answers.
#[derive(Clone, Debug)]
struct Api {
    controller: Controller,
    history: Arc<dyn History>,
    keys: KeysView,
    streams: Streams,
}

/// The keys that admission uses, and the clock that their times are of.
#[derive(Clone, Debug)]
pub struct KeysView {
    /// By issuer.
    pub issuers: watch::Receiver<Arc<[IssuerKeys]>>,
    /// Tells the time.
    pub clock: Clock,
}

impl FromRef<Api> for KeysView {
    fn from_ref(api: &Api) -> Self {
        api.keys.clone()
    }
}

impl FromRef<Api> for Streams {
    fn from_ref(api: &Api) -> Self {
        api.streams.clone()
    }
}

impl FromRef<Api> for Controller {
    fn from_ref(api: &Api) -> Self {
        api.controller.clone()
    }
}

impl FromRef<Api> for Arc<dyn History> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.history)
    }
}

/// The API's routes.
pub fn router(
    controller: Controller,
    history: Arc<dyn History>,
    keys: KeysView,
    streams: Streams,
) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route("/v1/instances", get(instances))
        .route("/v1/instances/{name}/drain", post(drain))
        .route("/v1/instances/{name}/undrain", post(undrain))
        .route("/v1/instances/{name}/quarantine", post(quarantine))
        .route("/v1/instances/{name}/unquarantine", post(unquarantine))
        .route("/v1/sessions", get(sessions))
        .route("/v1/sessions/{id}", get(one_session))
        .route("/v1/sessions/{id}/terminate", post(terminate))
        .route("/v1/history", get(history::query))
        .route("/v1/keys", get(keys::list))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{id}", get(nodes::one))
        .route(
            "/v1/revocations",
            get(revocations::list).post(revocations::revoke),
        )
        .route("/v1/revocations/{id}", delete(revocations::lift))
        .layer(middleware::from_fn(no_web_pages))
        .with_state(Api {
            controller,
            history,
            keys,
            streams,
        })
}

/// A browser on this machine reaches loopback too, and sends what any web page has it send. Whatever
/// is not a GET or HEAD then carries `Origin` (Fetch standard, "`Origin` header"), which the programs
/// that have business here leave out. The answer to a GET is kept from the page by the browser.
async fn no_web_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let error = "web pages have no business here: leave the header `origin` out";
        return problem(StatusCode::FORBIDDEN, error);
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
        Err(error) => not_ordered(&error),
    })
}

async fn quarantine(
    State(controller): State<Controller>,
    Path(name): Path<String>,
) -> Result<Response, Gone> {
    set_quarantined(&controller, &name, true).await
}

async fn unquarantine(
    State(controller): State<Controller>,
    Path(name): Path<String>,
) -> Result<Response, Gone> {
    set_quarantined(&controller, &name, false).await
}

async fn set_quarantined(
    controller: &Controller,
    name: &str,
    quarantined: bool,
) -> Result<Response, Gone> {
    let done = controller.quarantine(name.into(), quarantined).await?;
    Ok(match done {
        Ok(()) => Json(json!({"name": name, "quarantined": quarantined})).into_response(),
        Err(error) => not_ordered(&error),
    })
}

async fn one_session(
    State(controller): State<Controller>,
    Path(id): Path<String>,
) -> Result<Response, Gone> {
    let sessions = controller.sessions().await?;
    let found = sessions.iter().find(|view| view.session.as_str() == id);
    Ok(match found {
        Some(view) => Json(session(view)).into_response(),
        None => not_found(&format!("there is no session `{id}`")),
    })
}

async fn terminate(
    State(controller): State<Controller>,
    Path(id): Path<String>,
) -> Result<Response, Gone> {
    Ok(match controller.terminate(id.as_str().into()).await? {
        Ok(true) => {
            let body = Json(json!({"id": id, "terminating": true}));
            (StatusCode::ACCEPTED, body).into_response()
        }
        Ok(false) => not_found(&format!("there is no session `{id}`")),
        Err(error) => not_ordered(&error.into()),
    })
}

fn not_ordered(error: &OrderError) -> Response {
    let status = match error {
        OrderError::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
        OrderError::Unknown(_) => StatusCode::NOT_FOUND,
    };
    problem(status, &error.to_string())
}

fn not_found(error: &str) -> Response {
    problem(StatusCode::NOT_FOUND, error)
}

fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
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
        "warm": status.view.warm,
        "draining": status.view.draining,
        "quarantined": status.view.quarantined,
        "lease": lease,
    })
}

fn session(view: &SessionView) -> Value {
    json!({
        "id": view.session.as_str(),
        "pool": view.pool.as_str(),
        "instance": view.instance.as_ref().map(|instance| instance.as_str()),
        "issuer": &*view.owner.user.issuer,
        "subject": &*view.owner.user.subject,
        "tenant": &*view.owner.tenant,
        "token_id": view.token_id.as_deref(),
        "client_address": &*view.client_address,
        "state": view.state,
        "pick": view.pick.as_ref().map(pick),
        "age_seconds": view.age.as_secs(),
        "node": view.node.as_str(),
        "vm": view.vm.as_str(),
    })
}

fn pick(pick: &Pick) -> Value {
    json!({
        "why": pick.why.label(),
        "free": pick.free,
        "same_zone": pick.same_zone,
        "waited_ms": u64::try_from(pick.waited.as_millis()).unwrap_or(u64::MAX),
    })
}

/// `None` for a year of five digits, which RFC 3339 does not have.
fn rfc3339(time: UnixMillis) -> Option<String> {
    let mut text = String::new();
    let time = humantime::format_rfc3339_millis(time.to_system_time()?);
    write!(text, "{time}").is_ok().then_some(text)
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        problem(StatusCode::SERVICE_UNAVAILABLE, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Method;
    use tokio::net::TcpListener;

    use super::*;
    use crate::placement::{
        Acquire, CloseReason, End, Fence, Labels, Origin, Owner, PastSession, Priority, Time, User,
        Why,
    };
    use crate::store::{
        Batch, HistoryError, HistoryLimits, HistoryQuery, MemoryStore, PastRecord, Stamp, Store,
    };
    use crate::xds::{Profiles, XdsServer};

    /// The API over this history and a controller that nobody listens to: what gets past the door is answered 503.
    async fn start(history: Arc<dyn History>) -> String {
        let (controller, _) = Controller::channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = KeysView {
            issuers: watch::channel(Arc::default()).1,
            clock: Clock::start(),
        };
        let (xds, _) = XdsServer::new(Profiles::default(), 1);
        let router = router(controller, history, keys, xds.streams());
        tokio::spawn(async { axum::serve(listener, router).await });
        url
    }

    fn client() -> reqwest::Client {
        crate::http::plain_client().build().unwrap()
    }

    #[tokio::test]
    async fn web_pages_are_refused() {
        let url = start(MemoryStore::new(HistoryLimits::default()).history()).await;
        for (method, path) in [
            (Method::POST, "/v1/instances/gpu-1/drain"),
            (Method::POST, "/v1/sessions/s-1/terminate"),
            (Method::POST, "/v1/revocations"),
            (Method::DELETE, "/v1/revocations/1.1"),
        ] {
            for (origin, expected) in [
                (None, StatusCode::SERVICE_UNAVAILABLE),
                (Some("http://a.example"), StatusCode::FORBIDDEN),
                (Some("null"), StatusCode::FORBIDDEN),
            ] {
                let mut request = client().request(method.clone(), format!("{url}{path}"));
                if path == "/v1/revocations" {
                    request = request.json(&json!({"subject": "alice"}));
                }
                if let Some(origin) = origin {
                    request = request.header(header::ORIGIN, origin);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), expected, "{path} from {origin:?}");
            }
        }
    }

    /// Answers nothing but errors, and keeps what it was asked.
    #[derive(Debug, Default)]
    struct Closed(std::sync::Mutex<Vec<HistoryQuery>>);

    impl History for Closed {
        fn query(&self, query: &HistoryQuery) -> Result<Vec<PastRecord>, HistoryError> {
            self.0.lock().unwrap().push(query.clone());
            Err(HistoryError::Away)
        }
    }

    #[tokio::test]
    async fn the_history_is_asked_what_was_asked_for() {
        let closed = Arc::new(Closed::default());
        let url = start(Arc::clone(&closed) as Arc<dyn History>).await;
        for (query, expected) in [
            ("", StatusCode::SERVICE_UNAVAILABLE),
            ("?subject=a%26b&limit=7", StatusCode::SERVICE_UNAVAILABLE),
            ("?limit=0", StatusCode::BAD_REQUEST),
            ("?limit=10001", StatusCode::BAD_REQUEST),
            ("?limit=many", StatusCode::BAD_REQUEST),
            ("?since_seconds=-1", StatusCode::BAD_REQUEST),
            ("?user=alice", StatusCode::BAD_REQUEST),
        ] {
            let url = format!("{url}/v1/history{query}");
            let response = client().get(url).send().await.unwrap();
            assert_eq!(response.status(), expected, "{query}");
            let body: Value = response.json().await.unwrap();
            assert!(body["error"].is_string(), "{query}: {body}");
        }
        let asked = closed.0.lock().unwrap();
        let [all, some] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        assert_eq!((&all.subject, all.limit.get()), (&None, 100));
        assert_eq!(some.subject.as_deref(), Some("a&b"));
        assert_eq!(some.limit.get(), 7);
    }

    #[tokio::test]
    async fn a_session_that_is_over_is_told_with_its_times() {
        let mut store = MemoryStore::new(HistoryLimits::default());
        let seconds = |seconds| Time(Duration::from_secs(seconds));
        let acquire = Acquire {
            origin: Origin {
                node: "edge-1".into(),
                vm: "vm-1".into(),
                sequence: 1,
            },
            session: "s-1".into(),
            pool: "web".into(),
            priority: Priority::default(),
            labels: Labels::default(),
            token_id: Some("jti-1".into()),
            owner: Owner {
                user: User {
                    issuer: "i".into(),
                    subject: "alice".into(),
                },
                tenant: "acme".into(),
                resume_key: Some("secret".into()),
            },
            client_address: "203.0.113.8".into(),
        };
        let past = PastSession {
            acquire: Arc::new(acquire),
            instance: "gpu-1".into(),
            fence: Fence {
                term: 7,
                sequence: 2,
            },
            pick: Pick {
                why: Why::Packed,
                free: 2,
                same_zone: true,
                waited: Duration::from_millis(20),
            },
            granted_at: seconds(10),
            established_at: Some(seconds(11)),
            ended_at: seconds(71),
            end: End::Closed(CloseReason::Expired),
        };
        let stamp = Stamp {
            now: seconds(100),
            unix: UnixMillis(1_700_000_100_000),
        };
        let mut batch = Batch::default();
        batch.past(stamp, past);
        store.commit(&batch, 7).unwrap();
        let url = start(store.history()).await;
        let response = client().get(format!("{url}/v1/history")).send().await;
        let body: Value = response.unwrap().json().await.unwrap();
        let expected = json!([{
            "session": "s-1", "pool": "web", "instance": "gpu-1", "fence": "7.2",
            "issuer": "i", "subject": "alice", "tenant": "acme", "token_id": "jti-1",
            "client_address": "203.0.113.8", "node": "edge-1",
            "pick": {"why": "packed", "free": 2, "same_zone": true, "waited_ms": 20},
            "granted_at": "2023-11-14T22:13:30.000Z",
            "established_at": "2023-11-14T22:13:31.000Z",
            "ended_at": "2023-11-14T22:14:31.000Z",
            "lasted_seconds": 61, "end": "expired",
        }]);
        assert_eq!(body, expected);
    }
}
