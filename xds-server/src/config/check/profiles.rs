use std::collections::BTreeSet;

use super::{Check, Unique};
use crate::config::{
    error::Fault,
    field::FieldPath,
    name,
    raw::{RawNodeMatch, RawProfile},
};
use crate::xds::{NodeMatch, Profile, Profiles, Scope};

/// What a profile can name.
pub(super) struct Named<'a> {
    pub(super) listeners: BTreeSet<&'a str>,
    pub(super) pools: BTreeSet<&'a str>,
}

impl Check<'_> {
    /// Without the section there is one profile, of everything.
    pub(super) fn profiles(
        &mut self,
        raw: Option<&[RawProfile]>,
        field: &FieldPath,
        named: &Named<'_>,
    ) -> Option<Profiles> {
        let Some(raw) = raw else {
            return Some(Profiles::default());
        };
        if raw.is_empty() {
            let remedy = "write a profile, or leave `profiles` out to tell every proxy everything";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut names = Unique::new("give every profile a name of its own");
        let mut for_everybody: Option<FieldPath> = None;
        let mut profiles = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            names.claim(self, &raw.name, &field.key("name"));
            let fits = raw.r#match.as_ref();
            let fits = fits.map(|raw| self.node_match(raw, &field.key("match")));
            let fits = fits.unwrap_or_default();
            if let Some(first) = for_everybody.clone() {
                self.fault(field.clone(), Fault::NobodyLeft(first));
            } else if fits == NodeMatch::default() {
                for_everybody = Some(field.clone());
            }
            let name = self.name(&raw.name, &field.key("name"), name::profile_name);
            let (known, unknown) = (&named.listeners, Fault::UnknownListener);
            let listeners = raw.listeners.as_deref();
            let listeners = self.scope(listeners, &field.key("listeners"), known, unknown);
            let (known, unknown) = (&named.pools, Fault::UnknownPool);
            let pools = self.scope(raw.pools.as_deref(), &field.key("pools"), known, unknown);
            if raw.pools.as_ref().is_some_and(Vec::is_empty) {
                let remedy = "name a pool, or leave `pools` out for all of them";
                self.fault(field.key("pools"), Fault::Empty { remedy });
            }
            profiles.extend(name.map(|name| Profile {
                name,
                fits,
                listeners,
                pools,
            }));
        }
        Profiles::new(profiles).ok()
    }

    fn node_match(&mut self, raw: &RawNodeMatch, field: &FieldPath) -> NodeMatch {
        let field = field.key("metadata");
        for path in raw.metadata.keys() {
            let dots = path.matches('.').count();
            if dots > NodeMatch::MAX_DOTS {
                self.fault(field.key(path), Fault::MetadataPath(dots));
            }
        }
        NodeMatch {
            cluster: raw.cluster.clone(),
            region: raw.region.clone(),
            zone: raw.zone.clone(),
            sub_zone: raw.sub_zone.clone(),
            metadata: raw.metadata.clone(),
        }
    }

    fn scope(
        &mut self,
        raw: Option<&[String]>,
        field: &FieldPath,
        known: &BTreeSet<&str>,
        unknown: fn(String) -> Fault,
    ) -> Scope {
        let Some(raw) = raw else {
            return Scope::All;
        };
        for (index, name) in raw.iter().enumerate() {
            if !known.contains(&**name) {
                self.fault(field.index(index), unknown(name.clone()));
            }
        }
        Scope::Only(raw.iter().cloned().collect())
    }
}
