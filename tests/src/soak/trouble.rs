//! Brings about what was planned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_runtime_emulator::{Emulator, Fault, How, SessionRecord};
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::clients::UPGRADE;
use super::evidence::{Clock, Happening, Moment, Visit};
use super::plan::{Part, Planned, Trouble, Way};
use crate::{Error, World};

/// Brings about trouble, and keeps the records of it and of what instances that ended had recorded.
pub(super) struct Troubles<'a> {
    world: &'a World,
    clock: Clock,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    happenings: Vec<Happening>,
    visits: Vec<Visit>,
}

impl<'a> Troubles<'a> {
    pub(super) fn new(world: &'a World, clock: Clock) -> Self {
        Self {
            world,
            clock,
            records: Mutex::default(),
        }
    }

    /// How many troubles are over.
    pub(super) fn happened(&self) -> usize {
        self.with_records(|records| records.happenings.len())
    }

    /// Brings everything about and waits until it is over. Troubles of different parts meet; a part has one at a time.
    pub(super) async fn carry_out(&self, plan: Vec<Planned>) -> Result<(), Error> {
        let mut parts: HashMap<Part, Arc<tokio::sync::Mutex<()>>> = HashMap::new();
        let running: FuturesUnordered<_> = plan
            .into_iter()
            .map(|Planned { at, trouble }| {
                let part = Arc::clone(parts.entry(trouble.part.clone()).or_default());
                async move {
                    sleep(at.saturating_sub(self.clock.now())).await;
                    let _alone = part.lock().await;
                    self.bring_about(trouble).await
                }
            })
            .collect();
        running.try_collect().await
    }

    /// What happened, and what the instances recorded, those that ended included. Not a second time.
    pub(super) fn records(
        &self,
        instances: &[String],
    ) -> Result<(Vec<Happening>, Vec<Visit>), Error> {
        for name in instances {
            let instance = self.world.instance(name)?;
            self.keep_records(name, &instance);
        }
        let Records { happenings, visits } = self.with_records(std::mem::take);
        Ok((happenings, visits))
    }

    async fn bring_about(&self, trouble: Trouble) -> Result<(), Error> {
        let from = self.clock.now();
        let gone = match &trouble.part {
            Part::Envoy(index) => self.trouble_envoy(*index, &trouble).await?,
            Part::ControlPlane => self.trouble_control_plane(&trouble).await?,
            Part::Instance(name) => self.trouble_instance(name, &trouble).await?,
        };
        let until = self.clock.now();
        let happening = Happening {
            trouble,
            from,
            gone,
            until,
        };
        self.with_records(|records| records.happenings.push(happening));
        Ok(())
    }

    async fn trouble_envoy(&self, index: usize, trouble: &Trouble) -> Result<Moment, Error> {
        let envoy = self.world.envoy(index)?;
        match trouble.way {
            Way::Stopped => {
                envoy.pause()?;
                let gone = self.clock.now();
                sleep(trouble.lasts).await;
                envoy.resume()?;
                return Ok(gone);
            }
            Way::Killed => envoy.kill().await?,
            Way::Restarted => envoy.stop().await?,
        }
        let gone = self.clock.now();
        sleep(trouble.lasts).await;
        envoy.restart().await?;
        Ok(gone)
    }

    async fn trouble_control_plane(&self, trouble: &Trouble) -> Result<Moment, Error> {
        let berth = self.world.berth();
        match trouble.way {
            Way::Stopped => {
                berth.pause()?;
                let gone = self.clock.now();
                sleep(trouble.lasts).await;
                berth.resume()?;
                return Ok(gone);
            }
            Way::Killed => berth.kill().await?,
            Way::Restarted => drop(berth.stop().await?),
        }
        let gone = self.clock.now();
        sleep(trouble.lasts).await;
        berth.restart().await?;
        Ok(gone)
    }

    async fn trouble_instance(&self, name: &str, trouble: &Trouble) -> Result<Moment, Error> {
        let instance = self.world.instance(name)?;
        match trouble.way {
            Way::Stopped => {
                instance.set_fault(Fault::GoSilent);
                let gone = self.clock.now();
                sleep(trouble.lasts).await;
                instance.set_fault(Fault::None);
                return Ok(gone);
            }
            Way::Killed => instance.kill().await,
            Way::Restarted => instance.stop().await,
        }
        let gone = self.clock.now();
        self.keep_records(name, &instance);
        sleep(trouble.lasts).await;
        self.world.restart_instance(name).await?;
        Ok(gone)
    }

    fn keep_records(&self, name: &str, instance: &Emulator) {
        let visits = instance.records();
        let visits = visits.iter().map(|record| self.visit(name, record));
        self.with_records(|records| records.visits.extend(visits));
    }

    fn visit(&self, instance: &str, record: &SessionRecord) -> Visit {
        Visit {
            instance: instance.to_owned(),
            upgrade: record.header(UPGRADE).and_then(|text| text.parse().ok()),
            from: self.clock.of(record.from),
            until: record.end.as_ref().map(|end| self.clock.of(end.at)),
            ended_by_instance: record.how().is_some_and(by_instance),
        }
    }

    fn with_records<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether the instance ended the session: by itself, or because the client broke the protocol.
const fn by_instance(how: &How) -> bool {
    match how {
        How::ClientClose { .. } | How::ClientFin | How::ClientReset => false,
        How::ProtocolError
        | How::Close { .. }
        | How::Fin
        | How::Reset
        | How::Evicted
        | How::PeerRemoved
        | How::Stopped => true,
    }
}
