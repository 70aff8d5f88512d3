//! Compiles the .proto files with `protox`, so that nobody needs a `protoc`.

use std::{env, error::Error, fs, path::Path};

use prost::Message;
use prost_build::Config;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_file("mp/manager/v1/manager.proto")?
        .file_descriptor_set();
    let mut config = Config::new();
    config.bytes(["."]);
    generate(config, descriptors.clone())?;
    let encoded = descriptors.encode_to_vec();
    fs::write(Path::new(&env::var("OUT_DIR")?).join("descriptors.bin"), encoded)?;
    Ok(())
}

#[cfg(feature = "grpc")]
fn generate(config: Config, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        // Who connects brings a channel of their own.
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

#[cfg(not(feature = "grpc"))]
fn generate(mut config: Config, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    config.compile_fds(descriptors)?;
    Ok(())
}
