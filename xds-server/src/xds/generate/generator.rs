//! The resources that there are, kept up to date: what did not change is neither made nor encoded again, and stays the
//! same [`Resource`] in every profile's snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::gateway::{
    Certificates, EndpointSpec, FilterSpec, Gateway, InstanceTls, InvalidGateway, InvalidInstance,
    Module, PoolSpec,
};
use super::super::profile::{Profile, ProfileName, Profiles, Views};
use super::super::resource::{Resource, ResourceType};
use super::super::snapshot::{Change, Inconsistent, Snapshot};
use super::division::{ClusterChange, Division, MAX_CLUSTER, NameHash};
use super::{cluster, filter, fixed, instance_tls, secret};

/// Makes the resources for a [`Gateway`] and the instances that come and go. Equal gateways and instances have equal
/// bytes, whatever happened on the way.
///
/// What is set here is told with the next [`publish`](Self::publish): of an instance that changed several times, only
/// what it is then.
#[derive(Debug)]
pub struct Generator {
    filter: FilterSpec,
    pools: BTreeMap<Arc<str>, Pool>,
    /// Where each instance was published.
    instances: HashMap<String, Whereabouts>,
    /// What has been said of instances since.
    said: BTreeMap<String, Option<(Arc<str>, EndpointSpec)>>,
    /// Who is at each address, by what was said last.
    addresses: HashMap<SocketAddr, String>,
    /// What has been made and not been published.
    made: Made,
    views: Vec<View>,
}

/// What proxies are told now.
#[derive(Debug)]
pub struct Published {
    /// By profile. A profile that nothing changed for has the snapshot it had.
    pub views: Views,
    /// How many resources were made, or are no more, since the last time.
    pub changed: usize,
}

#[derive(Debug)]
struct Pool {
    spec: PoolSpec,
    division: Division,
}

#[derive(Debug)]
struct Whereabouts {
    pool: Arc<str>,
    hash: NameHash,
}

/// What has become of resources: which pool each is of, and what it is now, if it still is.
type Made = BTreeMap<(ResourceType, Arc<str>), (Option<Arc<str>>, Option<Arc<Resource>>)>;

/// What the proxies of one profile are told.
#[derive(Debug)]
struct View {
    profile: Profile,
    /// What its listeners and clusters refer to.
    referred: BTreeSet<(ResourceType, Arc<str>)>,
    snapshot: Arc<Snapshot>,
}

impl Generator {
    /// A generator for pools without instances.
    ///
    /// # Errors
    /// [`InvalidGateway`] where names are not unique or cannot be told to Envoy.
    pub fn new(gateway: Gateway, profiles: &Profiles) -> Result<Self, InvalidGateway> {
        Self::with_limit(gateway, profiles, MAX_CLUSTER)
    }

    /// `max`: no cluster has more instances than this.
    pub(super) fn with_limit(
        gateway: Gateway,
        profiles: &Profiles,
        max: usize,
    ) -> Result<Self, InvalidGateway> {
        let fixed = Snapshot::new(fixed(&gateway)?)?;
        let mut pools = BTreeMap::new();
        for spec in gateway.pools {
            if spec.name.contains('/') {
                return Err(InvalidGateway::PoolName(spec.name));
            }
            let name: Arc<str> = spec.name.as_str().into();
            let division = Division::new(Arc::clone(&name), max);
            if let Some(twice) = pools.insert(name, Pool { spec, division }) {
                return Err(InvalidGateway::Inconsistent(Inconsistent::Twice {
                    resource_type: ResourceType::Cluster,
                    name: twice.spec.name,
                }));
            }
        }
        let views = profiles
            .iter()
            .map(|profile| View::new(profile, &fixed, &pools));
        let views = views.collect();
        let of_type = |resource_type| {
            let resources = fixed.of(resource_type).values();
            resources.map(move |resource| {
                let name = Arc::clone(resource.name());
                ((resource_type, name), (None, Some(Arc::clone(resource))))
            })
        };
        Ok(Self {
            made: ResourceType::ALL.into_iter().flat_map(of_type).collect(),
            filter: gateway.filter,
            pools,
            instances: HashMap::new(),
            said: BTreeMap::new(),
            addresses: HashMap::new(),
            views,
        })
    }

    /// Adds an instance to a pool, or changes it. It leaves the pool that it was in.
    ///
    /// # Errors
    /// [`InvalidInstance`]; everything is as it was.
    pub fn set_instance(
        &mut self,
        pool: &str,
        endpoint: EndpointSpec,
    ) -> Result<(), InvalidInstance> {
        let Some((pool, _)) = self.pools.get_key_value(pool) else {
            return Err(InvalidInstance::UnknownPool(pool.to_owned()));
        };
        let (pool, address) = (Arc::clone(pool), endpoint.address);
        if let Some(other) = self.addresses.get(&address)
            && *other != endpoint.instance
        {
            return Err(InvalidInstance::AddressTaken {
                address,
                instance: other.clone(),
            });
        }
        let instance = endpoint.instance.clone();
        self.say(instance.clone(), Some((pool, endpoint)));
        self.addresses.insert(address, instance);
        Ok(())
    }

    /// Takes an instance away, if it is there.
    pub fn remove_instance(&mut self, instance: &str) {
        self.say(instance.to_owned(), None);
    }

    /// Tells the filter this from now on: JSON, as `filters/envoy` reads it.
    ///
    /// # Errors
    /// None where [`Generator::new`] had none.
    pub fn set_filter_configuration(&mut self, json: String) -> Result<(), InvalidGateway> {
        if self.filter.configuration_json == json {
            return Ok(());
        }
        self.filter.configuration_json = json;
        self.make_extension()
    }

    /// Has the filter's module be this from now on.
    ///
    /// # Errors
    /// The module's path cannot be told to Envoy.
    pub fn set_module(&mut self, module: Module) -> Result<(), InvalidGateway> {
        self.filter.module = module;
        self.make_extension()
    }

    fn make_extension(&mut self) -> Result<(), InvalidGateway> {
        let extension = filter::extension(&self.filter)?;
        self.put(ResourceType::Extension, extension);
        Ok(())
    }

    /// Presents these to clients from now on, wherever there are listeners, which know the certificates' names only.
    pub fn set_certificates(&mut self, certificates: &Certificates) {
        for secret in secret::secrets(certificates) {
            self.put(ResourceType::Secret, secret);
        }
    }

    /// Reaches a pool's instances so from now on, if they are reached by TLS already. Their clusters know the names of the
    /// certificates only. True if that is news.
    pub fn set_instance_tls(&mut self, pool: &str, tls: InstanceTls) -> bool {
        let known = self.pools.get_mut(pool);
        let Some(current) = known
            .and_then(|pool| pool.spec.tls.as_mut())
            .filter(|current| **current != tls)
        else {
            return false;
        };
        *current = tls;
        let secrets: Vec<_> = instance_tls::secrets(pool, current).collect();
        for secret in secrets {
            self.put(ResourceType::Secret, secret);
        }
        true
    }

    /// The cluster and the address that an instance was last published with.
    pub fn place_of(&self, instance: &str) -> Option<(&Arc<str>, SocketAddr)> {
        let Whereabouts { pool, hash } = self.instances.get(instance)?;
        let pool = self.pools.get(pool)?;
        let (cluster, endpoint) = pool.division.find(*hash, instance)?;
        Some((cluster, endpoint.address))
    }

    /// Makes what has changed, for proxies to be told.
    ///
    /// # Errors
    /// [`Inconsistent`]: proxies are to keep what they have, and the changes wait for those that mend it.
    pub fn publish(&mut self) -> Result<Published, Inconsistent> {
        for (instance, said) in std::mem::take(&mut self.said) {
            self.apply(instance, said);
        }
        for (name, pool) in &mut self.pools {
            pool.make_changes(name, &mut self.made);
        }
        let next = self.views.iter().map(|view| view.with(&self.made));
        let next: Vec<_> = next.collect::<Result<_, _>>()?;
        for (view, snapshot) in self.views.iter_mut().zip(next) {
            view.snapshot = snapshot;
        }
        Ok(Published {
            views: self.views.iter().map(View::named).collect(),
            changed: std::mem::take(&mut self.made).len(),
        })
    }

    fn put(&mut self, resource_type: ResourceType, resource: Resource) {
        let name = Arc::clone(resource.name());
        let resource = Some(Arc::new(resource));
        self.made.insert((resource_type, name), (None, resource));
    }

    fn say(&mut self, instance: String, said: Option<(Arc<str>, EndpointSpec)>) {
        let before = match self.said.get(&instance) {
            Some(said) => said.as_ref().map(|(_, endpoint)| endpoint.address),
            None => self.place_of(&instance).map(|(_, address)| address),
        };
        if let Some(address) = before {
            self.addresses.remove(&address);
        }
        self.said.insert(instance, said);
    }

    fn apply(&mut self, instance: String, said: Option<(Arc<str>, EndpointSpec)>) {
        let Some((pool, endpoint)) = said else {
            if let Some(Whereabouts { pool, hash }) = self.instances.remove(&instance)
                && let Some(pool) = self.pools.get_mut(&pool)
            {
                pool.division.remove(hash, &instance);
            }
            return;
        };
        let hash = match self.instances.get(&instance) {
            Some(known) => {
                if known.pool != pool
                    && let Some(other) = self.pools.get_mut(&known.pool)
                {
                    other.division.remove(known.hash, &instance);
                }
                known.hash
            }
            None => NameHash::of(&instance),
        };
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.division.insert(hash, endpoint);
        }
        self.instances.insert(instance, Whereabouts { pool, hash });
    }
}

impl Pool {
    fn make_changes(&mut self, name: &Arc<str>, made: &mut Made) {
        let mut make = |resource_type, cluster: &Arc<str>, resource: Option<Resource>| {
            let resource = resource.map(Arc::new);
            let key = (resource_type, Arc::clone(cluster));
            made.insert(key, (Some(Arc::clone(name)), resource));
        };
        for change in self.division.take_changes() {
            let (cluster, endpoints) = match change {
                ClusterChange::New(cluster, endpoints) => {
                    let resource = cluster::cluster(&cluster, &self.spec);
                    make(ResourceType::Cluster, &cluster, Some(resource));
                    (cluster, Some(endpoints))
                }
                ClusterChange::Endpoints(cluster, endpoints) => (cluster, Some(endpoints)),
                ClusterChange::Gone(cluster) => {
                    make(ResourceType::Cluster, &cluster, None);
                    (cluster, None)
                }
            };
            let endpoints = endpoints.map(|endpoints| cluster::endpoints(&cluster, endpoints));
            make(ResourceType::Endpoint, &cluster, endpoints);
        }
    }
}

impl View {
    fn new(profile: &Profile, fixed: &Snapshot, pools: &BTreeMap<Arc<str>, Pool>) -> Self {
        let listeners = fixed.of(ResourceType::Listener).values();
        let listeners = listeners
            .filter(|resource| profile.listeners.has(resource.name()))
            .flat_map(|resource| resource.references().to_vec());
        let pools = pools.iter().filter(|(name, _)| profile.pools.has(name));
        // The clusters of one pool differ in nothing but their names.
        let clusters =
            pools.flat_map(|(name, pool)| cluster::cluster(name, &pool.spec).references().to_vec());
        Self {
            referred: listeners.chain(clusters).collect(),
            profile: profile.clone(),
            snapshot: Arc::default(),
        }
    }

    fn with(&self, made: &Made) -> Result<Arc<Snapshot>, Inconsistent> {
        let changes = made
            .iter()
            .filter(|((resource_type, name), (pool, _))| match pool {
                Some(pool) => self.profile.pools.has(pool),
                None => self.needs(*resource_type, name),
            })
            .map(|((resource_type, name), (_, resource))| match resource {
                Some(resource) => Change::Put(*resource_type, Arc::clone(resource)),
                None => Change::Remove(*resource_type, Arc::clone(name)),
            });
        self.snapshot.with_changes(changes)
    }

    fn needs(&self, resource_type: ResourceType, name: &Arc<str>) -> bool {
        match resource_type {
            ResourceType::Listener => self.profile.listeners.has(name),
            // A proxy with listeners of its own asks for it too.
            ResourceType::Extension => true,
            _ => self.referred.contains(&(resource_type, Arc::clone(name))),
        }
    }

    fn named(&self) -> (ProfileName, Arc<Snapshot>) {
        (self.profile.name.clone(), Arc::clone(&self.snapshot))
    }
}

#[cfg(test)]
mod tests;
