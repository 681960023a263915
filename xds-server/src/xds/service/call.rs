//! From an HTTP/2 request to a stream that is served.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::resource::ResourceType;
use super::connection::{self, Client};
use super::message::{Delta, Protocol, StateOfTheWorld};
use super::{Shared, StreamId};
use crate::peer::Peer;

/// The service's methods.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Delta,
    StateOfTheWorld,
}

impl Method {
    /// The method of a request's path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (_, method) = path.rsplit_once('/')?;
        match method {
            "DeltaAggregatedResources" => Some(Self::Delta),
            "StreamAggregatedResources" => Some(Self::StateOfTheWorld),
            _ => None,
        }
    }
}

/// One call of a method.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) method: Method,
}

impl Call {
    pub(super) async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        match self.method {
            Method::Delta => self.stream::<Delta>(request).await,
            Method::StateOfTheWorld => self.stream::<StateOfTheWorld>(request).await,
        }
    }

    async fn stream<P: Protocol>(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::<P::Response, P::Request>::default())
            .max_decoding_message_size(MAX_REQUEST)
            .streaming(Opening::<P>::new(self.shared), request)
            .await
    }
}

type Responses<P> = ReceiverStream<Result<<P as Protocol>::Response, Status>>;

struct Opening<P> {
    shared: Arc<Shared>,
    protocol: std::marker::PhantomData<P>,
}

impl<P> Opening<P> {
    const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            protocol: std::marker::PhantomData,
        }
    }
}

impl<P: Protocol> StreamingService<P::Request> for Opening<P> {
    type Response = P::Response;
    type ResponseStream = Responses<P>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<P::Request>>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { open::<P>(&shared, request) })
    }
}

fn open<P: Protocol>(
    shared: &Arc<Shared>,
    request: Request<Streaming<P::Request>>,
) -> Result<Response<Responses<P>>, Status> {
    if shared.is_stopping() {
        return Err(connection::stopping());
    }
    let id: StreamId = shared.next_stream();
    let registered = shared.registry.register(id)?;
    let address: Option<SocketAddr> = request.remote_addr();
    let peer = Peer::of(request.extensions());
    // Of each type there is one unanswered response at most, so that all of them have room.
    let (responses, receiver) = mpsc::channel(ResourceType::ALL.len());
    let client = Client::<P> {
        id,
        peer,
        address,
        requests: request.into_inner(),
        responses,
    };
    tokio::spawn(connection::serve(client, Arc::clone(shared), registered));
    Ok(Response::new(ReceiverStream::new(receiver)))
}

/// How large a request may be, in bytes. An Envoy that comes back lists what it has: some hundred bytes a resource.
const MAX_REQUEST: usize = 2 << 20;
