//! Metrics, by plain HTTP and for whoever can reach the address.
//!
//! The HTTP is that of hyper. A scrape is made by a thread that may take its time, one at a time, and what it
//! looks at comes in [pages](report): it keeps nobody waiting.

mod process;
mod report;
mod text;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mp_manager_proto::address::Address;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    acceptor::BACK_OFF,
    error::ServeError,
    host::Host,
    listener::{host_and_port, listen},
};

const PATH: &str = "/metrics";
/// Connections at a time; when there are more, the oldest one is closed. So nobody who connects and is silent
/// keeps others out.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection has, from its beginning to the last byte of its response. It has one request.
const TIME: Duration = Duration::from_secs(10);
/// All that is kept of a request.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// A socket on which metrics are served.
pub(crate) struct Metrics {
    listener: TcpListener,
    /// Where, as in `127.0.0.1:9117`.
    place: String,
}

/// Ends the task when it is dropped.
pub(crate) struct Serving(JoinHandle<Infallible>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Metrics {
    pub(crate) async fn bind(address: &Address) -> Result<Self, ServeError> {
        let Address::Tcp { host, port } = address else {
            return Err(ServeError::NotHttp { address: address.clone() });
        };
        let bind = async || {
            let listener = listen(host, *port).await?;
            let (host, port) = host_and_port(&listener)?;
            let place = if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            Ok(Self { listener, place })
        };
        let bound = bind().await;
        let metrics =
            bound.map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        if !address.is_local() {
            tracing::warn!(
                "metrics are for whoever can reach {}: nobody authenticates, and nothing is encrypted",
                metrics.place
            );
        }
        Ok(metrics)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.place)
    }

    /// Serves until what it returns is dropped.
    pub(crate) fn serve(self, host: &Arc<Host>) -> Serving {
        Serving(tokio::spawn(self.run(Arc::downgrade(host))))
    }

    async fn run(self, host: Weak<Host>) -> Infallible {
        let scraping = Arc::new(Semaphore::new(1));
        let (mut tasks, mut oldest) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for metrics");
                    sleep(BACK_OFF).await;
                    continue;
                }
            };
            while tasks.try_join_next().is_some() {}
            oldest.retain(|connection| !connection.is_finished());
            if oldest.len() >= MAX_CONNECTIONS
                && let Some(connection) = oldest.pop_front()
            {
                connection.abort();
            }
            let serving = serve(stream, Weak::clone(&host), Arc::clone(&scraping));
            oldest.push_back(tasks.spawn(timeout(TIME, serving)));
        }
    }
}

async fn serve(stream: TcpStream, host: Weak<Host>, scraping: Arc<Semaphore>) {
    let respond = |request| {
        let (host, scraping) = (Weak::clone(&host), Arc::clone(&scraping));
        async move { Ok::<_, Infallible>(respond(&request, &host, scraping).await) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME)
        .max_buf_size(MAX_REQUEST_BYTES)
        .keep_alive(false)
        // It cannot be made while the clock is before 1970.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for metrics ended");
    }
}

async fn respond(
    request: &Request<Incoming>,
    host: &Weak<Host>,
    scraping: Arc<Semaphore>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, format!("there is {PATH}, and nothing else\n"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n".into());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match scrape(host, scraping).await {
        Some(text) => {
            let mut response = plain(StatusCode::OK, text);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
            response
        }
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "the manager has ended\n".into()),
    }
}

/// The metrics as they are now. `None` if the server is gone.
async fn scrape(host: &Weak<Host>, scraping: Arc<Semaphore>) -> Option<String> {
    // It goes along with the work, which goes on when nobody waits for it any more.
    let turn = scraping.acquire_owned().await.ok()?;
    let host = host.upgrade()?;
    let scrape = spawn_blocking(move || {
        let _turn = turn;
        report::report(&host)
    });
    scrape.await.ok()
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
