//! The proxy, as far as the filter needs it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use berth_admission::UnixSeconds;
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

use crate::session::{ContextId, Token, Uptime};

/// What the filter asks of the proxy. Calls that concern a stream concern the one that was [entered](Host::enter), or
/// whose callback it is.
///
/// The SDK panics, and the worker's live sessions die with the VM, when the proxy answers with a status that the SDK does
/// not expect: headers outside their phase, a stream that is gone. Each method says when it may be called.
pub(crate) trait Host {
    /// The time by the wall clock.
    fn unix_now(&self) -> UnixSeconds;

    /// The time by a clock that never goes back.
    fn uptime(&self) -> Uptime;

    /// 128 bits that nobody can guess, unless the proxy has none.
    fn random(&self) -> Option<[u8; 16]>;

    /// The configuration of the plugin. Only while it is configured.
    fn plugin_configuration(&self) -> Vec<u8>;

    /// Has the root that is configured ticked every `period`.
    fn set_tick_period(&self, period: Duration);

    /// Says something that an operator has to see.
    fn log(&self, level: LogLevel, message: &str);

    /// Makes a statistic of this name, which the VMs of all workers share; or finds it. `None` if the proxy has no use for
    /// it.
    fn define_metric(&self, kind: MetricType, name: &str) -> Option<MetricId>;

    /// Adds `by` to a counter.
    fn increment(&self, counter: MetricId, by: u32);

    /// Adds a value to a histogram.
    fn record(&self, histogram: MetricId, value: u64);

    /// Makes `context` the one that calls concern. False if there is no such context.
    fn enter(&self, context: ContextId) -> bool;

    /// An attribute of the stream or the proxy; `None` if it has no value now.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Sets the filter state `wasm.<name>` of the stream.
    fn set_filter_state(&self, name: &str, value: &[u8]);

    /// All headers, the pseudo-headers included. Only in a callback of their own, or while the stream is paused in it.
    fn headers(&self, which: Headers) -> Vec<(String, Vec<u8>)>;

    /// Every value of one header, joined with commas. When [`headers`](Host::headers) may be called.
    fn header(&self, which: Headers, name: &str) -> Option<Vec<u8>>;

    /// Replaces every value of one header, or removes it. When [`headers`](Host::headers) may be called. A change of the
    /// request's headers has the proxy choose the route anew.
    fn set_header(&self, which: Headers, name: &str, value: Option<&[u8]>);

    /// Lets a paused request go on.
    fn resume_request(&self);

    /// Ends the stream.
    fn reset(&self);

    /// Answers the request. At most once for each stream.
    fn reply(&self, status: u16, headers: &[(&str, &str)], body: &[u8]);

    /// Begins a unary call of [`wire::SERVICE`](crate::wire::SERVICE). The context that is entered must outlive the
    /// answer for it to come.
    fn call(&self, call: &GrpcCall<'_>) -> Result<Token, Unavailable>;

    /// The answer to a call. Only in the callback that brings it, and not when it is empty.
    fn call_answer(&self, size: usize) -> Vec<u8>;

    /// Calls a function that the proxy has beside the ABI.
    fn foreign_function(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, Unavailable>;
}

/// What this VM calls a statistic.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct MetricId(pub(crate) u32);

/// Which headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Headers {
    Request,
    Response,
}

/// A unary gRPC call.
#[derive(Debug)]
pub(crate) struct GrpcCall<'a> {
    /// The Envoy cluster.
    pub(crate) cluster: &'a str,
    pub(crate) method: &'a str,
    pub(crate) message: &'a [u8],
    pub(crate) timeout: Duration,
}

/// Why the proxy did not do what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// What it was given is not acceptable.
    #[error("refused")]
    Refused,
    /// It could not be done.
    #[error("failed")]
    Failed,
}

/// An Envoy, through the proxy-wasm ABI 0.2.1.
#[derive(Debug)]
pub(crate) struct Envoy {
    started: Instant,
}

impl Envoy {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge: the module's only monotonic clock"
    )]
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Host for Envoy {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge: the module's only wall clock"
    )]
    fn unix_now(&self) -> UnixSeconds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        UnixSeconds(since.unwrap_or_default().as_secs())
    }

    fn uptime(&self) -> Uptime {
        self.started.elapsed()
    }

    fn random(&self) -> Option<[u8; 16]> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).ok()?;
        Some(bits)
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    fn set_tick_period(&self, period: Duration) {
        let _ = hostcalls::set_tick_period(period);
    }

    fn log(&self, level: LogLevel, message: &str) {
        let _ = hostcalls::log(level, message);
    }

    fn define_metric(&self, kind: MetricType, name: &str) -> Option<MetricId> {
        hostcalls::define_metric(kind, name).ok().map(MetricId)
    }

    fn increment(&self, counter: MetricId, by: u32) {
        let _ = hostcalls::increment_metric(counter.0, by.into());
    }

    fn record(&self, histogram: MetricId, value: u64) {
        let _ = hostcalls::record_metric(histogram.0, value);
    }

    fn enter(&self, context: ContextId) -> bool {
        hostcalls::set_effective_context(context.0).is_ok()
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path.to_vec()).ok().flatten()
    }

    fn set_filter_state(&self, name: &str, value: &[u8]) {
        let _ = hostcalls::set_property(vec![name], Some(value));
    }

    fn headers(&self, which: Headers) -> Vec<(String, Vec<u8>)> {
        hostcalls::get_map_bytes(which.into()).unwrap_or_default()
    }

    fn header(&self, which: Headers, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(which.into(), name)
            .ok()
            .flatten()
    }

    fn set_header(&self, which: Headers, name: &str, value: Option<&[u8]>) {
        let _ = hostcalls::set_map_value_bytes(which.into(), name, value);
    }

    fn resume_request(&self) {
        let _ = hostcalls::resume_http_request();
    }

    fn reset(&self) {
        let _ = hostcalls::reset_http_request();
    }

    fn reply(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let _ = hostcalls::send_http_response(status.into(), headers.to_vec(), Some(body));
    }

    fn call(&self, call: &GrpcCall<'_>) -> Result<Token, Unavailable> {
        let service = GrpcService {
            envoy_grpc: Some(EnvoyGrpc {
                cluster_name: call.cluster.to_owned(),
            }),
        };
        let service =
            String::from_utf8(service.encode_to_vec()).map_err(|_| Unavailable::Refused)?;
        hostcalls::dispatch_grpc_call(
            &service,
            crate::wire::SERVICE,
            call.method,
            Vec::new(),
            Some(call.message),
            call.timeout,
        )
        .map(Token)
        .map_err(Unavailable::from)
    }

    fn call_answer(&self, size: usize) -> Vec<u8> {
        hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    fn foreign_function(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, Unavailable> {
        hostcalls::call_foreign_function(name, Some(arguments))
            .map(Option::unwrap_or_default)
            .map_err(Unavailable::from)
    }
}

impl From<Headers> for MapType {
    fn from(headers: Headers) -> Self {
        match headers {
            Headers::Request => Self::HttpRequestHeaders,
            Headers::Response => Self::HttpResponseHeaders,
        }
    }
}

impl From<Status> for Unavailable {
    fn from(status: Status) -> Self {
        match status {
            Status::BadArgument | Status::ParseFailure => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// `envoy.config.core.v3.GrpcService`. A bare cluster name is taken as well, but only if it does not happen to parse as
/// this message: a cluster called `x1` would never be asked.
#[derive(Clone, PartialEq, Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

/// `envoy.config.core.v3.GrpcService.EnvoyGrpc`.
#[derive(Clone, PartialEq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
}
