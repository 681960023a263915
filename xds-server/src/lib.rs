//! Session placement for NVIDIA CloudXR.

mod causes;
pub mod cli;
pub mod config;
pub mod fleet;
pub mod placement;
pub mod probes;
pub mod telemetry;
pub mod xds;

pub mod serve {
    //! `berth serve`.

    /// Why the control plane could not run.
    #[derive(Debug, thiserror::Error)]
    pub enum ServeError {}

    /// Runs the control plane.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn run(config: crate::config::Config) -> Result<(), ServeError> {
        drop(config);
        Ok(())
    }
}
