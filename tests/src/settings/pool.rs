//! A pool's rules, and how the file writes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use berth_client::Family;
use berth_runtime_emulator::EmulatorTls;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Identity;

use super::{PlacedInstance, PlacedPool, milliseconds};

/// A pool and its emulated instances. What is not set is as in a world's defaults (see
/// [`WorldBuilder`](crate::WorldBuilder)).
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) instances: u16,
    http_probe: bool,
    probe: Probe,
    rules: Rules,
    /// By the instance's number.
    places: BTreeMap<u16, Place>,
    /// What the instances show, the first one first; those beyond its end speak no TLS.
    pub(crate) shown: Vec<EmulatorTls>,
}

/// As the file has them.
#[derive(Debug, Clone, Serialize)]
struct Rules {
    choice: Choice,
    second_device: SecondDevice,
    #[serde(serialize_with = "milliseconds")]
    resume_window: Duration,
    #[serde(serialize_with = "milliseconds")]
    settle: Duration,
    #[serde(serialize_with = "milliseconds")]
    hold: Duration,
    queue: u16,
    #[serde(serialize_with = "milliseconds")]
    orphan_after: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sessions_per_user: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sessions_per_tenant: Option<u8>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_milliseconds"
    )]
    max_session_age: Option<Duration>,
    tenants: Vec<Tenant>,
    #[serde(flatten)]
    admission: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
struct Tenant {
    name: String,
    reserved: u8,
}

/// Where an instance is and what it has.
#[derive(Debug, Clone, Default, Serialize)]
struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    labels: BTreeMap<String, String>,
}

/// Which of several free instances is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The one that has been free for longest.
    LeastRecentlyUsed,
    /// One on the host with the most sessions.
    Pack,
    /// One on the host with the fewest sessions.
    Spread,
}

/// What becomes of a user's second session while the first is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondDevice {
    /// It is refused.
    Refuse,
    /// The first is closed.
    TakeOver,
    /// Both have an instance.
    Allow,
}

impl Pool {
    pub(crate) fn new(name: &str, family: Family) -> Self {
        Self {
            name: name.to_owned(),
            family,
            instances: 1,
            http_probe: false,
            probe: Probe {
                interval: Duration::from_millis(500),
                timeout: Duration::from_millis(500),
                rise: 2,
                fall: 3,
            },
            rules: Rules {
                choice: Choice::LeastRecentlyUsed,
                second_device: SecondDevice::TakeOver,
                resume_window: Duration::ZERO,
                settle: Duration::ZERO,
                hold: Duration::from_secs(1),
                queue: 0,
                orphan_after: Duration::from_secs(300),
                max_sessions_per_user: None,
                max_sessions_per_tenant: None,
                max_session_age: None,
                tenants: Vec::new(),
                admission: Map::new(),
            },
            places: BTreeMap::new(),
            shown: Vec::new(),
        }
    }

    /// How many instances there are; they are named `<pool>-1` and so on.
    #[must_use]
    pub fn instances(mut self, count: u16) -> Self {
        self.instances = count;
        self
    }

    /// How long an instance waits for its client after that went away.
    #[must_use]
    pub fn resume_window(mut self, window: Duration) -> Self {
        self.rules.resume_window = window;
        self
    }

    /// The pause between a session's end and the next grant of its instance.
    #[must_use]
    pub fn settle(mut self, pause: Duration) -> Self {
        self.rules.settle = pause;
        self
    }

    /// How long a request waits: for its user's own instance, and for any where there is a queue.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.rules.hold = hold;
        self
    }

    /// How many requests may wait for any instance to become free; 0 unless said: a full pool refuses at once.
    #[must_use]
    pub fn queue(mut self, length: u16) -> Self {
        self.rules.queue = length;
        self
    }

    /// Which of several free instances is given.
    #[must_use]
    pub fn choice(mut self, choice: Choice) -> Self {
        self.rules.choice = choice;
        self
    }

    /// How many sessions a user may have at once.
    #[must_use]
    pub fn max_sessions_per_user(mut self, count: u8) -> Self {
        self.rules.max_sessions_per_user = Some(count);
        self
    }

    /// How many sessions a tenant may have at once.
    #[must_use]
    pub fn max_sessions_per_tenant(mut self, count: u8) -> Self {
        self.rules.max_sessions_per_tenant = Some(count);
        self
    }

    /// Lets in only those whom one of these rules fits, written as in the file.
    #[must_use]
    pub fn allow(mut self, rules: Value) -> Self {
        self.rules.admission.insert("allow".to_owned(), rules);
        self
    }

    /// Lets in only tokens that are for one of these.
    #[must_use]
    pub fn audiences(mut self, audiences: &[&str]) -> Self {
        let audiences = audiences.into();
        self.rules
            .admission
            .insert("audiences".to_owned(), audiences);
        self
    }

    /// When a session is closed for its age.
    #[must_use]
    pub fn max_session_age(mut self, age: Duration) -> Self {
        self.rules.max_session_age = Some(age);
        self
    }

    /// Keeps so many instances for a tenant.
    #[must_use]
    pub fn reserved(mut self, tenant: &str, count: u8) -> Self {
        self.rules.tenants.push(Tenant {
            name: tenant.to_owned(),
            reserved: count,
        });
        self
    }

    /// Reaches its instances by TLS, with these settings as in the file.
    #[must_use]
    pub fn instance_tls(mut self, settings: Value) -> Self {
        let admission = &mut self.rules.admission;
        admission.insert("instance_tls".to_owned(), settings);
        self
    }

    /// Has the next instance, the first one first, show this; a client has to show what `client_ca` has signed, if there
    /// is one.
    #[must_use]
    pub fn shows(mut self, identity: &Identity, client_ca: Option<&str>) -> Self {
        self.shown.push(EmulatorTls {
            certificate_chain: identity.certificate.clone(),
            private_key: identity.private_key.clone(),
            client_ca: client_ca.map(str::to_owned),
        });
        self
    }

    /// Puts the instance of this number, from 1, into a zone.
    #[must_use]
    pub fn zone(mut self, number: u16, zone: &str) -> Self {
        self.places.entry(number).or_default().zone = Some(zone.to_owned());
        self
    }

    /// Gives the instance of this number, from 1, a label.
    #[must_use]
    pub fn label(mut self, number: u16, name: &str, value: &str) -> Self {
        let place = self.places.entry(number).or_default();
        place.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// When a lease is given up whose proxy fell silent.
    #[must_use]
    pub fn orphan_after(mut self, silence: Duration) -> Self {
        self.rules.orphan_after = silence;
        self
    }

    /// What becomes of a user's second session while the first is live.
    #[must_use]
    pub fn second_device(mut self, policy: SecondDevice) -> Self {
        self.rules.second_device = policy;
        self
    }

    /// Probes by `GET /v1/streaming/ready` instead of a TCP connection.
    #[must_use]
    pub fn http_probe(mut self) -> Self {
        self.http_probe = true;
        self
    }

    /// How often instances are probed, and how many results in a row bring one up or take one down.
    #[must_use]
    pub fn probe(mut self, interval: Duration, rise: u8, fall: u8) -> Self {
        self.probe = Probe {
            interval,
            timeout: interval,
            rise,
            fall,
        };
        self
    }
}

/// How often instances are probed, and what counts.
#[derive(Debug, Clone, Copy)]
struct Probe {
    interval: Duration,
    timeout: Duration,
    rise: u8,
    fall: u8,
}

#[derive(Serialize)]
pub(super) struct PoolEntry<'a> {
    name: &'a str,
    family: &'static str,
    instances: Vec<InstanceEntry<'a>>,
    probe: ProbeEntry,
    #[serde(flatten)]
    rules: &'a Rules,
}

impl<'a> PoolEntry<'a> {
    pub(super) fn new(placed: &'a PlacedPool) -> Self {
        let pool = &placed.pool;
        let http = pool.http_probe.then_some(HttpProbe {
            port: placed.readiness_port,
            path: "/v1/streaming/ready",
        });
        let instances = (1..).zip(&placed.instances);
        Self {
            name: &pool.name,
            family: pool.family.as_str(),
            instances: instances
                .map(|(number, instance)| InstanceEntry::new(instance, pool.places.get(&number)))
                .collect(),
            probe: ProbeEntry {
                tcp: http.is_none().then_some(TcpProbe {}),
                http,
                interval: pool.probe.interval,
                timeout: pool.probe.timeout,
                rise: pool.probe.rise,
                fall: pool.probe.fall,
            },
            rules: &pool.rules,
        }
    }
}

#[derive(Serialize)]
struct InstanceEntry<'a> {
    name: &'a str,
    address: SocketAddr,
    #[serde(flatten)]
    place: Place,
}

impl<'a> InstanceEntry<'a> {
    fn new(instance: &'a PlacedInstance, place: Option<&Place>) -> Self {
        Self {
            name: &instance.name,
            address: instance.signaling,
            place: place.cloned().unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct ProbeEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpProbe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    #[serde(serialize_with = "milliseconds")]
    interval: Duration,
    #[serde(serialize_with = "milliseconds")]
    timeout: Duration,
    rise: u8,
    fall: u8,
}

#[derive(Serialize)]
struct TcpProbe {}

#[derive(Serialize)]
struct HttpProbe {
    port: u16,
    path: &'static str,
}

fn some_milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
