//! Compiles the .proto files of an earlier build (`before/proto`), for the client that speaks them.

use std::{env, error::Error, fs, path::Path};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=before/proto");
    let descriptors = protox::compile(["mp/manager/v1/manager.proto"], ["before/proto"])?;
    let encoded = descriptors.encode_to_vec();
    fs::write(Path::new(&env::var("OUT_DIR")?).join("before.bin"), encoded)?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
