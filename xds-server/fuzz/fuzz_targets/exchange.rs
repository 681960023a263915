#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use berth::xds::{
    Answer, DeltaRequest, Dialect, Resource, ResourceType, Snapshot, SotwRequest, StreamEvent,
    XdsResponse, XdsStream,
};
use libfuzzer_sys::fuzz_target;

#[path = "../drive.rs"]
mod drive;
#[path = "../../src/xds/stream/tests/model/mod.rs"]
mod model;

fuzz_target!(|data: &[u8]| {
    drive::drive(data);
});
