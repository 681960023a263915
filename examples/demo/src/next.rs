//! What somebody at a terminal can try while it is all up.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use berth_tests::{Error, World, berth};

use crate::failure::Problem;

/// Writes a token to a file and prints commands that work as they are.
pub(crate) fn say(world: &World) -> Result<(), Problem> {
    let token_file = world.folder().join("token");
    let token = world
        .token()
        .subject("you")
        .expires_in(TOKEN_SECONDS)
        .sign()
        .map_err(Error::from)?;
    let mut file = fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&token_file)?;
    file.write_all(token.as_bytes())?;

    let berth = berth()?;
    let (client, berth) = (shown(&berth.with_file_name("berth-client")), shown(&berth));
    let (ca, token) = (shown(world.ca_file()), shown(&token_file));
    let (web, native) = (world.https().port(), world.native().port());
    let admin = world.berth().admin_url();
    let envoy = world.envoy(0)?.admin_url();
    println!(
        "
Everything stays up until Ctrl-C. In another terminal, with a token that lasts {} h:

  {client} wss://localhost:{web}/web/sign_in --ca {ca} --token-file {token}
  {client} wss://localhost:{native}/rtsp --ca {ca} --token-file {token}
  {berth} sessions --admin {admin}
  {berth} instances --admin {admin}
  curl --cacert {ca} \"https://localhost:{web}/web/sign_in?token=$(cat {token})\"

  {admin}/metrics   Berth's metrics
  {envoy}   Envoy's admin interface",
        TOKEN_SECONDS / 3600
    );
    for instance in world.instances() {
        println!(
            "  http://{}/records   whom this instance has served",
            instance.readiness_address()
        );
    }
    println!(
        "  {}   configuration, certificates, keys, logs",
        shown(world.folder())
    );
    Ok(())
}

/// As short as it can be written from here.
pub(crate) fn shown(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A working day's.
const TOKEN_SECONDS: i64 = 8 * 3600;
