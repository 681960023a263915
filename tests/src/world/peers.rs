//! What a world's control plane and its Envoys show each other.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use super::World;
use crate::control_plane::XDS_SERVER_NAME;
use crate::{Authority, Envoy, EnvoySpec, Error, Identity, IdentityFiles};

/// A CA that signs the control plane's certificate and those of its Envoys, each for its own node id.
pub struct XdsTls {
    /// Signs them.
    pub authority: Authority,
    /// What the control plane shows, and whom it trusts.
    pub berth: IdentityFiles,
}

impl XdsTls {
    pub(super) fn create(folder: &Path) -> Result<Self, Error> {
        let authority = Authority::new()?;
        let identity = Self::server(&authority)?;
        let berth = IdentityFiles::create(&folder.join("xds"), &identity, authority.pem())?;
        Ok(Self { authority, berth })
    }

    /// A certificate for the control plane.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn server(authority: &Authority) -> Result<Identity, Error> {
        authority.issue(XDS_SERVER_NAME)
    }

    /// The files of one Envoy.
    pub(super) fn envoy(&self, folder: &Path, node: &str) -> Result<IdentityFiles, Error> {
        let identity = self.authority.issue(node)?;
        let folder = folder.join(format!("{node}.tls"));
        IdentityFiles::create(&folder, &identity, self.authority.pem())
    }
}

impl World {
    /// What the control plane and Envoys show each other.
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is [nothing](super::WorldBuilder::xds_tls).
    pub fn xds_tls(&self) -> Result<&XdsTls, Error> {
        let missing = || Error::Impossible("it has no certificates for xDS".to_owned());
        self.xds_tls.as_ref().ok_or_else(missing)
    }

    /// Where the world keeps what this Envoy shows the control plane.
    #[must_use]
    pub fn identity_of(&self, envoy: &Envoy) -> IdentityFiles {
        let folder = self.folder().join(format!("{}.tls", envoy.node()));
        IdentityFiles {
            ca: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            private_key: folder.join("key.pem"),
        }
    }

    /// Starts another Envoy, which says that it is `node`, shows this certificate and trusts this CA. It is not waited
    /// for: it may never be ready.
    ///
    /// # Errors
    /// Those of [`Envoy::start`].
    pub async fn another_envoy(
        &self,
        node: &str,
        identity: &Identity,
        ca: &str,
    ) -> Result<Envoy, Error> {
        let take = || {
            self.ports
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let (admin_port, number) = (take()?, take()?);
        let name = format!("{node}-{number}");
        let folder = self.folder().join(format!("{name}.tls"));
        let files = IdentityFiles::create(&folder, identity, ca)?;
        let bootstrap = self
            .control_plane
            .bootstrap(node, admin_port, None, Some(&files))
            .await?;
        let path = self.folder().join(format!("{name}.yaml"));
        fs::write(&path, bootstrap).map_err(Error::io(path.display()))?;
        let spec = EnvoySpec {
            name,
            bootstrap: path,
            workers: 1,
            log_level: "warning".to_owned(),
            admin_port,
            https: self.https,
            native: self.native,
        };
        Envoy::start(spec, self.folder())
    }
}
