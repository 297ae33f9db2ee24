//! A connection from its acceptance to its end: limits, TLS handshake, HTTP/2.

use std::net::TcpStream as StdStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use crate::transport::incoming::handler::{handle, Origin};
use crate::transport::incoming::upkeep::{Facts, Upkeep, Verdict};
use crate::transport::incoming::watched::{Seen, Watched};
use crate::transport::queue::backlog::Load;
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
        client: accepted.permit.client().clone(),
        shared: state.shared.clone(),
        calls: state.calls.clone(),
    });
    tokio::spawn(serve(accepted, origin, state.phase.clone()));
}

async fn serve(accepted: Accepted, origin: Arc<Origin>, phase: watch::Receiver<Phase>) {
    let permit = Arc::new(accepted.permit);
    let Ok(stream) = TcpStream::from_std(accepted.stream) else {
        return;
    };
    // Without it small answers wait for acknowledgements; a socket that refuses is merely slower.
    let _ = stream.set_nodelay(true);
    let Some(config) = accepted.tls else {
        Counters::add(&origin.shared.counters.connections_total, 1);
        return speak(stream, permit, origin, phase).await;
    };
    let limit = origin.shared.settings.handshake_timeout;
    let handshake = timeout(limit, TlsAcceptor::from(config).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = origin.load.until_cut() => {
            return Counters::add(&origin.shared.counters.handshake_failures, 1);
        }
    };
    match shaken {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            if let Some(leaf) = session.peer_certificates().and_then(<[_]>::first) {
                permit.identify(leaf.to_vec());
            }
            Counters::add(&origin.shared.counters.connections_total, 1);
            speak(stream, permit, origin, phase).await;
        }
        Ok(Err(_)) | Err(_) => Counters::add(&origin.shared.counters.handshake_failures, 1),
    }
}

/// Speak HTTP/2 until the client, a failure, a limit or a drain ends it.
async fn speak<S>(
    stream: S,
    permit: Arc<ConnectionPermit>,
    origin: Arc<Origin>,
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (shared, load) = (origin.shared.clone(), origin.load.clone());
    let stream = Watched::new(stream, permit.clone(), shared.clone());
    let seen = stream.seen.clone();
    let service = service_fn(move |request| handle(origin.clone(), request));
    let mut connection = pin!(builder(&shared).serve_connection(TokioIo::new(stream), service));
    let mut patience = pin!(sleep(shared.settings.handshake_timeout));
    let mut upkeep = Upkeep::new(&shared.settings.upkeep, Instant::now());
    let period = upkeep.period();
    let mut look = interval(period.unwrap_or(Duration::from_secs(60)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut greeted = false;
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // How a connection broke is of no interest: its calls end with it.
            _ = connection.as_mut() => return,
            () = load.until_cut() => return,
            _ = patience.as_mut(), if !greeted => {
                if !seen.greeted() {
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
            _ = look.tick(), if period.is_some() => {
                match upkeep.look(Instant::now(), facts(&load, &seen)) {
                    Verdict::Keep => {}
                    Verdict::SendElsewhere => {
                        Counters::add(&shared.counters.sent_elsewhere, 1);
                        permit.give_up();
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::End => return,
                    Verdict::Stalled => {
                        return Counters::add(&shared.counters.cut_for_slowness, 1);
                    }
                }
            }
        }
    }
}

fn facts(load: &Load, seen: &Seen) -> Facts {
    Facts {
        calls: load.calls(),
        opened: seen.opened(),
        held: load.held(),
        taken: load.taken(),
    }
}

fn builder(shared: &Shared) -> http2::Builder<TokioExecutor> {
    let settings = &shared.settings;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(settings.max_concurrent_streams)
        // All calls of a client may be reset before they are looked at; `Strikes` limits the rate.
        .max_pending_accept_reset_streams(settings.max_concurrent_streams as usize)
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window())
        .max_header_list_size(16 << 10)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout);
    builder
}
