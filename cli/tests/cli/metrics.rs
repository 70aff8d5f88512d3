//! Metrics, as Prometheus scrapes them: what they say, and that scraping concerns nobody else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use mp_manager::{Manager, Pool, Queue};
use serde_json::Value;

use crate::fixture::{Daemon, finish, refused};

/// A task that no worker executes.
#[mp_manager::task]
fn never(x: i64) -> i64 {
    x
}

/// A daemon that serves metrics.
struct Scraped {
    daemon: Daemon,
    place: String,
}

impl Scraped {
    fn start(options: &[&str]) -> Self {
        let options = [&["--metrics-address", "127.0.0.1:0"], options].concat();
        let mut daemon = Daemon::start_with(&options);
        let line = daemon.process.line().unwrap();
        let place = line.strip_prefix("metrics on http://").unwrap();
        let place = place.strip_suffix("/metrics").unwrap().to_owned();
        Self { daemon, place }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.place).unwrap();
        // More than any test takes, and less than a hang.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// The status, the headers and the body of the response.
    fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.place).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    fn scrape(&self) -> Metrics {
        let (status, head, body) = self.request("GET", "/metrics");
        assert_eq!(status, 200, "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        Metrics::parse(&body)
    }

    async fn manager(&self) -> Manager {
        let builder = Manager::builder().authkey_file(self.daemon.home.authkey());
        builder.connect(&self.daemon.address).await.unwrap()
    }
}

/// What was scraped: types by metric, and values by metric with its labels, as they are written.
#[derive(Debug, Default)]
struct Metrics {
    types: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Metrics {
    /// Holds the text against the format.
    fn parse(text: &str) -> Self {
        let (mut metrics, mut current) = (Self::default(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                assert!(text.ends_with('.') && !metrics.types.contains_key(name), "{line}");
                name.clone_into(&mut current);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                metrics.types.insert(name.into(), kind.into());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(series.split('{').next(), Some(current.as_str()), "{line}");
                let known = metrics.values.insert(series.into(), value.parse().unwrap());
                assert_eq!(known, None, "{line}");
            }
        }
        metrics
    }

    fn find(&self, series: &str) -> Option<u64> {
        let value = *self.values.get(&format!("mp_manager_{series}"))?;
        assert_eq!(value.fract(), 0.0, "{series}");
        Some(value as u64)
    }

    #[track_caller]
    fn get(&self, series: &str) -> u64 {
        self.find(series).unwrap_or_else(|| panic!("no {series} in {self:?}"))
    }

    /// The metrics with their types and the names of their labels.
    fn shapes(&self) -> BTreeSet<(String, String, Vec<String>)> {
        let shape = |series: &String| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
            let labels = labels.map(|(label, _)| label.to_owned()).collect();
            (name.to_owned(), self.types[name].clone(), labels)
        };
        self.values.keys().map(shape).collect()
    }
}

#[tokio::test]
async fn metrics_agree_with_what_inspect_shows() {
    let scraped = Scraped::start(&["--max-memory-bytes", "100MiB"]);
    let manager = scraped.manager().await;
    let jobs: Queue<i64> = manager.queue("jobs").await.unwrap();
    jobs.put_many(&[1, 2, 3]).await.unwrap();
    let _leased = jobs.lease().await.unwrap();
    let _unnamed: Queue<i64> = manager.queue(mp_manager::Unnamed).await.unwrap();
    let pool = Pool::open(&manager, "crunch").await.unwrap();
    let results = pool.map_async(never, 0..5);
    let waiter = scraped.daemon.start_command(&["event", "wait", "go"]);
    scraped.daemon.until_waited_for("go");
    while pool.status().await.unwrap().queued < 5 {}

    // The sessions of the commands before have ended for their clients, and soon for the manager.
    while scraped.scrape().get("sessions") > 2 {}
    let metrics = scraped.scrape();
    let shown = scraped.daemon.run(&["inspect", "--output", "json"]).printed();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let statistics = &shown["statistics"];
    let number = |value: &Value| value.as_u64().unwrap();
    // `inspect` has a session of its own.
    assert_eq!(metrics.get("sessions") + 1, number(&statistics["sessions"]));
    assert_eq!(metrics.get("named_objects"), number(&statistics["named_objects"]));
    assert_eq!(metrics.get("memory_limit_bytes"), number(&statistics["max_bytes"]));
    assert!(metrics.get("memory_used_bytes") < number(&statistics["bytes"]));
    let version = statistics["version"].as_str().unwrap();
    assert_eq!(metrics.get(&format!("build_info{{version=\"{version}\"}}")), 1);
    let objects = shown["objects"].as_array().unwrap();
    for kind in ["dict", "queue", "pool", "event", "lock"] {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind).count() as u64;
        assert_eq!(metrics.get(&format!("objects{{kind=\"{kind}\"}}")), of_kind, "{kind}");
    }
    let named = |name: &str| objects.iter().find(|object| object["name"] == name).unwrap();
    assert_eq!(metrics.get("queue_items{name=\"jobs\"}"), number(&named("jobs")["len"]));
    assert_eq!(metrics.get("queue_leased_items{name=\"jobs\"}"), 1);
    assert_eq!(metrics.get("queue_unfinished_items{name=\"jobs\"}"), 3);
    assert_eq!(metrics.get("pool_tasks_queued{name=\"crunch\"}"), number(&named("crunch")["len"]));
    assert_eq!(metrics.get("pool_workers{name=\"crunch\"}"), 0);
    let calls = |object: &Value| object["waiters"].as_array().unwrap().len() as u64;
    let waiting: u64 = objects.iter().map(calls).sum();
    assert_eq!(metrics.get("parked_calls"), waiting, "{shown}");
    assert_eq!(metrics.get("operations_total{kind=\"queue\",op=\"put_many\"}"), 1);
    assert_eq!(metrics.get("operations_total{kind=\"event\",op=\"wait\"}"), 1);
    assert!(metrics.get("connections") >= 2);
    assert!(metrics.get("process_open_fds") > 5);
    let resident = scraped.daemon.process.resident_bytes() as u64;
    assert!(metrics.get("process_resident_memory_bytes") > resident / 2);
    drop((results, waiter));
}

#[tokio::test]
async fn the_documentation_has_exactly_what_is_served() {
    let scraped = Scraped::start(&[]);
    let manager = scraped.manager().await;
    let _jobs: Queue<i64> = manager.queue("jobs").await.unwrap();
    let _pool = Pool::open(&manager, "crunch").await.unwrap();
    let served = scraped.scrape().shapes();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let code = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, _, _] = cells[..] else { return None };
        let name = name.strip_prefix("`mp_manager_")?.strip_suffix('`')?;
        Some((format!("mp_manager_{name}"), kind.to_owned(), code(labels)))
    };
    let documented: BTreeSet<_> = page.lines().filter_map(row).collect();
    assert_eq!(documented, served);
}

#[test]
fn only_metrics_are_served() {
    let scraped = Scraped::start(&[]);
    for path in ["/", "/metric", "/metrics/", "/favicon.ico"] {
        assert_eq!(scraped.request("GET", path).0, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = scraped.request(method, "/metrics");
        assert_eq!(status, 405, "{method}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
    let (status, head, body) = scraped.request("HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(length.parse::<usize>().unwrap() > 1000, "{head}");
    assert_eq!(scraped.request("GET", "/metrics?name=x").0, 200);
    // What is no HTTP is told so, or closed.
    let mut stream = scraped.connect();
    stream.write_all(b"\x16\x03\x01\x00\x00 PRI * HTTP/2.0\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{said:?}");
}

#[test]
fn names_are_escaped() {
    let scraped = Scraped::start(&[]);
    scraped.daemon.run(&["queue", "put", "a\"b\\c\nd é", "1"]).printed();
    let metrics = scraped.scrape();
    assert_eq!(metrics.get(r#"queue_items{name="a\"b\\c\nd é"}"#), 1, "{metrics:?}");
}

#[tokio::test]
async fn a_thousand_queues_have_metrics_of_their_own_and_the_others_are_counted() {
    let scraped = Scraped::start(&[]);
    let manager = scraped.manager().await;
    for n in 0..1007 {
        let _: Queue<i64> = manager.queue(format!("queue {n}")).await.unwrap();
    }
    let metrics = scraped.scrape();
    let listed = metrics.values.keys().filter(|series| series.contains("queue_items{")).count();
    assert_eq!(listed, 1000);
    assert_eq!(metrics.get("series_omitted{kind=\"queue\",reason=\"limit\"}"), 7);
    assert_eq!(metrics.get("series_omitted{kind=\"pool\",reason=\"limit\"}"), 0);
    // Those that were made first.
    assert_eq!(metrics.get("queue_items{name=\"queue 999\"}"), 0);
    assert_eq!(metrics.find("queue_items{name=\"queue 1000\"}"), None);
}

#[test]
fn operations_and_refusals_are_counted() {
    let scraped = Scraped::start(&["--max-memory-bytes", "128KiB"]);
    let daemon = &scraped.daemon;
    daemon.run(&["dict", "set", "d", "k", "1"]).printed();
    for _ in 0..3 {
        daemon.run(&["dict", "get", "d", "k"]).printed();
    }
    daemon.run(&["dict", "get", "d", "other"]).failed(3);
    let large = format!("\"{}\"", "x".repeat(110_000));
    daemon.run(&["dict", "set", "d", "large", &large]).printed();
    daemon.run(&["dict", "set", "d", "more", "1"]).failed(1);
    for _ in 0..2 {
        finish(daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", "wrong secret")).failed(77);
    }
    let metrics = scraped.scrape();
    let op = |op: &str| metrics.get(&format!("operations_total{{kind=\"dict\",op=\"{op}\"}}"));
    assert_eq!((op("get"), op("insert")), (4, 3));
    assert_eq!(metrics.get("operation_errors_total{reason=\"out_of_memory\"}"), 1);
    assert_eq!(metrics.get("handshakes_refused_total{reason=\"authentication_failed\"}"), 2);
    assert!(metrics.get("sessions_begun_total") >= 7);
    assert!(metrics.get("connections_accepted_total") >= 9);
    assert!(metrics.get("memory_used_bytes") > 100_000);
}

#[test]
fn connections_that_are_turned_away_are_counted() {
    let scraped = Scraped::start(&["--max-connections-per-peer", "0"]);
    scraped.daemon.run(&["ping"]).failed(69);
    let metrics = scraped.scrape();
    let refused = "connections_refused_total{reason=\"max_connections_per_peer\"}";
    assert!(metrics.get(refused) > 0);
    assert_eq!(metrics.get("connections_refused_total{reason=\"tls\"}"), 0);
    assert_eq!(metrics.get("connections"), 0);
}

#[test]
fn who_is_silent_or_does_not_read_keeps_nobody_from_scraping() {
    let scraped = Scraped::start(&[]);
    let silent: Vec<TcpStream> = (0..40).map(|_| scraped.connect()).collect();
    scraped.scrape();
    let slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = scraped.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    scraped.scrape();
    scraped.daemon.run(&["ping"]).printed();
    // Of those that are silent the oldest had to go.
    let mut first = &silent[0];
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)));
    drop((silent, slow));
}

#[test]
fn metrics_are_served_where_they_can_be() {
    let scraped = Scraped::start(&[]);
    let serve = |place: &str| {
        let arguments = ["serve", "--address", "127.0.0.1:0", "--metrics-address", place];
        refused(&mut scraped.daemon.home.command(&arguments))
    };
    let error = serve(&scraped.place).failed(1);
    assert!(error.contains(&format!("cannot listen on tcp://{}", scraped.place)), "{error}");
    for place in ["9117", "http://127.0.0.1:9117", "unix:/tmp/x", "127.0.0.1:port", ""] {
        let refused = serve(place);
        assert_eq!(refused.code, Some(2), "{place}: {refused:?}");
        assert!(refused.stderr.contains("HOST:PORT"), "{place}: {refused:?}");
    }
}

#[test]
fn who_serves_metrics_to_others_is_warned() {
    let options = ["--metrics-address", "0.0.0.0:0"];
    let daemon = Daemon::start_with(&options);
    daemon.until_logged("nobody authenticates", 1);
}
