//! Where children begin, and what they do then.

use std::{
    env,
    fs::File,
    io,
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Command, exit},
    sync::{Arc, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

use rustix::{
    net::RecvFlags,
    process::{Signal, getpid, kill_process, set_parent_process_death_signal},
};
use signal_hook::consts::SIGINT;

use crate::{
    failure::TaskFailure,
    objects::Manager,
    process::{
        arguments::Arguments,
        bootstrap::{Bootstrap, CHILD_VARIABLE, NONCE_LEN, Role},
        children,
        control::{Control, Frame, FrameKind, HEADER_LEN, VERSION},
        current_manager, identity,
        place::Place,
        registry,
        worker::{Worker, WorkerHook},
    },
};

/// The exit code of a process whose task panicked, as of a Rust program whose main thread did.
const PANICKED: i32 = 101;
/// How long a process that ends waits for its manager to hear of it.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes this the place where child processes begin: call it first in `main`, or write
/// [`#[mp_manager::main]`](crate::main) above `main`, which does.
///
/// A child is this program again. In a child, `init` does what the child is for and does not return; what
/// comes before it in `main` runs in every child, too. In any other process it only remembers that it was
/// here, as do later calls: a program that a child starts may inherit the child's environment, and runs its
/// `main` as usual.
///
/// A child ignores SIGINT, so that Ctrl-C, which all processes of a terminal get, is left to its parent. It
/// ends when its parent does, however that does. Its stdin is empty.
///
/// When `main` returns, children that still run end with it; [`finish`](crate::process::finish) waits for
/// them, as `#[mp_manager::main]` does.
///
/// # Panics
/// If two tasks have the same name; the message has both places.
///
/// ```
/// // The first line of `main`:
/// mp_manager::init();
/// ```
pub fn init() {
    begin(Place::Main);
}

/// [`init`] in a test, which is found again by its path.
pub(crate) fn init_in_test(path: &str) {
    // The harness leaves out the crate.
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    begin(Place::Test(name.into()));
}

fn begin(place: Place) {
    if let Some(duplicate) = registry::duplicate() {
        // A child, too, would not know which one is meant.
        #[expect(clippy::panic, reason = "a mistake in the program, documented")]
        {
            panic!("{duplicate}");
        }
    }
    place.remember();
    if let Some(control) = control() {
        live(control);
    }
}

/// The socket that a parent put in the place of stdin, if this process is a child.
fn control() -> Option<Control> {
    let nonce = env::var_os(CHILD_VARIABLE)?;
    let stdin = rustix::stdio::stdin();
    // Looks without taking anything: in a process that inherited the variable, stdin is somebody else's.
    let mut hello = [0_u8; HEADER_LEN + NONCE_LEN];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (_, read) = rustix::net::recv(stdin, &mut hello[..], flags).ok()?;
    if read < hello.len() || hello[HEADER_LEN..] != *nonce.as_encoded_bytes() {
        return None;
    }
    // Before anything is read: a parent that dies from here on takes this process along even if it is
    // stopped, and one that died before is an end of file.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null").ok()?).ok()?;
    Some(Control::new(UnixStream::from(socket)))
}

/// Lives as a child.
fn live(control: Control) -> ! {
    // `init()` within a runtime: a task that makes one of its own needs a thread without.
    if tokio::runtime::Handle::try_current().is_ok() {
        let life = thread::Builder::new().name("main".into()).spawn(move || work(control));
        let _ = life.map(thread::JoinHandle::join);
        die();
    }
    work(control)
}

fn work(control: Control) -> ! {
    match receive_role(&control) {
        Ok(role) => perform(control, role),
        // The parent is gone, or speaks another language.
        Err(_) => die(),
    }
}

struct Assignment {
    name: String,
    role: Role,
    arguments: Vec<u8>,
}

fn receive_role(control: &Control) -> io::Result<Assignment> {
    expect(control, FrameKind::Hello)?;
    control.send(FrameKind::Ready, &[VERSION])?;
    let role = expect(control, FrameKind::Role)?;
    let (bootstrap, assigned): (Bootstrap, Role) = decode(&role.payload)?;
    let name = bootstrap.name.clone();
    identity::set(bootstrap);
    let mut descriptors = role.descriptors.iter();
    if let Some(stdout) = descriptors.next() {
        rustix::stdio::dup2_stdout(stdout)?;
    }
    if let Some(stderr) = descriptors.next() {
        rustix::stdio::dup2_stderr(stderr)?;
    }
    let arguments = expect(control, FrameKind::Arguments)?.payload;
    Ok(Assignment { name, role: assigned, arguments })
}

fn expect(control: &Control, kind: FrameKind) -> io::Result<Frame> {
    let frame = control.receive()?.filter(|frame| frame.kind == kind);
    frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(io::Error::other)
}

fn perform(control: Control, assignment: Assignment) -> ! {
    let Assignment { name, role, arguments } = assignment;
    match role {
        Role::Program { program, args } => become_program(&control, &program, &args),
        Role::Task { name: task, signature, held } => {
            let control = Arc::new(control);
            stay(&control);
            let taken = || {
                let _ = control.send(FrameKind::Taken, &[]);
            };
            let ran = run_task((&task, &signature), held.as_deref(), &arguments, &taken);
            let status = report(&control, ran);
            leave(status)
        }
        Role::Worker => {
            let control = Arc::new(control);
            let frames = stay(&control);
            let worker = Worker { name, config: arguments, frames };
            match inventory::iter::<WorkerHook>.into_iter().next() {
                Some(hook) => leave((hook.run)(worker)),
                None => leave(1),
            }
        }
    }
}

/// Becomes another program, which inherits the signal for its parent's death.
fn become_program(control: &Control, program: &std::ffi::OsStr, args: &[std::ffi::OsString]) -> ! {
    let error = Command::new(program).args(args).env_remove(CHILD_VARIABLE).exec();
    let chain = vec![format!("cannot run {}", program.display()), error.to_string()];
    tell(control, &TaskFailure::Failed { chain });
    exit(1)
}

/// What a child does beside its task: ends with its parent, and leaves SIGINT to it.
fn stay(control: &Arc<Control>) -> mpsc::Receiver<Frame> {
    // A handler, and not an ignored signal, which programs that the task starts would inherit.
    let _ = signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
    // The parent bounds what it sends. With a bounded channel, a worker that is busy would not notice its
    // parent's death.
    let (send, receive) = mpsc::channel();
    let control = Arc::clone(control);
    let lifeline = move || {
        loop {
            match control.receive() {
                Ok(Some(frame)) if frame.kind == FrameKind::Interrupt => {
                    let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
                }
                Ok(Some(frame)) => {
                    let _ = send.send(frame);
                }
                Ok(None) | Err(_) => die(),
            }
        }
    };
    if thread::Builder::new().name("mp-manager-life".into()).spawn(lifeline).is_err() {
        die();
    }
    receive
}

fn run_task(
    (name, signature): (&str, &str),
    held: Option<&str>,
    arguments: &[u8],
    taken: &dyn Fn(),
) -> Result<(), TaskFailure> {
    let entry = registry::find(name).ok_or(TaskFailure::UnknownTask)?;
    if !signature.is_empty() && entry.signature != signature {
        let (known, asked) = (entry.signature.into(), signature.into());
        return Err(TaskFailure::SignatureMismatch { known, asked });
    }
    let Some(held) = held else { return entry.run_alone(&Arguments::Here(arguments)) };
    let manager = pollster::block_on(Manager::current()).map_err(|error| {
        let chain = vec!["cannot reach the manager of its arguments".into(), error.to_string()];
        TaskFailure::Failed { chain }
    })?;
    entry.run_alone(&Arguments::Held { manager: &manager, name: held, taken })
}

/// Tells the parent how it went, and prints an error as `main` would. Returns the exit code.
fn report(control: &Control, ran: Result<(), TaskFailure>) -> i32 {
    let Err(failure) = ran else { return 0 };
    tell(control, &failure);
    if let TaskFailure::Panicked { .. } = failure {
        // The panic hook has printed it.
        return PANICKED;
    }
    if let TaskFailure::Failed { .. } = failure {
        eprintln!("Error: {failure}");
    } else {
        eprintln!("Error: the task {failure}");
    }
    1
}

fn tell(control: &Control, failure: &TaskFailure) {
    if let Ok(bytes) = rmp_serde::to_vec(failure) {
        let _ = control.send(FrameKind::Failed, &bytes);
    }
}

/// Ends this process in good order.
fn leave(status: i32) -> ! {
    children::finish();
    let (closed, close) = mpsc::channel();
    let goodbye = move || {
        pollster::block_on(current_manager::close());
        let _ = closed.send(());
    };
    if thread::Builder::new().spawn(goodbye).is_ok() {
        // A manager that cannot be reached keeps nobody here.
        let _ = close.recv_timeout(GOODBYE_TIMEOUT);
    }
    exit(status)
}

/// Ends this process at once, whatever it is doing.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
