//! Server reflection: what the services are, for clients that were not built with their descriptions.
//!
//! Versions v1 and v1alpha have the same messages under two names; tools ask for either. What is not known
//! is an answer and not the end of the stream, as tools ask for several things on one.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use http::{Request, Response, Uri};
use prost::{DecodeError, Message};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};
use tonic::{Code, Status, Streaming, body::Body, server::NamedService};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest as Question, ServerReflectionResponse as Answer, ServiceResponse,
    server_reflection_request::MessageRequest as Ask,
    server_reflection_response::MessageResponse as Say,
    server_reflection_server::{ServerReflection, ServerReflectionServer},
};

const PATH: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The service in version v1.
pub(crate) type V1 = ServerReflectionServer<Reflection>;

/// The service of these descriptions and of its own.
///
/// # Errors
/// If a description is none.
pub(crate) fn service(descriptions: &[&[u8]]) -> Result<V1, DecodeError> {
    use tonic_reflection::pb;
    let own = [pb::v1::FILE_DESCRIPTOR_SET, pb::v1alpha::FILE_DESCRIPTOR_SET];
    let mut index = Index::default();
    for set in descriptions.iter().chain(&own) {
        FileDescriptorSet::decode(*set)?.file.iter().for_each(|file| index.add(file));
    }
    Ok(ServerReflectionServer::new(Reflection(Arc::new(index))))
}

/// Answers questions about its index.
pub(crate) struct Reflection(Arc<Index>);

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<Question>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let (index, questions) = (Arc::clone(&self.0), request.into_inner());
        Ok(tonic::Response::new(Answers { index, questions }))
    }
}

/// An answer to each question, in their order.
pub(crate) struct Answers {
    index: Arc<Index>,
    questions: Streaming<Question>,
}

impl Stream for Answers {
    type Item = Result<Answer, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let question = ready!(Pin::new(&mut this.questions).poll_next(cx));
        Poll::Ready(question.map(|question| question.map(|question| this.index.answer(question))))
    }
}

/// Everything that can be asked for.
#[derive(Debug, Default)]
struct Index {
    services: Vec<String>,
    /// Encoded files, by their names.
    files: BTreeMap<String, Arc<[u8]>>,
    /// The files that symbols are in, by their full names.
    symbols: BTreeMap<String, Arc<[u8]>>,
}

impl Index {
    fn add(&mut self, file: &FileDescriptorProto) {
        let encoded: Arc<[u8]> = file.encode_to_vec().into();
        let package = file.package();
        self.files.insert(file.name().into(), Arc::clone(&encoded));
        for message in &file.message_type {
            self.add_message(package, message, &encoded);
        }
        for values in &file.enum_type {
            self.add_enum(package, values, &encoded);
        }
        for service in &file.service {
            self.add_service(package, service, &encoded);
        }
    }

    fn add_symbol(&mut self, scope: &str, name: &str, file: &Arc<[u8]>) -> String {
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(full.clone(), Arc::clone(file));
        full
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, file: &Arc<[u8]>) {
        let scope = self.add_symbol(scope, message.name(), file);
        for field in &message.field {
            self.add_symbol(&scope, field.name(), file);
        }
        for oneof in &message.oneof_decl {
            self.add_symbol(&scope, oneof.name(), file);
        }
        for nested in &message.nested_type {
            self.add_message(&scope, nested, file);
        }
        for values in &message.enum_type {
            self.add_enum(&scope, values, file);
        }
    }

    fn add_enum(&mut self, scope: &str, values: &EnumDescriptorProto, file: &Arc<[u8]>) {
        let within = self.add_symbol(scope, values.name(), file);
        for value in &values.value {
            self.add_symbol(&within, value.name(), file);
        }
    }

    fn add_service(&mut self, scope: &str, service: &ServiceDescriptorProto, file: &Arc<[u8]>) {
        let scope = self.add_symbol(scope, service.name(), file);
        for method in &service.method {
            self.add_symbol(&scope, method.name(), file);
        }
        self.services.push(scope);
    }

    fn answer(&self, question: Question) -> Answer {
        let said = match &question.message_request {
            Some(Ask::FileByFilename(name)) => file(self.files.get(name), "file", name),
            Some(Ask::FileContainingSymbol(name)) => file(self.symbols.get(name), "symbol", name),
            Some(Ask::FileContainingExtension(extension)) => not_found(format!(
                "no extension {} of {}",
                extension.extension_number, extension.containing_type
            )),
            Some(Ask::AllExtensionNumbersOfType(name)) if self.symbols.contains_key(name) => {
                let base_type_name = name.clone();
                let extension_number = Vec::new();
                Say::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name,
                    extension_number,
                })
            }
            Some(Ask::AllExtensionNumbersOfType(name)) => not_found(format!("no type \"{name}\"")),
            Some(Ask::ListServices(_)) => {
                let service = |name: &String| ServiceResponse { name: name.clone() };
                let service = self.services.iter().map(service).collect();
                Say::ListServicesResponse(ListServiceResponse { service })
            }
            None => error(Code::InvalidArgument, "the request asks for nothing known here".into()),
        };
        Answer {
            valid_host: question.host.clone(),
            original_request: Some(question),
            message_response: Some(said),
        }
    }
}

fn file(found: Option<&Arc<[u8]>>, what: &str, name: &str) -> Say {
    match found {
        Some(file) => Say::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![file.to_vec()],
        }),
        None => not_found(format!("no {what} \"{name}\"")),
    }
}

fn not_found(message: String) -> Say {
    error(Code::NotFound, message)
}

fn error(code: Code, error_message: String) -> Say {
    Say::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })
}

/// The service in version v1alpha: the same under another name.
#[derive(Clone)]
pub(crate) struct V1Alpha(pub(crate) V1);

impl NamedService for V1Alpha {
    const NAME: &'static str = "grpc.reflection.v1alpha.ServerReflection";
}

impl tower::Service<Request<Body>> for V1Alpha {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <V1 as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower::Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if request.uri().path().ends_with("/ServerReflectionInfo") {
            *request.uri_mut() = Uri::from_static(PATH);
        }
        tower::Service::call(&mut self.0, request)
    }
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    fn answer(ask: Option<Ask>) -> Say {
        let mut index = Index::default();
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        set.file.iter().for_each(|file| index.add(file));
        let question = Question { host: "here".into(), message_request: ask };
        let answer = index.answer(question.clone());
        assert_eq!((answer.valid_host, answer.original_request), ("here".into(), Some(question)));
        answer.message_response.unwrap()
    }

    #[test]
    fn files_are_found_by_what_is_in_them() {
        for symbol in [
            "mp.manager.v1.Manager",
            "mp.manager.v1.Manager.Session",
            "mp.manager.v1.Request",
            "mp.manager.v1.Request.seq",
            "mp.manager.v1.Request.op",
            "mp.manager.v1.Kind",
            "mp.manager.v1.Kind.KIND_DICT",
        ] {
            let Say::FileDescriptorResponse(files) =
                answer(Some(Ask::FileContainingSymbol(symbol.into())))
            else {
                panic!("{symbol}")
            };
            let file = FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]).unwrap();
            let again = answer(Some(Ask::FileByFilename(file.name().into())));
            assert_eq!(again, Say::FileDescriptorResponse(files), "{symbol}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_answer() {
        for (ask, code) in [
            (Some(Ask::FileContainingSymbol("no.such.Thing".into())), Code::NotFound),
            (Some(Ask::FileByFilename("nothing.proto".into())), Code::NotFound),
            (Some(Ask::FileContainingExtension(Default::default())), Code::NotFound),
            (Some(Ask::AllExtensionNumbersOfType("no.such.Thing".into())), Code::NotFound),
            (None, Code::InvalidArgument),
        ] {
            let Say::ErrorResponse(error) = answer(ask.clone()) else { panic!("{ask:?}") };
            assert_eq!(error.error_code, i32::from(code), "{ask:?}");
            assert!(!error.error_message.is_empty());
        }
    }
}
