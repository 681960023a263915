//! How the world is built, and what operators change of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::instance::Instance;
use super::plane::Out;
use super::proxy::Proxy;
use super::{ORPHAN_AFTER, SETTLE, Text, World};
use crate::placement::{
    Acquire, Choice, EndCause, Fence, InstanceSpec, Labels, Origin, Owner, PoolPolicy, Priority,
    ReportedEnd, RequestId, SecondDevice, Sync, TenantPolicy, User, VmId, Zone,
};
use crate::random::Random;
use crate::schedule::{Action, Agents};

impl World {
    pub(crate) fn build(&mut self, agents: Agents) {
        let pools = if self.random.percent(30) { 2 } else { 1 };
        for pool in 0..pools {
            let policy = draw_policy(&mut self.random);
            self.audit.longest_hold = self.audit.longest_hold.max(policy.hold);
            self.pools
                .push((format!("pool-{pool}").as_str().into(), policy));
        }
        let count = self.random.index(4) + 1;
        for number in 0..count + pools - 1 {
            let Some((pool, _)) = self.pools.get(number % pools) else {
                continue;
            };
            let spec = InstanceSpec {
                name: format!("i{number}").into(),
                pool: pool.clone(),
                host: format!("host-{}", number / 2).into(),
                zone: zone(number % 3),
                labels: labels(number % 3 == 0),
                agent: match agents {
                    Agents::All => true,
                    Agents::Mixed => number % 2 == 0,
                    Agents::None => false,
                },
            };
            self.instances.push(Instance::new(spec));
        }
        for number in 0..self.random.index(3) + 1 {
            let mut proxy = Proxy::new(format!("edge-{number}").into());
            proxy.reach = (0..self.instances.len()).collect();
            proxy.zone = zone(number);
            self.proxies.push(proxy);
        }
    }

    /// What an operator does; nothing while the control plane does not answer.
    pub(crate) fn operator(&mut self, action: Action) {
        if let Action::Reach {
            proxy,
            instance,
            reached,
        } = action
        {
            return self.reach(
                self.which_proxy(proxy),
                self.which_instance(instance),
                reached,
            );
        }
        if self.plane.machine.is_none() || self.now < self.plane.paused_until {
            return;
        }
        match action {
            Action::Drain(pick, on) => {
                let index = self.which_instance(pick);
                self.with_instance(index, |instance| instance.drained = on);
                if let Some(instance) = self.instances.get(index) {
                    let name = instance.spec.name.clone();
                    self.call(|machine, now| machine.set_draining(now, &name, on));
                }
            }
            Action::Quarantine(pick, on) => {
                let index = self.which_instance(pick);
                self.with_instance(index, |instance| instance.quarantined = on);
                if let Some(instance) = self.instances.get(index) {
                    let name = instance.spec.name.clone();
                    self.call(|machine, now| machine.set_quarantined(now, &name, on));
                }
            }
            Action::Terminate(pick) => {
                let sessions = self.known_sessions();
                let pick = pick.checked_rem(sessions.len()).unwrap_or(0);
                if let Some(session) = sessions.get(pick) {
                    let holds = self.is_opening(session);
                    self.call(|machine, now| machine.terminate(now, session));
                    if holds {
                        self.put_out(Out::Terminated(session.clone()));
                    }
                }
            }
            Action::Impostor(pick) => self.impostor(pick),
            Action::Revoke(target, span) => self.revoke(target, span),
            Action::Lift(pick) => self.lift(pick),
            Action::Policy(pick, seed) => self.change_policy(pick, seed),
            Action::Zone(proxy, number) => {
                let index = self.which_proxy(proxy);
                if let Some(proxy) = self.proxies.get_mut(index) {
                    proxy.zone = zone(number);
                    let node = proxy.node.clone();
                    self.call(|machine, _| machine.set_zone(node, zone(number)));
                }
            }
            _ => {}
        }
    }

    /// A VM says what is not its to say: the machine must not mind.
    fn impostor(&mut self, pick: usize) {
        let now = self.plane.time(self.now);
        let sessions = self.plane.machine.as_ref().into_iter();
        let mut known: Vec<_> = sessions
            .flat_map(|machine| machine.sessions(now).collect::<Vec<_>>())
            .collect();
        known.sort_by(|a, b| a.session.cmp(&b.session));
        let pick = pick.checked_rem(known.len()).unwrap_or(0);
        let Some(victim) = known.into_iter().nth(pick) else {
            return;
        };
        let says = |vm: VmId, fence: Option<Fence>| Sync {
            origin: Origin {
                node: victim.node.clone(),
                vm,
                sequence: 1,
            },
            sessions: None,
            ended: vec![ReportedEnd {
                session: victim.session.clone(),
                fence,
                cause: EndCause::Client,
            }],
        };
        let stranger = VmId::from("stranger");
        let foreign = says(stranger.clone(), None);
        let late = says(
            victim.vm.clone(),
            Some(Fence {
                term: 0,
                sequence: 1,
            }),
        );
        let request = RequestId(u64::MAX - self.counter);
        self.counter += 1;
        let acquire = Acquire {
            origin: Origin {
                node: victim.node.clone(),
                vm: stranger,
                sequence: 2,
            },
            session: victim.session.clone(),
            pool: victim.pool.clone(),
            owner: victim.owner.clone(),
            client_address: victim.client_address.clone(),
            priority: Priority(0),
            labels: labels(false),
            token_id: None,
        };
        self.audit.asked(now, request, &acquire);
        self.call(|machine, now| machine.acquire(now, request, acquire));
        self.call(|machine, now| machine.sync(now, foreign));
        if victim.instance.is_some() {
            self.audit.heard_sync(now, &late);
            self.call(|machine, now| machine.sync(now, late));
        }
        let still = self.known_sessions();
        let held = victim.instance.is_some() && victim.state != "orphaned";
        if held && !still.contains(&victim.session) {
            self.violate("foreign words", || {
                format!("{} is ended by somebody else", victim.session)
            });
        }
    }

    fn change_policy(&mut self, pick: usize, seed: u64) {
        let pick = pick.checked_rem(self.pools.len()).unwrap_or(0);
        if let Some((name, policy)) = self.pools.get_mut(pick) {
            let hold = policy.hold;
            *policy = draw_policy(&mut Random::new(seed));
            self.audit.hold_changed(hold.max(policy.hold));
            let (name, policy) = (name.clone(), policy.clone());
            self.call(|machine, now| machine.set_pool(now, name, policy));
        }
    }

    fn reach(&mut self, proxy: usize, instance: usize, reached: bool) {
        if let Some(proxy) = self.proxies.get_mut(proxy) {
            if reached {
                proxy.reach.insert(instance);
            } else {
                proxy.reach.remove(&instance);
            }
        }
        self.tell_reach_later(proxy);
    }
}

/// Whose device that is: two of each user, of which some choose resume keys, and the users of three tenants.
pub(crate) fn owner(device: usize) -> Owner {
    let user = device / 2;
    Owner {
        user: User {
            issuer: "issuer".into(),
            subject: format!("user-{user}").into(),
        },
        tenant: tenant(user),
        resume_key: device
            .is_multiple_of(3)
            .then(|| format!("key-{device}").into()),
    }
}

pub(crate) fn tenant(user: usize) -> Text {
    match user % 3 {
        0 => "".into(),
        other => format!("tenant-{other}").into(),
    }
}

pub(crate) fn labels(special: bool) -> Labels {
    let label = special.then_some(("gpu", "large"));
    label.into_iter().collect()
}

fn zone(number: usize) -> Option<Zone> {
    (number < 2).then(|| format!("zone-{number}").into())
}

fn draw_policy(random: &mut Random) -> PoolPolicy {
    let seconds = Duration::from_secs;
    let mut tenants = BTreeMap::new();
    if random.percent(30) {
        let policy = TenantPolicy {
            max_sessions: random.percent(50).then_some(2),
            reserved: u32::from(random.percent(70)),
        };
        tenants.insert(tenant(1), policy);
    }
    let some = |random: &mut Random, percent: u64, of: u64| {
        let drawn = u32::try_from(random.below(of)).unwrap_or(0) + 1;
        random.percent(percent).then_some(drawn)
    };
    let draw = |random: &mut Random, from: &[u64]| random.pick(from).copied().unwrap_or(0);
    PoolPolicy {
        choice: match random.below(3) {
            0 => Choice::LeastRecentlyUsed,
            1 => Choice::Pack,
            _ => Choice::Spread,
        },
        hold: seconds(draw(random, &[0, 2, 4, 6])),
        max_sessions: some(random, 15, 3),
        max_sessions_per_tenant: some(random, 25, 2),
        max_sessions_per_user: some(random, 30, 2),
        max_session_age: random
            .percent(20)
            .then_some(seconds(draw(random, &[5, 12, 30]))),
        orphan_after: ORPHAN_AFTER,
        queue: usize::try_from(draw(random, &[0, 1, 4, 16])).unwrap_or(0),
        resume_window: seconds(draw(random, &[0, 3, 6])),
        second_device: match random.below(3) {
            0 => SecondDevice::Allow,
            1 => SecondDevice::Refuse,
            _ => SecondDevice::TakeOver,
        },
        settle: SETTLE,
        tenants,
        warm_up: seconds(draw(random, &[0, 0, 2])),
    }
}
