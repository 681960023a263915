use std::time::Duration;

use berth_client::{Session, Target, connect};
use berth_runtime_emulator::{Emulator, EmulatorConfig, Family};

/// Far longer than anything here takes: a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn emulator(change: impl FnOnce(&mut EmulatorConfig)) -> Emulator {
    let mut config = EmulatorConfig::default();
    change(&mut config);
    Emulator::start(config).await.unwrap()
}

pub(crate) fn target(emulator: &Emulator, family: Family) -> Target {
    let path = match family {
        Family::Native => "rtsp",
        Family::Web => "sign_in?peer_id=peer-1&version=2",
    };
    let target = Target::new(&format!("ws://{}/{path}", emulator.address(family))).unwrap();
    target.time_limit(PATIENCE)
}

pub(crate) async fn session(emulator: &Emulator, family: Family) -> Session {
    connect(&target(emulator, family)).await.unwrap()
}

/// Waits until every session has ended.
pub(crate) async fn all_ended(emulator: &Emulator) {
    emulator
        .wait_for(PATIENCE, |ledger| ledger.live() == 0)
        .await
        .unwrap();
}
