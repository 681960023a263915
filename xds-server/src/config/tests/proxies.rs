//! How the module comes to proxies, and which take nothing over xDS.

use super::*;

#[test]
fn the_module_is_read_only_where_it_is_sent() {
    let module = "module: berth_filter.wasm";
    let inline = |path: &str| complaints(module, &format!("module: {path}\n  delivery: inline"));
    assert_eq!(inline("module.wasm"), [""; 0]);
    let found = inline("berth_filter.wasm").concat();
    assert!(
        found.contains("filter.module: cannot read /etc/berth/berth_filter.wasm"),
        "{found}"
    );
    let found = inline("cert.pem").concat();
    assert!(
        found.contains("filter.module: /etc/berth/cert.pem is no WebAssembly module"),
        "{found}"
    );
    let found = complaints(module, &format!("{module}\n  delivery: pigeon")).concat();
    assert!(
        found.ends_with("filter.delivery: `pigeon` is not known here: write file or inline"),
        "{found}"
    );
}

#[test]
fn static_proxies_have_the_pools_that_they_name_or_all() {
    let with = |entries: &str| {
        GOOD.replace(
            "pools:\n",
            &format!("static_proxies: [{entries}]\npools:\n"),
        )
    };
    let reached = |entries: &str| {
        let config = parse(&with(entries)).unwrap();
        let proxy = config.static_proxies.first().unwrap();
        let names: Vec<_> = config
            .instances_of(proxy)
            .iter()
            .map(ToString::to_string)
            .collect();
        (names, proxy.zone.as_ref().map(ToString::to_string))
    };
    let all = parse(GOOD)
        .unwrap()
        .pools
        .iter()
        .map(|pool| pool.instances.len())
        .sum::<usize>();
    let (names, zone) = reached("{ node: a }");
    assert_eq!((names.len(), zone), (all, None));
    let (names, zone) = reached("{ node: a, pools: [web], zone: z }");
    assert_eq!((names, zone), (web_instances(), Some("z".to_owned())));
    for (entries, complaint) in [
        (
            "{ node: \"\" }",
            "node: is empty: write the Envoy's `node.id`",
        ),
        (
            "{ node: a }, { node: a }",
            "node: `a` is used by static_proxies[0].node already",
        ),
        ("{ node: a, pools: [] }", "pools: is empty: name the pools"),
        (
            "{ node: a, pools: [web, web] }",
            "pools[1]: `web` is used by",
        ),
        (
            "{ node: a, pools: [vr] }",
            "pools[0]: there is no pool `vr`",
        ),
        (
            "{ node: a, zone: e/1 }",
            "zone: `e/1` cannot be a name here",
        ),
    ] {
        let found: Vec<_> = parse(&with(entries))
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        let [found] = found.as_slice() else {
            panic!("{entries}: {found:?}")
        };
        assert!(found.contains(complaint), "{entries}: {found}");
    }
}

fn web_instances() -> Vec<String> {
    let config = parse(GOOD).unwrap();
    let web = config.pools.first().unwrap();
    web.instances
        .iter()
        .map(|instance| instance.name.to_string())
        .collect()
}
