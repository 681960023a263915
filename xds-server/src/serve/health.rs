//! gRPC health checking (`grpc.health.v1`), for whoever decides by it where to send proxies.

use berth_proto::session::v1::sessions_server::SessionsServer;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

use crate::sessions::SessionService;
use crate::xds::DiscoveryService;

/// Says how it stands with the process, whose name is empty, and its two services.
#[derive(Debug)]
pub(super) struct Health(HealthReporter);

impl Health {
    /// All serve.
    pub(super) async fn serving() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = tonic_health::server::health_reporter();
        let health = Self(reporter);
        health.set(ServingStatus::Serving).await;
        (health, server)
    }

    /// None takes anything new.
    pub(super) async fn stopping(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        let services = [
            "",
            DiscoveryService::NAME,
            SessionsServer::<SessionService>::NAME,
        ];
        for service in services {
            self.0.set_service_status(service, status).await;
        }
    }
}
