//! The services beside the manager's own: health checks and reflection, as tools ask for them.

use std::time::Duration;

use mp_manager::Manager;
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawConnection, within};
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

#[tokio::test]
async fn whoever_watches_its_health_hears_of_the_shutdown() {
    let server = TestServer::with(|options| options.shutdown_grace = Duration::from_secs(60));
    let connection = RawConnection::open(&server.address()).await;
    connection.authenticate().await;
    let _session = connection.session().await.unwrap();
    let mut health = HealthClient::new(connection.channel());
    let mut watches = Vec::new();
    for service in ["", "mp.manager.v1.Manager"] {
        let watch = HealthCheckRequest { service: service.into() };
        let mut watch = within(health.watch(watch)).await.unwrap().into_inner();
        let first = within(watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving, "{service}");
        watches.push(watch);
    }
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    within(manager.shutdown()).await.unwrap();
    for mut watch in watches {
        let next = within(watch.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
}

/// The same conversation in a version of the protocol.
macro_rules! reflects {
    ($test:ident, $version:ident) => {
        #[tokio::test]
        async fn $test() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest as Ask,
                server_reflection_response::MessageResponse as Say,
            };
            let server = TestServer::start();
            let connection = RawConnection::open(&server.address()).await;
            let mut client = ServerReflectionClient::new(connection.channel());
            // All on one stream: what is not known does not end it.
            let asks = [
                Ask::FileContainingSymbol("no.such.Thing".into()),
                Ask::FileByFilename("no/such/file.proto".into()),
                Ask::ListServices(String::new()),
                Ask::FileContainingSymbol("mp.manager.v1.Manager".into()),
            ];
            let ask =
                |ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
            let asks: Vec<_> = asks.into_iter().map(ask).collect();
            let answers = client.server_reflection_info(tokio_stream::iter(asks));
            let mut answers = within(answers).await.unwrap().into_inner();
            let mut said = Vec::new();
            while let Some(answer) = within(answers.message()).await.unwrap() {
                said.push(answer.message_response.unwrap());
            }
            for refused in &said[..2] {
                let Say::ErrorResponse(error) = refused else { panic!("{refused:?}") };
                assert_eq!(error.error_code, i32::from(tonic::Code::NotFound));
                assert!(error.error_message.contains("no"), "{error:?}");
            }
            let Say::ListServicesResponse(services) = &said[2] else { panic!("{said:?}") };
            let names: Vec<_> = services.service.iter().map(|service| &service.name[..]).collect();
            for name in [
                "mp.manager.v1.Manager",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ] {
                assert!(names.contains(&name), "{names:?}");
            }
            let Say::FileDescriptorResponse(files) = &said[3] else { panic!("{said:?}") };
            let file = FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]).unwrap();
            assert_eq!(file.name(), "mp/manager/v1/manager.proto");
        }
    };
}

reflects!(reflection_in_v1_answers_what_it_does_not_know, v1);
reflects!(reflection_in_v1alpha_answers_what_it_does_not_know, v1alpha);
