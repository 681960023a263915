//! A session service that does not place: it grants every session the same instance, at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use berth_proto::session::v1::acquire_response::Outcome;
use berth_proto::session::v1::sessions_server::{Sessions, SessionsServer};
use berth_proto::session::v1::{
    AcquireRequest, AcquireResponse, Fence, Grant, SyncRequest, SyncResponse,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::BenchError;

/// The server. It ends when dropped.
pub(crate) struct FixedAnswer {
    address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl FixedAnswer {
    /// Starts it with the instance it grants.
    pub(crate) async fn start(cluster: String, endpoint: String) -> Result<Self, BenchError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let service = SessionsServer::new(Answer {
            cluster,
            endpoint,
            granted: AtomicU64::new(0),
        });
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(service);
        Ok(Self {
            address,
            serving: tokio::spawn(server.serve_with_incoming(incoming)),
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FixedAnswer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Answer {
    cluster: String,
    endpoint: String,
    granted: AtomicU64,
}

#[tonic::async_trait]
impl Sessions for Answer {
    async fn acquire(
        &self,
        _request: Request<AcquireRequest>,
    ) -> Result<Response<AcquireResponse>, Status> {
        let sequence = self.granted.fetch_add(1, Ordering::Relaxed);
        let grant = Grant {
            fence: Some(Fence { term: 1, sequence }),
            instance: "fixed".to_owned(),
            cluster: self.cluster.clone(),
            endpoint: self.endpoint.clone(),
            ..Grant::default()
        };
        Ok(Response::new(AcquireResponse {
            outcome: Some(Outcome::Grant(grant)),
            ..AcquireResponse::default()
        }))
    }

    async fn sync(&self, _request: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        Ok(Response::new(SyncResponse::default()))
    }
}
