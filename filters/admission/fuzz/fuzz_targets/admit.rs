#![no_main]

use std::sync::LazyLock;

use berth_admission::Policy;
use libfuzzer_sys::fuzz_target;

#[path = "../drive.rs"]
mod drive;

static POLICY: LazyLock<Policy> = LazyLock::new(|| drive::policy().expect("the policy is fixed"));

fuzz_target!(|data: &[u8]| {
    drive::drive(&POLICY, data);
});
