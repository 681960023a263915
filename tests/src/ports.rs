//! TCP ports that nobody else on this machine will take.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::Error;
use crate::claims::Claim;

/// Ports for one world. Binding port 0 and letting go of it is a race; a claimed block below the ephemeral range
/// (32768 on Linux), which no client socket is given, is none.
#[derive(Debug, Default)]
pub struct Ports {
    blocks: Vec<Claim>,
    used_of_last: u16,
}

impl Ports {
    /// Claims nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A port that is this world's alone, and free at this moment on every address.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when every block is claimed, and [`Error::Io`].
    pub fn take(&mut self) -> Result<u16, Error> {
        loop {
            if self.blocks.is_empty() || self.used_of_last == BLOCK {
                self.blocks
                    .push(Claim::take(&folder(), "port-blocks", BLOCKS)?);
                self.used_of_last = 0;
            }
            let block = self.blocks.last().map_or(0, |claim| claim.index);
            let port = FIRST + block * BLOCK + self.used_of_last;
            self.used_of_last += 1;
            // Something that is no test of ours may have it.
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                return Ok(port);
            }
        }
    }
}

/// Where claims are kept: every checkout of the project on this machine has to look in the same place.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join("berth-tests-claims")
}

const FIRST: u16 = 16_000;
const BLOCK: u16 = 32;
const BLOCKS: u16 = 500;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn worlds_of_one_machine_never_share_a_port() {
        let taken: Vec<(Ports, Vec<u16>)> = (0..8)
            .map(|_| std::thread::spawn(take_forty))
            .map(|thread| thread.join().unwrap())
            .collect();
        let ports: HashSet<u16> = taken.iter().flat_map(|(_, ports)| ports).copied().collect();
        assert_eq!(ports.len(), 8 * 40);
        assert!(ports.iter().all(|port| (16_000..32_000).contains(port)));
    }

    /// More than a block holds.
    fn take_forty() -> (Ports, Vec<u16>) {
        let mut ports = Ports::new();
        let taken = (0..40).map(|_| ports.take().unwrap()).collect();
        (ports, taken)
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let mut ports = Ports::new();
        let first = ports.take().unwrap();
        let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1)).unwrap();
        assert!(ports.take().unwrap() > first + 1);
    }
}
