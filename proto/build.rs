//! Compiles the .proto files with `protox`, so that nobody needs a `protoc`.

use std::{collections::BTreeMap, env, error::Error, fmt::Write as _, fs, path::Path};

use prost::Message;
use prost_build::Config;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// Messages that take more room than those beside them, which would all be as large.
const BOXED: [(&str, &str); 4] = [
    ("Request", "op.pool"),
    ("Reply", "result.pool_status"),
    ("Reply", "result.pool_orders"),
    ("Reply", "result.pool_tasks"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_file("mp/manager/v1/manager.proto")?
        .file_descriptor_set();
    let mut config = Config::new();
    config.bytes(["."]);
    for (message, field) in BOXED {
        config.boxed(format!(".mp.manager.v1.{message}.{field}"));
    }
    generate(config, descriptors.clone())?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("frame_fields.rs"), frame_fields(&descriptors)?)?;
    fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}

#[cfg(feature = "grpc")]
fn generate(config: Config, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        // Who connects brings a channel of their own.
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    generate_server();
    Ok(())
}

#[cfg(not(feature = "grpc"))]
fn generate(mut config: Config, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    config.compile_fds(descriptors)?;
    Ok(())
}

/// The service as the server has it: without sessions and beats, which it serves itself.
#[cfg(feature = "grpc")]
fn generate_server() {
    use tonic_build::manual::{Builder, Method, Service};

    let handshake = Method::builder()
        .name("handshake")
        .route_name("Handshake")
        .input_type("crate::v1::HandshakeRequest")
        .output_type("crate::v1::HandshakeResponse")
        .codec_path("tonic_prost::ProstCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let service =
        Service::builder().name("Manager").package("mp.manager.v1").method(handshake).build();
    Builder::new().build_client(false).compile(&[service]);
}

/// What weighing a frame (`src/frame/weight.rs`) has to know of every message that can be in one: for
/// each field, by its number, what its elements take once they are decoded.
fn frame_fields(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let messages: BTreeMap<&str, &DescriptorProto> =
        descriptors.file.iter().flat_map(|f| &f.message_type).map(|m| (m.name(), m)).collect();
    let mut found = vec!["ClientFrame"];
    let mut tables = String::new();
    let mut at = 0;
    while let Some(&name) = found.get(at) {
        at += 1;
        let message = messages.get(name).ok_or_else(|| format!("there is no message {name}"))?;
        let mut fields = BTreeMap::new();
        for field in &message.field {
            fields.insert(field.number(), frame_field(name, field, &messages, &mut found)?);
        }
        let last = fields.last_key_value().map_or(0, |(number, _)| *number);
        writeln!(tables, "    // {name}\n    &[")?;
        for number in 0..=last {
            let field = fields.get(&number).map_or("Field::Inline", String::as_str);
            writeln!(tables, "        {field},")?;
        }
        writeln!(tables, "    ],")?;
    }
    Ok(format!("static MESSAGES: [&[Field]; {}] = [\n{tables}];\n", found.len()))
}

fn frame_field<'a>(
    message: &str,
    field: &'a FieldDescriptorProto,
    messages: &BTreeMap<&'a str, &DescriptorProto>,
    found: &mut Vec<&'a str>,
) -> Result<String, Box<dyn Error>> {
    let is_repeated = field.label() == Label::Repeated;
    let counter = match (message, field.name()) {
        ("ClientFrame", "requests") => "Counter::Requests",
        ("ClientFrame", "acks") => "Counter::Acks",
        ("ClientFrame", "cancels") => "Counter::Cancels",
        ("Reconcile", "open") => "Counter::Open",
        ("Reconcile", "cancelled") => "Counter::Cancelled",
        _ => "Counter::Elements",
    };
    Ok(match (field.r#type(), is_repeated) {
        (Type::Message, _) => {
            let name = field.type_name().rsplit('.').next().unwrap_or_default();
            let (&name, _) = messages
                .get_key_value(name)
                .ok_or_else(|| format!("there is no message {name}"))?;
            let known = found.iter().position(|there| *there == name);
            let index = known.unwrap_or_else(|| {
                found.push(name);
                found.len() - 1
            });
            let is_boxed = BOXED.iter().any(|(boxed, at)| {
                *boxed == message && at.rsplit('.').next() == Some(field.name())
            });
            if is_repeated {
                format!("Field::Messages({index}, size_of::<crate::v1::{name}>(), {counter})")
            } else if is_boxed {
                format!("Field::Boxed({index}, size_of::<crate::v1::{name}>())")
            } else {
                format!("Field::Message({index})")
            }
        }
        (Type::Bytes, true) => "Field::Bytes".into(),
        (Type::String, false) => "Field::Text".into(),
        (Type::String, true) => "Field::Texts".into(),
        (Type::Uint64, true) => format!("Field::Numbers({counter})"),
        (other, true) => {
            return Err(
                format!("weighing a frame does not know repeated fields of {other:?}").into()
            );
        }
        (_, false) => "Field::Inline".into(),
    })
}
