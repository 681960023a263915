//! A proxy for tests. It panics where the SDK would, and keeps what it was asked to do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use berth_admission::UnixSeconds;
use prost::Message;
use proxy_wasm::types::{LogLevel, MetricType};

use crate::host::{GrpcCall, Headers, Host, MetricId, Unavailable};
use crate::session::{ContextId, Token, Uptime};

pub(crate) type HeaderList = Vec<(String, Vec<u8>)>;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeStream {
    pub(crate) request: HeaderList,
    pub(crate) response: HeaderList,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) filter_state: BTreeMap<String, String>,
    pub(crate) reply: Option<Reply>,
    pub(crate) resumed: bool,
    pub(crate) reset: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: serde_json::Value,
}

#[derive(Clone, Debug)]
pub(crate) struct SentCall {
    pub(crate) token: Token,
    /// The context that was entered.
    pub(crate) by: ContextId,
    pub(crate) cluster: String,
    pub(crate) method: String,
    pub(crate) message: Vec<u8>,
    pub(crate) timeout: Duration,
}

impl SentCall {
    pub(crate) fn read<M: Message + Default>(&self) -> M {
        M::decode(self.message.as_slice()).unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: Uptime,
    pub(crate) unix: UnixSeconds,
    /// How long everything takes: each look at the clock.
    pub(crate) time_goes_on: Duration,
    pub(crate) configuration: String,
    pub(crate) entered: ContextId,
    pub(crate) roots: Vec<ContextId>,
    pub(crate) streams: BTreeMap<ContextId, FakeStream>,
    pub(crate) calls: Vec<SentCall>,
    /// Whether calls can be sent.
    pub(crate) reachable: bool,
    pub(crate) call_answer: Vec<u8>,
    pub(crate) foreign_calls: Vec<(String, Vec<u8>)>,
    pub(crate) foreign_answer: Result<Vec<u8>, Unavailable>,
    pub(crate) random: Option<u8>,
    pub(crate) tick: Option<Duration>,
    pub(crate) log: Vec<(LogLevel, String)>,
    /// Every value of each statistic.
    pub(crate) metrics: BTreeMap<String, Vec<u64>>,
    metric_names: Vec<String>,
    next_token: u32,
}

#[derive(Debug)]
pub(crate) struct Fake(RefCell<State>);

impl Fake {
    pub(crate) fn new(configuration: &str) -> Self {
        Self(RefCell::new(State {
            now: Duration::from_secs(50),
            configuration: configuration.to_owned(),
            entered: ContextId(0),
            roots: Vec::new(),
            streams: BTreeMap::new(),
            calls: Vec::new(),
            reachable: true,
            call_answer: Vec::new(),
            foreign_calls: Vec::new(),
            // `VerifySignatureResult { result: true }`
            foreign_answer: Ok(vec![0x08, 0x01]),
            random: Some(0),
            tick: None,
            log: Vec::new(),
            metrics: BTreeMap::new(),
            unix: UnixSeconds(1_700_000_000),
            time_goes_on: Duration::ZERO,
            metric_names: Vec::new(),
            next_token: 0,
        }))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }

    /// The stream that is entered, with which the SDK would panic if it were gone.
    fn stream<R>(&self, f: impl FnOnce(&mut FakeStream) -> R) -> R {
        self.with(|state| {
            f(state
                .streams
                .get_mut(&state.entered)
                .expect("no such stream"))
        })
    }

    fn list<R>(&self, which: Headers, f: impl FnOnce(&mut HeaderList) -> R) -> R {
        self.stream(|stream| match which {
            Headers::Request => f(&mut stream.request),
            Headers::Response => f(&mut stream.response),
        })
    }
}

impl Host for Fake {
    fn unix_now(&self) -> UnixSeconds {
        self.with(|state| state.unix)
    }

    fn uptime(&self) -> Uptime {
        self.with(|state| {
            state.now += state.time_goes_on;
            state.now
        })
    }

    fn random(&self) -> Option<[u8; 16]> {
        self.with(|state| {
            let next = state.random.as_mut()?;
            *next += 1;
            Some([*next; 16])
        })
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        self.with(|state| state.configuration.clone().into_bytes())
    }

    fn set_tick_period(&self, period: Duration) {
        self.with(|state| state.tick = Some(period));
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.with(|state| state.log.push((level, message.to_owned())));
    }

    fn define_metric(&self, _: MetricType, name: &str) -> Option<MetricId> {
        self.with(|state| {
            let defined = state.metrics.insert(name.to_owned(), Vec::new());
            assert!(defined.is_none(), "{name} defined twice");
            state.metric_names.push(name.to_owned());
            Some(MetricId(state.metric_names.len() as u32 - 1))
        })
    }

    fn increment(&self, counter: MetricId, by: u32) {
        self.record(counter, by.into());
    }

    fn record(&self, histogram: MetricId, value: u64) {
        self.with(|state| {
            let name = &state.metric_names[histogram.0 as usize];
            state.metrics.get_mut(name).unwrap().push(value);
        });
    }

    fn enter(&self, context: ContextId) -> bool {
        self.with(|state| {
            let known = state.streams.contains_key(&context) || state.roots.contains(&context);
            if known {
                state.entered = context;
            }
            known
        })
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        if path == ["xds", "node", "id"] {
            return Some(b"edge-1".to_vec());
        }
        self.stream(|stream| stream.properties.get(&path.join(".")).cloned())
    }

    fn set_filter_state(&self, name: &str, value: &[u8]) {
        let value = String::from_utf8(value.to_vec()).unwrap();
        self.stream(|stream| stream.filter_state.insert(name.to_owned(), value));
    }

    fn headers(&self, which: Headers) -> HeaderList {
        self.list(which, |list| list.clone())
    }

    fn header(&self, which: Headers, name: &str) -> Option<Vec<u8>> {
        self.list(which, |list| {
            let found = list.iter().find(|(candidate, _)| candidate == name);
            found.map(|(_, value)| value.clone())
        })
    }

    fn set_header(&self, which: Headers, name: &str, value: Option<&[u8]>) {
        self.list(which, |list| {
            list.retain(|(candidate, _)| candidate != name);
            list.extend(value.map(|value| (name.to_owned(), value.to_vec())));
        });
    }

    fn resume_request(&self) {
        self.stream(|stream| {
            assert!(stream.reply.is_none(), "resumed after a reply");
            assert!(!stream.resumed, "resumed twice");
            stream.resumed = true;
        });
    }

    fn reset(&self) {
        self.stream(|stream| {
            assert!(!stream.reset, "reset twice");
            stream.reset = true;
        });
    }

    fn reply(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let reply = Reply {
            status,
            headers,
            body: serde_json::from_slice(body).unwrap(),
        };
        self.stream(|stream| assert!(stream.reply.replace(reply).is_none(), "replied twice"));
    }

    fn call(&self, call: &GrpcCall<'_>) -> Result<Token, Unavailable> {
        self.with(|state| {
            if !state.reachable {
                return Err(Unavailable::Failed);
            }
            state.next_token += 1;
            let token = Token(state.next_token);
            state.calls.push(SentCall {
                token,
                by: state.entered,
                cluster: call.cluster.to_owned(),
                method: call.method.to_owned(),
                message: call.message.to_vec(),
                timeout: call.timeout,
            });
            Ok(token)
        })
    }

    fn call_answer(&self, size: usize) -> Vec<u8> {
        self.with(|state| {
            assert_eq!(size, state.call_answer.len());
            assert_ne!(size, 0);
            state.call_answer.clone()
        })
    }

    fn foreign_function(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, Unavailable> {
        self.with(|state| {
            state
                .foreign_calls
                .push((name.to_owned(), arguments.to_vec()));
            state.foreign_answer.clone()
        })
    }
}
