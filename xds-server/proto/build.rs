//! Compiles the .proto files, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "berth/session/v1/sessions.proto";
    println!("cargo:rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["."])?;
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_server(grpc)
        .build_client(grpc)
        // Of an order, so that equal messages are equal bytes; and without a random seed for the module.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
