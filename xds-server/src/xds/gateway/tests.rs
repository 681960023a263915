use super::*;

#[test]
fn a_private_key_is_not_printed() {
    let certificate = Certificate {
        chain_pem: "CHAIN".to_owned(),
        private_key_pem: "KEY".to_owned(),
    };
    let shown = format!("{certificate:?}");
    assert!(shown.contains("CHAIN") && !shown.contains("KEY"), "{shown}");
}
