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
    static_proxies::NodePattern,
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
            nodes.claim(self, &raw.node, &node);
            let Some(nodes) = NodePattern::parse(&raw.node) else {
                let remedy = "write the Envoy's `node.id`, or the beginning of several and `*`";
                self.fault(node, Fault::Empty { remedy });
                continue;
            };
            let zone = raw.zone.as_deref();
            proxies.push(StaticProxy {
                nodes,
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
