//! What there is to say, all of it: docs/metrics.md has the same as a table.

use std::{
    thread::yield_now,
    time::{Duration, UNIX_EPOCH},
};

use mp_manager_core::{
    Reason,
    engine::{Cause, Engine, MeasuredObject, SessionPage},
    object::Measured,
    objects::QueueStatus,
    v1::{Kind, PoolStatus},
};
use mp_manager_proto::operation;

use super::{
    process::Process,
    text::{Samples, Text},
};
use crate::host::Host;

/// As many objects are looked at before others have their turn, and as many sessions. It takes some tens of
/// microseconds, and the locks of one object at a time.
const PAGE: usize = 256;
/// Queues that have metrics of their own, and pools.
const MAX_LISTED: usize = 1000;
/// The names of all of them together, as each is said several times.
const MAX_NAME_BYTES: usize = 128 << 10;

/// The kinds that are created and counted.
const KINDS: [Kind; 15] = [
    Kind::Dict,
    Kind::List,
    Kind::Set,
    Kind::Namespace,
    Kind::Value,
    Kind::Array,
    Kind::Lock,
    Kind::Rlock,
    Kind::Semaphore,
    Kind::Condition,
    Kind::Event,
    Kind::Barrier,
    Kind::Queue,
    Kind::Pipe,
    Kind::Pool,
];

/// Reasons for which operations are refused that have nothing to do with what they ask: said even if there was
/// none.
const OF_OPERATIONS: [Reason; 2] = [Reason::LimitExceeded, Reason::OutOfMemory];
/// And those of handshakes.
const OF_HANDSHAKES: [Reason; 6] = [
    Reason::AuthenticationFailed,
    Reason::UnsupportedVersion,
    Reason::Protocol,
    Reason::ShuttingDown,
    Reason::Unreachable,
    Reason::LimitExceeded,
];

/// Makes the report. It takes long: call it where nobody waits.
pub(super) fn report(host: &Host) -> String {
    let mut text = Text::default();
    about(&mut text, host);
    process(&mut text, &Process::look());
    connections(&mut text, host);
    sessions(&mut text, &host.engine);
    operations(&mut text, &host.engine);
    objects(&mut text, &host.engine);
    let listed = Listed::look(&host.engine);
    queues(&mut text, &listed.queues);
    pools(&mut text, &listed.pools);
    omitted(&mut text, &listed);
    text.into_string()
}

fn about(text: &mut Text, host: &Host) {
    let statistics = host.engine.statistics();
    text.gauge("build_info", "1, with the version of the manager.")
        .with(&[("version", &statistics.version)], 1);
    let started = host.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    text.gauge("start_time_seconds", "When the manager started, as Unix time.").is(started);
    let uptime = Duration::from_millis(statistics.uptime_ms);
    text.gauge("uptime_seconds", "How long the manager has run.").is(uptime.as_secs_f64());
    text.gauge("memory_used_bytes", "What objects, sessions and calls take of the memory budget.")
        .is(statistics.bytes);
    text.gauge("memory_limit_bytes", "The memory budget, --max-memory-bytes.")
        .is(statistics.max_bytes);
}

fn process(text: &mut Text, process: &Process) {
    if let Some(bytes) = process.resident_bytes {
        text.gauge("process_resident_memory_bytes", "The memory that the process has.").is(bytes);
    }
    if let Some(open) = process.open_descriptors {
        text.gauge("process_open_fds", "Descriptors that are open.").is(open);
    }
    if let Some(max) = process.max_descriptors {
        text.gauge("process_max_fds", "Descriptors that may be open.").is(max);
    }
}

fn connections(text: &mut Text, host: &Host) {
    let connections = host.admission.connections();
    text.gauge("connections", "Connections that are open.").is(connections.open);
    text.gauge("connections_unauthenticated", "Those of them that have not authenticated.")
        .is(connections.strangers);
    text.counter("connections_accepted_total", "Connections that were let in.")
        .is(connections.accepted);
    let help = "Connections that were turned away, or closed before they were of any use.";
    let mut refused = text.counter("connections_refused_total", help);
    for (reason, count) in connections.refused {
        refused.with(&[("reason", reason)], count);
    }
    let help = "Handshakes that were refused.";
    let refused = text.counter("handshakes_refused_total", help);
    by_reason(refused, &host.refused_handshakes.read(), &OF_HANDSHAKES);
}

/// Says how often there was each reason, of those that there were, and of `always`.
fn by_reason(mut samples: Samples<'_>, counts: &[u64], always: &[Reason]) {
    for reason in Reason::all() {
        let count = counts.get(reason as usize).copied().unwrap_or_default();
        if count > 0 || always.contains(&reason) {
            samples.with(&[("reason", &reason.label())], count);
        }
    }
}

fn sessions(text: &mut Text, engine: &Engine) {
    let sum = sum_of_sessions(engine);
    text.gauge("sessions", "Sessions that are open.").is(engine.statistics().sessions);
    text.gauge("open_requests", "Requests whose replies are not acknowledged.").is(sum.open);
    text.gauge("parked_calls", "Calls that wait inside objects.").is(sum.parked);
    let help = "What replies weigh that are not acknowledged.";
    text.gauge("unacknowledged_reply_bytes", help).is(sum.unacknowledged_bytes);
    let tally = engine.tally();
    text.counter("sessions_begun_total", "Sessions that began.").is(tally.sessions_begun);
    let help = "How often a session was resumed on another connection.";
    text.counter("sessions_resumed_total", help).is(tally.sessions_resumed);
    let help =
        "Sessions that have ended; lease_expired: nothing was heard of the client for its lease.";
    let mut ended = text.counter("sessions_ended_total", help);
    for (cause, count) in Cause::ALL.into_iter().zip(tally.sessions_ended) {
        ended.with(&[("cause", cause.label())], count);
    }
}

fn sum_of_sessions(engine: &Engine) -> SessionPage {
    let mut sum = SessionPage::default();
    let mut after = Some(0);
    while let Some(last) = after {
        let page = engine.measure_sessions(last, PAGE);
        sum.open += page.open;
        sum.parked += page.parked;
        sum.unacknowledged_bytes += page.unacknowledged_bytes;
        after = page.next;
        yield_now();
    }
    sum
}

fn operations(text: &mut Text, engine: &Engine) {
    let tally = engine.tally();
    let help = "Requests that were started, by kind of object and operation.";
    let mut operations = text.counter("operations_total", help);
    for (number, kind, op) in operation::names() {
        let count = tally.operations.get(number).copied().unwrap_or_default();
        // What this build does not know is rarely asked for.
        if count > 0 || op != "unknown" {
            operations.with(&[("kind", kind), ("op", &op)], count);
        }
    }
    let help = "Requests that were answered with an error, or refused.";
    let errors = text.counter("operation_errors_total", help);
    by_reason(errors, &tally.errors, &OF_OPERATIONS);
}

fn objects(text: &mut Text, engine: &Engine) {
    let mut objects = text.gauge("objects", "Objects, with and without a name.");
    for kind in KINDS {
        objects.with(&[("kind", &kind.label())], engine.objects_of(kind));
    }
    text.gauge("named_objects", "Objects with a name.").is(engine.statistics().named_objects);
}

/// The queues and pools that have metrics of their own.
#[derive(Debug, Default)]
struct Listed {
    queues: Vec<(String, QueueStatus)>,
    pools: Vec<(String, PoolStatus)>,
    name_bytes: usize,
    queues_omitted: Omitted,
    pools_omitted: Omitted,
}

/// Objects that have no metrics of their own.
#[derive(Debug, Default)]
struct Omitted {
    /// There are too many.
    beyond_limit: usize,
    /// A heavy operation had it.
    busy: usize,
}

impl Listed {
    fn look(engine: &Engine) -> Self {
        let (mut listed, mut after) = (Self::default(), Some(0));
        while let Some(last) = after {
            let page = engine.measure_objects(last, PAGE);
            for object in page.objects {
                listed.add(object);
            }
            after = page.next;
            yield_now();
        }
        listed
    }

    fn add(&mut self, MeasuredObject { name, kind, measured }: MeasuredObject) {
        let has_room = self.name_bytes + name.len() <= MAX_NAME_BYTES;
        let (listed, omitted) = match kind {
            Kind::Queue => (self.queues.len(), &mut self.queues_omitted),
            _ => (self.pools.len(), &mut self.pools_omitted),
        };
        if listed >= MAX_LISTED || !has_room {
            omitted.beyond_limit += 1;
            return;
        }
        self.name_bytes += name.len();
        match measured {
            Some(Measured::Queue(status)) => self.queues.push((name, status)),
            Some(Measured::Pool(status)) => self.pools.push((name, status)),
            _ => omitted.busy += 1,
        }
    }
}

fn queues(text: &mut Text, queues: &[(String, QueueStatus)]) {
    let mut each = |metric, help, value: fn(&QueueStatus) -> u64| {
        let mut samples = text.gauge(metric, help);
        for (name, status) in queues {
            samples.with(&[("name", name)], value(status));
        }
    };
    each("queue_items", "Items that wait to be taken.", |queue| queue.items as u64);
    each("queue_leased_items", "Items that are leased.", |queue| queue.leased as u64);
    each("queue_unfinished_items", "Items that are not finished.", |queue| queue.unfinished);
    each("queue_waiting_gets", "Calls that wait for an item.", |queue| queue.getters as u64);
    each("queue_waiting_puts", "Calls that wait for room.", |queue| queue.putters as u64);
}

fn pools(text: &mut Text, pools: &[(String, PoolStatus)]) {
    let mut each = |metric, help, value: fn(&PoolStatus) -> u64| {
        let mut samples = text.gauge(metric, help);
        for (name, status) in pools {
            samples.with(&[("name", name)], value(status));
        }
    };
    each("pool_workers", "Workers of the pool.", |pool| pool.workers);
    each("pool_tasks_queued", "Tasks that wait to be handed out.", |pool| pool.queued);
    each("pool_tasks_running", "Tasks in the hands of workers.", |pool| pool.running);
    each("pool_runs", "Runs that are not answered.", |pool| pool.runs);
    each("pool_closed", "1 if the pool takes no more tasks.", |pool| pool.is_closed.into());
    each("pool_broken", "1 if the pool is broken.", |pool| (!pool.broken.is_empty()).into());
}

fn omitted(text: &mut Text, listed: &Listed) {
    let help = "Named queues and pools without metrics of their own.";
    let mut samples = text.gauge("series_omitted", help);
    for (kind, omitted) in [("queue", &listed.queues_omitted), ("pool", &listed.pools_omitted)] {
        samples.with(&[("kind", kind), ("reason", "limit")], omitted.beyond_limit);
        samples.with(&[("kind", kind), ("reason", "busy")], omitted.busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: String, status: Option<QueueStatus>) -> MeasuredObject {
        MeasuredObject { name, kind: Kind::Queue, measured: status.map(Measured::Queue) }
    }

    #[test]
    fn so_many_are_listed_and_the_others_counted() {
        let mut listed = Listed::default();
        listed.add(queue("busy".into(), None));
        for n in 0..MAX_LISTED + 5 {
            listed.add(queue(n.to_string(), Some(QueueStatus::default())));
        }
        assert_eq!(listed.queues.len(), MAX_LISTED);
        assert_eq!((listed.queues_omitted.beyond_limit, listed.queues_omitted.busy), (5, 1));
    }

    #[test]
    fn long_names_are_listed_as_far_as_there_is_room() {
        let mut listed = Listed::default();
        for _ in 0..3 {
            listed.add(queue("n".repeat(MAX_NAME_BYTES / 2), Some(QueueStatus::default())));
        }
        listed.add(queue(String::new(), Some(QueueStatus::default())));
        assert_eq!((listed.queues.len(), listed.queues_omitted.beyond_limit), (3, 1));
    }
}
