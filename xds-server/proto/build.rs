//! Compiles the .proto files, without protoc.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "berth/session/v1/sessions.proto";
    println!("cargo:rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["."])?;
    let folder = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(folder.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_server(grpc)
        .build_client(grpc)
        // Of an order, so that equal messages are equal bytes; and without a random seed for the module.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
