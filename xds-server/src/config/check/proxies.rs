use super::{Check, Unique};
use crate::{
    config::{
        StaticProxy,
        error::Fault,
        field::FieldPath,
        name::{pool_name, zone},
        raw::{RawPool, RawStaticProxy},
    },
    placement::PoolName,
};

impl Check<'_> {
    /// The proxies that say themselves which instances they have.
    pub(super) fn static_proxies(
        &mut self,
        raw: &[RawStaticProxy],
        field: &FieldPath,
        pools: &[RawPool],
    ) -> Vec<StaticProxy> {
        let mut nodes = Unique::new("give every Envoy a node id of its own");
        let mut proxies = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            let node = field.key("node");
            if raw.node.is_empty() {
                let remedy = "write the `node.id` of the Envoy's own configuration";
                self.fault(node.clone(), Fault::Empty { remedy });
            }
            nodes.claim(self, &raw.node, &node);
            let zone = raw.zone.as_deref();
            proxies.push(StaticProxy {
                node: raw.node.as_str().into(),
                pools: self.pools_of(raw, &field.key("pools"), pools),
                zone: zone.and_then(|text| self.name(text, &field.key("zone"), self::zone)),
            });
        }
        proxies
    }

    /// All pools where none is named. What is wrong with a pool itself is said where it is.
    fn pools_of(
        &mut self,
        raw: &RawStaticProxy,
        field: &FieldPath,
        pools: &[RawPool],
    ) -> Vec<PoolName> {
        let Some(named) = &raw.pools else {
            let names = pools.iter().filter_map(|pool| pool_name(&pool.name).ok());
            return names.collect();
        };
        if named.is_empty() {
            let remedy =
                "name the pools that this Envoy has, or leave it out if it has all of them";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut names = Unique::new("name it once");
        for (index, name) in named.iter().enumerate() {
            let field = field.index(index);
            names.claim(self, name, &field);
            if !pools.iter().any(|pool| pool.name == *name) {
                self.fault(field, Fault::UnknownPool(name.clone()));
            }
        }
        named.iter().map(|name| name.as_str().into()).collect()
    }
}
