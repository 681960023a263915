//! From a [`Gateway`] to the resources Envoy is sent.

use super::gateway::{Gateway, InvalidGateway};
use super::resource::Snapshot;

/// The resources that make an Envoy the gateway described. Equal input gives equal bytes, and the order of
/// pools, clusters and endpoints does not matter.
pub fn generate(gateway: &Gateway) -> Result<Snapshot, InvalidGateway> {
    gateway.check()?;
    Ok(Snapshot::default())
}
