//! A client of an earlier build works against the manager of today, and what it says and hears means what it
//! meant.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::collections::BTreeMap;

use mp_manager_proto::FILE_DESCRIPTOR_SET;
use mp_manager_tests::{
    TestServer,
    before::{
        self, Client,
        v1::{
            ArrayItem, ArrayOp, ArrayParameters, BarrierOp, BarrierParameters, BarrierWait,
            ClientFrame, ConditionOp, DictAdd, DictOp, DictPage, DirectoryOp, Empty, Entry,
            EventOp, Fence, Inspect, Kind, List, ListOp, LockOp, NamespaceOp, Open, PageRequest,
            Parameters, PipeMessage, PipeOp, PipeReceive, QueueItem, QueueOp, RLockOp, Reason, Ref,
            Release, Request, ScalarAdd, ScalarOp, ScalarParameters, SemaphoreOp,
            SemaphoreParameters, SetOp, Value, array_op, barrier_op, condition_op, dict_op,
            directory_op, event_op, list_op, lock_op, namespace_op, parameters, pipe_message,
            pipe_op, queue_op, r_lock_op, reply, request, scalar_op, semaphore_op, set_op,
        },
    },
};
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};
use reply::Result as R;

type Messages = BTreeMap<String, DescriptorProto>;

/// Everything that is described, by its name.
struct Described {
    messages: Messages,
    enums: BTreeMap<String, EnumDescriptorProto>,
    services: BTreeMap<String, ServiceDescriptorProto>,
}

impl Described {
    fn new(set: &[u8]) -> Self {
        let set = FileDescriptorSet::decode(set).unwrap();
        let ours = || set.file.iter().filter(|file| file.package() == "mp.manager.v1");
        // Nothing is nested in these.
        let messages = ours().flat_map(|file| &file.message_type);
        let enums = ours().flat_map(|file| &file.enum_type);
        let services = ours().flat_map(|file| &file.service);
        Self {
            messages: messages.map(|message| (message.name().into(), message.clone())).collect(),
            enums: enums.map(|values| (values.name().into(), values.clone())).collect(),
            services: services.map(|service| (service.name().into(), service.clone())).collect(),
        }
    }
}

/// What of a field matters to who reads it.
fn form(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let oneof = field.oneof_index.and_then(|n| message.oneof_decl.get(usize::try_from(n).ok()?));
    format!(
        "{} {:?} {:?} {} {:?}",
        field.name(),
        field.label(),
        field.r#type(),
        field.type_name(),
        oneof.map(|oneof| oneof.name()),
    )
}

/// If this fails, an older peer cannot follow: the change needs a new version of the protocol
/// (`mp_manager_proto::version`), with which both forms are spoken.
#[test]
fn every_message_of_before_has_its_form() {
    let (before, now) =
        (Described::new(before::FILE_DESCRIPTOR_SET), Described::new(FILE_DESCRIPTOR_SET));
    assert!(before.messages.len() > 80, "{} messages", before.messages.len());
    for (name, message) in &before.messages {
        let today = now.messages.get(name).unwrap_or_else(|| panic!("{name} is gone"));
        for field in &message.field {
            let same = today.field.iter().find(|other| other.number() == field.number());
            let same = same.unwrap_or_else(|| panic!("{name}.{} is gone", field.name()));
            assert_eq!(form(message, field), form(today, same), "{name}");
        }
    }
    for (name, values) in &before.enums {
        let today = &now.enums[name];
        for value in &values.value {
            let is_same = today.value.iter().any(|other| other == value);
            assert!(is_same, "{name}.{} is another", value.name());
        }
    }
    for (name, service) in &before.services {
        for method in &service.method {
            assert!(now.services[name].method.contains(method), "{name}.{}", method.name());
        }
    }
}

#[tokio::test]
async fn a_client_of_before_works_over_tcp() {
    let server = TestServer::start();
    works(&server.address()).await;
}

#[tokio::test]
async fn a_client_of_before_works_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::in_directory(directory.path());
    works(&server.address()).await;
}

async fn works(address: &str) {
    let mut client = Client::start(address).await;
    client.beat().await;
    collections(&mut client).await;
    numbers(&mut client).await;
    locks(&mut client).await;
    queues(&mut client).await;
    signals(&mut client).await;
    references(&mut client).await;
    directory(&mut client).await;
    client.beat().await;
    client.end().await;
}

async fn open(client: &mut Client, name: Option<&str>, kind: Kind) -> u64 {
    open_with(client, name, kind, None).await
}

async fn open_with(
    client: &mut Client,
    name: Option<&str>,
    kind: Kind,
    parameters: Option<parameters::Parameters>,
) -> u64 {
    let parameters = parameters.map(|parameters| Parameters { parameters: Some(parameters) });
    let name = name.map(str::to_owned);
    let open = Open { name, kind: kind.into(), parameters, ..Open::default() };
    match client.directory(directory_op::Op::Open(open)).await {
        Ok(R::Opened(opened)) => opened.r#ref.unwrap().object,
        other => panic!("{other:?}"),
    }
}

/// A number as a value.
fn value(n: u8) -> Value {
    Value { data: vec![n], refs: Vec::new() }
}

/// One letter as a key.
fn key(letter: u8) -> Vec<u8> {
    vec![0xa1, letter]
}

async fn collections(client: &mut Client) {
    let dict = open(client, Some("dict"), Kind::Dict).await;
    let ask = |op| request::Op::Dict(DictOp { op: Some(op) });
    let entry = Entry { key: key(b'a'), value: Some(value(1)) };
    let inserted = client.ask(dict, ask(dict_op::Op::Insert(entry))).await;
    assert_eq!(inserted, Ok(R::Absent(Empty {})));
    let got = client.ask(dict, ask(dict_op::Op::Get(key(b'a')))).await;
    assert_eq!(got, Ok(R::Value(value(1))));
    let add = DictAdd { key: key(b'a'), delta: Some(value(2)), ..DictAdd::default() };
    let sum = client.ask(dict, ask(dict_op::Op::Add(add))).await;
    assert_eq!(sum, Ok(R::Value(value(3))));
    let page = Some(PageRequest::default());
    let page = DictPage { page, keys: true, values: true };
    let Ok(R::Page(page)) = client.ask(dict, ask(dict_op::Op::Page(page))).await else { panic!() };
    assert_eq!((page.keys, page.values, page.next), (vec![key(b'a')], vec![value(3)], None));

    let list = open(client, Some("list"), Kind::List).await;
    let ask = |op| request::Op::List(ListOp { op: Some(op) });
    for n in [2, 1] {
        client.ask(list, ask(list_op::Op::Push(value(n)))).await.unwrap();
    }
    client.ask(list, ask(list_op::Op::Sort(Default::default()))).await.unwrap();
    assert_eq!(client.ask(list, ask(list_op::Op::Get(0))).await, Ok(R::Value(value(1))));
    let missing = client.ask(list, ask(list_op::Op::Get(7))).await.unwrap_err();
    assert_eq!(missing.reason(), Reason::IndexOutOfRange);

    let set = open(client, Some("set"), Kind::Set).await;
    let ask = |op| request::Op::Set(SetOp { op: Some(op) });
    assert_eq!(client.ask(set, ask(set_op::Op::Add(key(b'x')))).await, Ok(R::Flag(true)));
    assert_eq!(client.ask(set, ask(set_op::Op::Pop(Empty {}))).await, Ok(R::Raw(key(b'x'))));

    let namespace = open(client, Some("namespace"), Kind::Namespace).await;
    let ask = |op| request::Op::Namespace(NamespaceOp { op: Some(op) });
    let missing = client.ask(namespace, ask(namespace_op::Op::Get("x".into()))).await;
    assert_eq!(missing, Ok(R::Absent(Empty {})));
}

async fn numbers(client: &mut Client) {
    let initial = parameters::Parameters::Scalar(ScalarParameters { initial: Some(value(1)) });
    let scalar = open_with(client, Some("value"), Kind::Value, Some(initial)).await;
    let add = ScalarAdd { delta: vec![1], ..ScalarAdd::default() };
    let add = request::Op::Scalar(ScalarOp { op: Some(scalar_op::Op::Add(add)) });
    assert_eq!(client.ask(scalar, add).await, Ok(R::Value(value(2))));

    // Of u8.
    let zeros = ArrayParameters { element_type: 2, len: 3, ..ArrayParameters::default() };
    let zeros = parameters::Parameters::Array(zeros);
    let array = open_with(client, Some("array"), Kind::Array, Some(zeros)).await;
    let add = array_op::Op::Add(ArrayItem { index: -1, element: vec![7] });
    let add = request::Op::Array(ArrayOp { op: Some(add) });
    assert_eq!(client.ask(array, add).await, Ok(R::Raw(vec![7])));
}

async fn locks(client: &mut Client) {
    let lock = open(client, Some("lock"), Kind::Lock).await;
    let acquire = || request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) });
    let release = |token| request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(token)) });
    let Ok(R::Grant(first)) = client.ask(lock, acquire()).await else { panic!() };
    let attempt =
        Request { object: lock, timeout_us: Some(0), op: Some(acquire()), ..Default::default() };
    assert_eq!(client.ask_as_is(attempt).await, Ok(R::Absent(Empty {})));

    // One that waits goes on when the session is resumed, one that is given up leaves the line.
    let waits = Request { object: lock, op: Some(acquire()), ..Request::default() };
    let given_up = client.request(waits.clone()).await;
    client.send(ClientFrame { cancels: vec![given_up], ..ClientFrame::default() }).await;
    client.ask(lock, release(first.token)).await.unwrap();
    let Ok(R::Grant(second)) = client.ask(lock, acquire()).await else { panic!() };
    assert!(second.token > first.token);
    client.ask(lock, release(second.token)).await.unwrap();
    let late = client.ask(lock, release(second.token)).await.unwrap_err();
    assert_eq!(late.reason(), Reason::NotHeld);

    let rlock = open(client, Some("rlock"), Kind::Rlock).await;
    let acquire = request::Op::Rlock(RLockOp { op: Some(r_lock_op::Op::Acquire(5)) });
    for depth in [1, 2] {
        let Ok(R::Grant(grant)) = client.ask(rlock, acquire.clone()).await else { panic!() };
        assert_eq!(grant.depth, depth);
    }
    let permits = SemaphoreParameters { permits: 2, bounded: true };
    let permits = parameters::Parameters::Semaphore(permits);
    let semaphore = open_with(client, Some("semaphore"), Kind::Semaphore, Some(permits)).await;
    let acquire = semaphore_op::Op::Acquire(2);
    let acquire = request::Op::Semaphore(SemaphoreOp { op: Some(acquire) });
    assert!(matches!(client.ask(semaphore, acquire).await, Ok(R::Grant(_))));
    let condition = open(client, Some("condition"), Kind::Condition).await;
    let acquire = condition_op::Op::Acquire(1);
    let acquire = request::Op::Condition(ConditionOp { op: Some(acquire) });
    assert!(matches!(client.ask(condition, acquire).await, Ok(R::Grant(_))));
}

async fn queues(client: &mut Client) {
    let queue = open(client, Some("queue"), Kind::Queue).await;
    let ask = |op| request::Op::Queue(QueueOp { op: Some(op) });
    let put = || ask(queue_op::Op::Put(QueueItem { value: Some(value(1)), priority: None }));
    let get = || ask(queue_op::Op::Get(Empty {}));
    client.ask(queue, put()).await.unwrap();
    let Ok(R::Delivery(item)) = client.ask(queue, get()).await else { panic!() };
    assert_eq!((item.value, item.deliveries), (Some(value(1)), 1));
    let timed =
        Request { object: queue, timeout_us: Some(1), op: Some(get()), ..Default::default() };
    assert_eq!(client.ask_as_is(timed).await, Ok(R::Absent(Empty {})));

    // What is fenced never waited: for this client there is nothing to take, either way it is said.
    let lock = open(client, Some("fence"), Kind::Lock).await;
    let acquire = request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) });
    let Ok(R::Grant(grant)) = client.ask(lock, acquire).await else { panic!() };
    let fence = Some(Fence { lock, token: grant.token });
    let fenced = |op| Request { object: queue, fence, op: Some(op), ..Request::default() };
    client.ask_as_is(fenced(put())).await.unwrap();
    assert!(matches!(client.ask_as_is(fenced(get())).await, Ok(R::Delivery(_))));
    match client.ask_as_is(fenced(get())).await {
        Ok(R::Absent(_)) => {}
        Err(error) if error.reason() == Reason::Empty => {}
        other => panic!("{other:?}"),
    }
    let dead = Request { fence: Some(Fence { lock, token: 1 }), ..fenced(put()) };
    assert_eq!(client.ask_as_is(dead).await.unwrap_err().reason(), Reason::Fenced);

    let pipe = open(client, Some("pipe"), Kind::Pipe).await;
    let ask = |end, op| request::Op::Pipe(PipeOp { end, op: Some(op) });
    for end in [0, 1] {
        client.ask(pipe, ask(end, pipe_op::Op::Attach(Empty {}))).await.unwrap();
    }
    let message = PipeMessage { content: Some(pipe_message::Content::Raw(b"hello".to_vec())) };
    client.ask(pipe, ask(0, pipe_op::Op::Send(message.clone()))).await.unwrap();
    let received = client.ask(pipe, ask(1, pipe_op::Op::Receive(PipeReceive::default()))).await;
    assert_eq!(received, Ok(R::Message(message)));
}

async fn signals(client: &mut Client) {
    let event = open(client, Some("event"), Kind::Event).await;
    let ask = |op| request::Op::Event(EventOp { op: Some(op) });
    let op = Some(ask(event_op::Op::Wait(Empty {})));
    let waits = client.request(Request { object: event, op, ..Request::default() }).await;
    client.ask(event, ask(event_op::Op::Set(Empty {}))).await.unwrap();
    assert_eq!(client.reply(waits).await, Ok(R::Flag(true)));
    client.acknowledge(waits).await;

    let parties = parameters::Parameters::Barrier(BarrierParameters { parties: 1 });
    let barrier = open_with(client, Some("barrier"), Kind::Barrier, Some(parties)).await;
    let wait = barrier_op::Op::Wait(BarrierWait { has_action: false });
    let wait = request::Op::Barrier(BarrierOp { op: Some(wait) });
    let Ok(R::Arrival(arrival)) = client.ask(barrier, wait).await else { panic!() };
    assert_eq!((arrival.index, arrival.run_action), (0, false));
}

async fn references(client: &mut Client) {
    let open = Open { kind: Kind::List.into(), ..Open::default() };
    let Ok(R::Opened(opened)) = client.directory(directory_op::Op::Open(open)).await else {
        panic!()
    };
    let reference: Ref = opened.r#ref.unwrap();
    let list = open_list(client).await;
    let push = |value| request::Op::List(ListOp { op: Some(list_op::Op::Push(value)) });
    let refers = Value { data: vec![0xc0], refs: vec![reference] };
    client.ask(list, push(refers)).await.unwrap();
    let release = Release { object: reference.object, count: 1 };
    let released = client.directory(directory_op::Op::Release(release)).await;
    assert_eq!(released, Ok(R::Done(Empty {})));
    // The value keeps it.
    client.ask(reference.object, push(value(1))).await.unwrap();
}

async fn open_list(client: &mut Client) -> u64 {
    open(client, Some("references"), Kind::List).await
}

async fn directory(client: &mut Client) {
    use directory_op::Op;
    assert_eq!(client.directory(Op::Ping(Empty {})).await, Ok(R::Done(Empty {})));
    assert_eq!(client.directory(Op::Exists("dict".into())).await, Ok(R::Flag(true)));
    let all = List { prefix: "l".into(), ..List::default() };
    let Ok(R::Listing(listing)) = client.directory(Op::List(all)).await else { panic!() };
    let names: Vec<_> = listing.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!((&names[..], listing.more), (&["list", "lock"][..], false));
    let inspect = Inspect { name: Some("rlock".into()) };
    let Ok(R::Inspection(inspection)) = client.directory(Op::Inspect(inspect)).await else {
        panic!()
    };
    assert_eq!(inspection.objects[0].holders.len(), 1);
    let Ok(R::Inspection(all)) = client.directory(Op::Inspect(Inspect::default())).await else {
        panic!()
    };
    assert!(all.objects.len() > 10 && all.sessions.len() == 1);
    let Ok(R::Inspection(counts)) = client.directory(Op::Statistics(Empty {})).await else {
        panic!()
    };
    assert_eq!(counts.statistics.unwrap().sessions, 1);
    assert_eq!(client.directory(Op::Delete("dict".into())).await, Ok(R::Done(Empty {})));
    let gone = client.directory(Op::Delete("dict".into())).await.unwrap_err();
    assert_eq!(gone.reason(), Reason::ObjectNotFound);
    let unknown = DirectoryOp { op: None };
    let refused = client.ask(0, request::Op::Directory(unknown)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Unsupported);
}

#[tokio::test]
async fn a_client_of_before_resumes_its_session() {
    let server = TestServer::start();
    let mut client = Client::start(&server.address()).await;
    let lock = open(&mut client, Some("lock"), Kind::Lock).await;
    let acquire = || request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) });
    let Ok(R::Grant(grant)) = client.ask(lock, acquire()).await else { panic!() };
    let waits = Request { object: lock, op: Some(acquire()), ..Request::default() };
    let waits = client.request(waits).await;
    // It was taken in.
    client.directory(directory_op::Op::Ping(Empty {})).await.unwrap();

    let mut client = client.reconnect(&[waits]).await;
    let release = request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(grant.token)) });
    client.ask(lock, release).await.unwrap();
    assert!(matches!(client.reply(waits).await, Ok(R::Grant(_))));
    client.beat().await;
    client.end().await;
}

/// What it hears is an end, after which it begins a session of its own.
#[tokio::test]
async fn a_client_of_before_whose_session_is_resumed_by_another_hears_the_end() {
    let server = TestServer::start();
    let mut client = Client::start(&server.address()).await;
    client.directory(directory_op::Op::Ping(Empty {})).await.unwrap();
    let other = client.resumed_by_another().await;
    let ended = client.farewell().await.expect("it is told why");
    assert_eq!(ended.reason(), Reason::SessionEnded);
    assert!(ended.message.contains("resumed on another connection"), "{}", ended.message);
    drop(other);
}
