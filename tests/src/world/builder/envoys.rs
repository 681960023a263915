//! A world's Envoys, and what each starts from.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::super::template::{filled_in, join_template};
use super::{Sockets, WorldBuilder, XdsTls, write};
use crate::{Certificates, ControlPlane, EnvoySpec, Error, Ports};

impl WorldBuilder {
    /// Every Envoy, with its bootstrap written.
    pub(super) async fn write_bootstraps(
        &self,
        control_plane: &ControlPlane,
        sockets: &Sockets,
        (certificates, xds_tls): (&Certificates, Option<&XdsTls>),
        ports: &mut Ports,
        folder: &Path,
    ) -> Result<Vec<EnvoySpec>, Error> {
        let fill = |template: &str, spec: &EnvoySpec| {
            filled_in(template, spec, sockets.xds_port, certificates)
        };
        let mut specs = Vec::new();
        for index in self.own() {
            let spec = self.envoy(index, ports, sockets.https, sockets.native, folder)?;
            let bootstrap = match &self.bootstrap {
                Some(template) => fill(template, &spec),
                None => {
                    let zone = self.zone.as_deref();
                    let files = xds_tls.map(|tls| tls.envoy(folder, &spec.name));
                    let files = files.transpose()?;
                    let (name, port) = (&spec.name, spec.admin_port);
                    let printed = control_plane.bootstrap(name, port, zone, files.as_ref());
                    printed.await?
                }
            };
            write(&spec.bootstrap, &bootstrap)?;
            specs.push(spec);
        }
        for index in self.joined() {
            let both = (Ipv4Addr::LOCALHOST, ports.take()?).into();
            let spec = self.envoy(index, ports, both, both, folder)?;
            write(&spec.bootstrap, &fill(&join_template()?, &spec))?;
            specs.push(spec);
        }
        for index in self.by_themselves() {
            let spec = self.envoy(index, ports, sockets.https, sockets.native, folder)?;
            let printed = control_plane.static_configuration(&spec.name, spec.admin_port);
            write(&spec.bootstrap, &printed.await?)?;
            specs.push(spec);
        }
        Ok(specs)
    }

    /// The node ids of those that take nothing over xDS.
    pub(super) fn static_nodes(&self) -> Vec<String> {
        self.by_themselves().map(name).collect()
    }

    fn own(&self) -> std::ops::Range<u16> {
        0..self.envoys
    }

    fn joined(&self) -> std::ops::Range<u16> {
        self.envoys..self.envoys + self.joined_envoys
    }

    fn by_themselves(&self) -> std::ops::Range<u16> {
        let before = self.envoys + self.joined_envoys;
        before..before + self.static_envoys
    }

    fn envoy(
        &self,
        index: u16,
        ports: &mut Ports,
        https: SocketAddr,
        native: SocketAddr,
        folder: &Path,
    ) -> Result<EnvoySpec, Error> {
        let name = name(index);
        Ok(EnvoySpec {
            bootstrap: folder.join(format!("{name}.yaml")),
            name,
            workers: self.envoy_workers,
            log_level: self.envoy_log_level.clone(),
            admin_port: ports.take()?,
            https,
            native,
        })
    }
}

fn name(index: u16) -> String {
    format!("envoy-{index}")
}
