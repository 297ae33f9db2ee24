//! A connection from its acceptance to its end: limits, TLS handshake, HTTP/2.

use std::io;
use std::net::TcpStream as StdStream;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::transport::incoming::handler::{handle, Origin};
use crate::transport::queue::permit::ConnectionPermit;
use crate::transport::queue::shared::{Counters, Shared};
use crate::transport::queue::state::{Phase, State};

/// How much of one answer HTTP/2 may take before the socket does.
const SEND_BUFFER: usize = 128 << 10;

/// A connection without a byte received yet.
pub struct Accepted {
    pub id: u64,
    pub stream: StdStream,
    pub tls: Option<Arc<ServerConfig>>,
    pub permit: ConnectionPermit,
}

pub fn spawn(state: &State, accepted: Accepted) {
    let origin = Arc::new(Origin {
        connection: accepted.id,
        load: accepted.permit.load().clone(),
        shared: state.shared.clone(),
        calls: state.calls.clone(),
    });
    tokio::spawn(serve(accepted, origin, state.phase.clone()));
}

async fn serve(accepted: Accepted, origin: Arc<Origin>, phase: watch::Receiver<Phase>) {
    let permit = accepted.permit;
    let Ok(stream) = TcpStream::from_std(accepted.stream) else {
        return;
    };
    // Without it small answers wait for acknowledgements; a socket that refuses is merely slower.
    let _ = stream.set_nodelay(true);
    let Some(config) = accepted.tls else {
        Counters::add(&origin.shared.counters.connections_total, 1);
        return speak(stream, origin, phase).await;
    };
    let limit = origin.shared.settings.handshake_timeout;
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            if let Some(leaf) = session.peer_certificates().and_then(<[_]>::first) {
                permit.identify(leaf.to_vec());
            }
            Counters::add(&origin.shared.counters.connections_total, 1);
            speak(stream, origin, phase).await;
        }
        Ok(Err(_)) | Err(_) => Counters::add(&origin.shared.counters.handshake_failures, 1),
    }
}

/// Speak HTTP/2 until the client, a failure or a drain ends it.
async fn speak<S>(stream: S, origin: Arc<Origin>, mut phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (shared, load) = (origin.shared.clone(), origin.load.clone());
    let greeting = Arc::new(Greeting::default());
    let stream = Watched {
        stream,
        greeting: greeting.clone(),
    };
    let service = service_fn(move |request| handle(origin.clone(), request));
    let mut connection = pin!(builder(&shared).serve_connection(TokioIo::new(stream), service));
    let mut patience = pin!(sleep(shared.settings.handshake_timeout));
    let mut greeted = false;
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // How a connection broke is of no interest: its calls end with it.
            _ = connection.as_mut() => return,
            () = load.until_cut() => return,
            _ = patience.as_mut(), if !greeted => {
                if !greeting.complete() {
                    Counters::add(&shared.counters.handshake_failures, 1);
                    return;
                }
                greeted = true;
            }
            changed = phase.wait_for(|phase| *phase == Phase::Draining), if !draining => {
                drop(changed);
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder(shared: &Shared) -> http2::Builder<TokioExecutor> {
    let settings = &shared.settings;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(settings.max_concurrent_streams)
        // Clients whose deadlines pass together reset many calls at once; that is no attack.
        .max_pending_accept_reset_streams(settings.max_concurrent_streams as usize)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 << 10)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout);
    builder
}

/// Whether the client has sent as much as HTTP/2's opening words.
#[derive(Default)]
struct Greeting {
    received: AtomicUsize,
    done: AtomicBool,
}

impl Greeting {
    const LENGTH: usize = 24;

    fn count(&self, bytes: usize) {
        if !self.done.load(Relaxed)
            && self.received.fetch_add(bytes, Relaxed) + bytes >= Self::LENGTH
        {
            self.done.store(true, Relaxed);
        }
    }

    fn complete(&self) -> bool {
        self.done.load(Relaxed)
    }
}

/// A stream that counts what is read until the greeting is complete.
struct Watched<S> {
    stream: S,
    greeting: Arc<Greeting>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.greeting.count(buffer.filled().len() - before);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
