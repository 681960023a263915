//! The rules, one module a subject. Each takes what the file says and returns what it means, or
//! nothing after it has reported why not; checking goes on, so that one run finds everything.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Config, Delivery, Filter, Listener, Timing, WhenControlPlaneAway,
    error::Fault,
    field::FieldPath,
    name::NameError,
    raw::{RawConfig, RawEndpoint, RawFilter, RawListener, RawTiming},
};
use crate::module::is_module;

mod admission;
mod instance_tls;
mod issuers;
mod policy;
mod pools;
mod profiles;
mod proxies;
mod store;
mod tls;
mod xds;

/// What has been found so far, and what the rules need to know beyond the file's text.
pub(super) struct Check<'a> {
    /// The folder of the YAML file, absolute.
    folder: &'a Path,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The files that the configuration names, and where it first does.
    files: BTreeMap<PathBuf, FieldPath>,
    faults: Vec<(FieldPath, Fault)>,
}

/// Checks everything. What `read` answers for a path is what the file there holds.
pub(super) fn check(
    raw: RawConfig,
    folder: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Vec<(FieldPath, Fault)>> {
    let mut check = Check {
        folder,
        read,
        files: BTreeMap::new(),
        faults: Vec::new(),
    };
    let config = check.config(raw);
    match config {
        Some(config) if check.faults.is_empty() => Ok(config),
        _ => Err(check.faults),
    }
}

impl Check<'_> {
    fn config(&mut self, raw: RawConfig) -> Option<Config> {
        let root = FieldPath::default();
        let max_streams = raw.xds.as_ref().and_then(|xds| xds.max_streams);
        let field = root.key("xds").key("max_streams");
        let max_streams = self.number(max_streams, &field, 1..=MAX_STREAMS);
        let (xds, xds_tls) = self.xds(raw.xds, &root.key("xds"));
        let admin = self.endpoint(raw.admin, &root.key("admin"), DEFAULT_ADMIN);
        if let (Some(xds), Some(admin)) = (xds, admin)
            && xds == admin
        {
            self.fault(
                root.key("admin").key("listen"),
                Fault::Duplicate {
                    value: admin.to_string(),
                    first: root.key("xds").key("listen"),
                    remedy: "listen on another port",
                },
            );
        }
        let listeners = self.listeners(&raw.listeners, &root.key("listeners"));
        let tls = self.tls(&raw.tls, &root.key("tls"));
        let filter = self.filter(raw.filter, &root.key("filter"));
        let timing = self.timing(raw.timing, &root.key("timing"));
        let has_tenants = raw.admission.has_tenants();
        let common = Common {
            timing: timing.as_ref(),
            has_tenants,
        };
        let pools = self.pools(&raw.pools, &root.key("pools"), common);
        let static_proxies =
            self.static_proxies(&raw.static_proxies, &root.key("static_proxies"), &raw.pools);
        let (admission, key_sources) = self.admission(
            raw.admission,
            &root.key("admission"),
            &raw.pools,
            has_tenants,
        );
        let named = profiles::Named {
            listeners: raw.listeners.iter().map(|one| &*one.name).collect(),
            pools: raw.pools.iter().map(|pool| &*pool.name).collect(),
        };
        let profiles = self.profiles(raw.profiles.as_deref(), &root.key("profiles"), &named);
        // Last: it must not be one of the files that the others name.
        let store = self.store(raw.store, &root.key("store"));
        Some(Config {
            xds: xds?,
            xds_tls,
            max_streams: max_streams.unwrap_or(DEFAULT_STREAMS) as usize,
            admin: admin?,
            listeners,
            tls: tls?,
            filter: filter?,
            static_proxies,
            admission,
            key_sources,
            pools,
            timing: timing?,
            store: store?,
            profiles: profiles?,
        })
    }

    fn endpoint(
        &mut self,
        raw: Option<RawEndpoint>,
        field: &FieldPath,
        default: SocketAddr,
    ) -> Option<SocketAddr> {
        let raw = raw.unwrap_or_default();
        let field = field.key("listen");
        let listen = match &raw.listen {
            Some(text) => self.socket_address(text, &field)?,
            None => default,
        };
        if !listen.ip().is_loopback() && !raw.allow_plaintext {
            self.fault(field, Fault::Plaintext(listen));
            return None;
        }
        Some(listen)
    }

    fn listeners(&mut self, raw: &[RawListener], field: &FieldPath) -> Vec<Listener> {
        if raw.is_empty() {
            let remedy = "give Envoy a port to listen on, 443 as a rule";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut names = Unique::new("give every listener a name of its own");
        let mut sockets = Unique::new("give every listener a port of its own");
        let mut listeners = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            names.claim(self, &raw.name, &field.key("name"));
            let address = self.ip_address(&raw.address, &field.key("address"));
            let port = self.port(raw.port, &field.key("port"));
            if raw.name.is_empty() {
                let remedy = "name the listener, `https` for example";
                self.fault(field.key("name"), Fault::Empty { remedy });
            }
            let (Some(address), Some(port)) = (address, port) else {
                continue;
            };
            let socket = SocketAddr::new(address, port.get());
            sockets.claim(self, &socket.to_string(), &field.key("port"));
            listeners.push(Listener {
                name: raw.name.clone(),
                address,
                port,
            });
        }
        listeners
    }

    fn filter(&mut self, raw: RawFilter, field: &FieldPath) -> Option<Filter> {
        if raw.module.as_os_str().is_empty() {
            let remedy = "write the path of berth_filter.wasm as Envoy sees it";
            self.fault(field.key("module"), Fault::Empty { remedy });
        }
        let when_control_plane_away = self.choice(
            raw.when_control_plane_away.as_deref(),
            &field.key("when_control_plane_away"),
            &[
                ("wait", WhenControlPlaneAway::Wait),
                ("refuse", WhenControlPlaneAway::Refuse),
            ],
            "wait or refuse",
        );
        let delivery = self.choice(
            raw.delivery.as_deref(),
            &field.key("delivery"),
            &[("file", Delivery::File), ("inline", Delivery::Inline)],
            "file or inline",
        )?;
        let module = match delivery {
            Delivery::File => self.absolute(&raw.module),
            Delivery::Inline => self.module(&raw.module, &field.key("module"))?,
        };
        Some(Filter {
            module,
            delivery,
            when_control_plane_away: when_control_plane_away?,
        })
    }

    /// A module that is read here, and has to be one from the start: there is no last good one to go on with.
    fn module(&mut self, path: &Path, field: &FieldPath) -> Option<PathBuf> {
        let content = self.file(path, field)?;
        let path = self.absolute(path);
        if !is_module(&content) {
            self.fault(field.clone(), Fault::NoModule(path));
            return None;
        }
        Some(path)
    }

    fn timing(&mut self, raw: Option<RawTiming>, field: &FieldPath) -> Option<Timing> {
        let raw = raw.unwrap_or_default();
        let tick = self.duration(raw.tick.as_deref(), &field.key("tick"), &TICK);
        let handshake_timeout = self.duration(
            raw.handshake_timeout.as_deref(),
            &field.key("handshake_timeout"),
            &HANDSHAKE_TIMEOUT,
        );
        Some(Timing {
            tick: tick?,
            handshake_timeout: handshake_timeout?,
        })
    }

    fn fault(&mut self, field: FieldPath, fault: Fault) {
        self.faults.push((field, fault));
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn file(&mut self, path: &Path, field: &FieldPath) -> Option<Vec<u8>> {
        let path = self.absolute(path);
        let first = self.files.entry(path.clone());
        first.or_insert_with(|| field.clone());
        match (self.read)(&path) {
            Ok(content) => Some(content),
            Err(error) => {
                self.fault(field.clone(), Fault::File { path, error });
                None
            }
        }
    }

    fn socket_address(&mut self, text: &str, field: &FieldPath) -> Option<SocketAddr> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Some(address),
            _ => {
                self.fault(field.clone(), Fault::SocketAddress(text.to_owned()));
                None
            }
        }
    }

    fn ip_address(&mut self, text: &str, field: &FieldPath) -> Option<IpAddr> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.fault(field.clone(), Fault::IpAddress(text.to_owned()));
                None
            }
        }
    }

    fn port(&mut self, number: i64, field: &FieldPath) -> Option<NonZeroU16> {
        let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
        if port.is_none() {
            self.fault(field.clone(), Fault::Port(number));
        }
        port
    }

    fn name<N>(
        &mut self,
        text: &str,
        field: &FieldPath,
        parse: fn(&str) -> Result<N, NameError>,
    ) -> Option<N> {
        match parse(text) {
            Ok(name) => Some(name),
            Err(error) => {
                let value = text.to_owned();
                self.fault(field.clone(), Fault::Name { value, error });
                None
            }
        }
    }

    /// One of a few words; the first of them where nothing was written.
    fn choice<T: Copy>(
        &mut self,
        text: Option<&str>,
        field: &FieldPath,
        words: &[(&str, T)],
        choices: &'static str,
    ) -> Option<T> {
        let Some(text) = text else {
            return words.first().map(|(_, meaning)| *meaning);
        };
        let found = words
            .iter()
            .find_map(|(word, meaning)| (*word == text).then_some(*meaning));
        if found.is_none() {
            let value = text.to_owned();
            self.fault(field.clone(), Fault::Choice { value, choices });
        }
        found
    }

    fn number(
        &mut self,
        number: Option<i64>,
        field: &FieldPath,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = number?;
        let found = u32::try_from(value).ok().filter(|n| range.contains(n));
        if found.is_none() {
            let (least, most) = range.into_inner();
            self.fault(field.clone(), Fault::NumberRange { value, least, most });
        }
        found
    }

    fn duration(
        &mut self,
        text: Option<&str>,
        field: &FieldPath,
        rule: &DurationRule,
    ) -> Option<Duration> {
        let Some(text) = text else {
            return Some(rule.default);
        };
        let Ok(value) = humantime::parse_duration(text) else {
            self.fault(field.clone(), Fault::Duration(text.to_owned()));
            return None;
        };
        if !(rule.least..=rule.most).contains(&value) {
            let DurationRule { least, most, .. } = *rule;
            self.fault(field.clone(), Fault::DurationRange { value, least, most });
            return None;
        }
        Some(value)
    }
}

/// What every pool is checked against.
#[derive(Clone, Copy)]
struct Common<'a> {
    timing: Option<&'a Timing>,
    /// Tokens say who is of which tenant.
    has_tenants: bool,
}

/// Values that must not come twice.
struct Unique {
    seen: BTreeMap<String, FieldPath>,
    remedy: &'static str,
}

impl Unique {
    fn new(remedy: &'static str) -> Self {
        let seen = BTreeMap::new();
        Self { seen, remedy }
    }

    fn claim(&mut self, check: &mut Check<'_>, value: &str, field: &FieldPath) {
        if let Some(first) = self.seen.get(value) {
            check.fault(
                field.clone(),
                Fault::Duplicate {
                    value: value.to_owned(),
                    first: first.clone(),
                    remedy: self.remedy,
                },
            );
        } else {
            self.seen.insert(value.to_owned(), field.clone());
        }
    }
}

/// What a duration is when nothing is written, and between what it must be.
struct DurationRule {
    default: Duration,
    least: Duration,
    most: Duration,
}

/// Streams of proxies at once.
const DEFAULT_STREAMS: u32 = 10_000;
const MAX_STREAMS: u32 = 100_000;

const DEFAULT_XDS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18000);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18001);

const TICK: DurationRule = DurationRule {
    default: Duration::from_secs(1),
    least: Duration::from_millis(100),
    most: Duration::from_secs(10),
};
const HANDSHAKE_TIMEOUT: DurationRule = DurationRule {
    default: Duration::from_secs(5),
    least: Duration::from_millis(100),
    most: Duration::from_secs(15),
};
