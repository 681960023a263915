//! A server of its own for one test.

use std::net::SocketAddr;
use std::sync::Arc;

use berth::xds::{NodeEvent, Profiles, ResourceType, Snapshot, StreamEvent, XdsServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// An [`XdsServer`] on a loopback port, for as long as it is not dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) xds: XdsServer,
    pub(crate) events: mpsc::Receiver<NodeEvent>,
    serving: JoinHandle<()>,
}

impl TestServer {
    /// Serves at most so many streams.
    pub(crate) async fn start(max_streams: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (xds, events) = XdsServer::new(Profiles::default(), max_streams);
        let serving = Server::builder()
            .add_service(xds.service())
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            address,
            xds,
            events,
            serving: tokio::spawn(async { serving.await.unwrap() }),
        }
    }

    pub(crate) fn publish(&self, snapshot: &Arc<Snapshot>) {
        self.xds.publish_to_all(snapshot);
    }

    /// What was refused since this was asked before, and with which words.
    pub(crate) fn refusals(&mut self) -> Vec<(ResourceType, Vec<String>, String)> {
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        events
            .filter_map(|event| match event {
                NodeEvent::Stream {
                    event:
                        StreamEvent::Refused {
                            resource_type,
                            names,
                            error,
                        },
                    ..
                } => {
                    let names = names.iter().map(ToString::to_string).collect();
                    Some((resource_type, names, error))
                }
                _ => None,
            })
            .collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
