//! Where the programs and the module under test are.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// The control plane: `BERTH_BIN`, or what was built beside the program that asks.
///
/// # Errors
/// [`Error::Missing`] when nobody built it.
pub fn berth() -> Result<PathBuf, Error> {
    let built = || build_folder().map(|folder| folder.join("berth"));
    find("control plane", "BERTH_BIN", built, "run `./just build`")
}

/// The command-line client: `BERTH_CLIENT`, or what was built beside the program that asks. For clients that have to be
/// processes of their own.
///
/// # Errors
/// [`Error::Missing`] when nobody built it.
pub fn client() -> Result<PathBuf, Error> {
    let built = || build_folder().map(|folder| folder.join("berth-client"));
    find("client", "BERTH_CLIENT", built, "run `./just build`")
}

/// Envoy: `BERTH_ENVOY`, or the one `./just setup` fetches.
///
/// # Errors
/// [`Error::Missing`] when nobody fetched it.
pub fn envoy() -> Result<PathBuf, Error> {
    let fetched = || Ok(project().join(".tools/envoy-1.40.0/envoy"));
    find("Envoy", "BERTH_ENVOY", fetched, "run `./just setup`")
}

/// The filter's module: `BERTH_FILTER`, or the one `./just filter` builds.
///
/// # Errors
/// [`Error::Missing`] when nobody built it.
pub fn filter_module() -> Result<PathBuf, Error> {
    let built = || Ok(project().join("target/filter/berth_filter.wasm"));
    find("filter", "BERTH_FILTER", built, "run `./just filter`")
}

/// HAProxy: `BERTH_HAPROXY`, or the one `./just _haproxy` fetches.
///
/// # Errors
/// [`Error::Missing`] when nobody fetched it.
pub fn haproxy() -> Result<PathBuf, Error> {
    let fetched = || Ok(project().join(".tools/haproxy/haproxy"));
    find("HAProxy", "BERTH_HAPROXY", fetched, "run `./just _haproxy`")
}

/// Berth's xDS library as a program, for the benches: what was built beside the program that asks.
///
/// # Errors
/// [`Error::Missing`] when nobody built it.
pub fn xds_alone() -> Result<PathBuf, Error> {
    let built = || build_folder().map(|folder| folder.join("xds-alone"));
    find("xds-alone", "BERTH_XDS_ALONE", built, "run `./just build`")
}

/// The program that serves with go-control-plane what [`xds_alone`] serves: `BERTH_GO_CONTROL_PLANE`. `None` where the
/// variable is not set: nothing fetches or builds it.
///
/// # Errors
/// [`Error::Missing`] when it is not where the variable says.
pub fn go_control_plane() -> Result<Option<PathBuf>, Error> {
    if env::var_os(GO_CONTROL_PLANE).is_none() {
        return Ok(None);
    }
    let nowhere = || Ok(PathBuf::new());
    find(
        "go-control-plane's server",
        GO_CONTROL_PLANE,
        nowhere,
        "name it in BERTH_GO_CONTROL_PLANE, or unset that",
    )
    .map(Some)
}

/// The folder of the checkout.
pub(crate) fn project() -> &'static Path {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member)
}

/// Where cargo put the running program: tests are one folder below the binaries.
pub(crate) fn build_folder() -> Result<PathBuf, Error> {
    let running = env::current_exe().map_err(Error::io("the path of this program"))?;
    let folder = running.parent().unwrap_or_else(|| Path::new("."));
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    Ok(above.unwrap_or(folder).to_owned())
}

fn find(
    what: &'static str,
    variable: &str,
    otherwise: impl FnOnce() -> Result<PathBuf, Error>,
    remedy: &'static str,
) -> Result<PathBuf, Error> {
    let path = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => otherwise()?,
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::Missing { what, path, remedy })
    }
}

const GO_CONTROL_PLANE: &str = "BERTH_GO_CONTROL_PLANE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let nowhere = || Ok(PathBuf::from("/nowhere/berth"));
        let error = find("control plane", "BERTH_NO_SUCH", nowhere, "build it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no control plane at /nowhere/berth: build it"
        );
    }

    #[test]
    fn a_test_looks_among_the_binaries() {
        assert!(!build_folder().unwrap().ends_with("deps"));
        assert!(project().join("Cargo.lock").is_file());
    }
}
