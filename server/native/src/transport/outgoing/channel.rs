//! One connection from its dialling to its end, and the calls on it.

use std::error::Error;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{lookup_host, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::completions::Reason;
use super::connection::Connection;
use super::request::Request;

/// Where to connect, and how.
pub struct Target {
    pub address: String,
    pub tls: Option<Arc<ClientConfig>>,
    pub connect_timeout: Duration,
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
}

/// Serve the requests until the connection breaks or the channel is dropped.
pub async fn run(target: Target, reason: Reason, mut requests: UnboundedReceiver<Request>) {
    let why = connect(&target, &mut requests).await;
    *reason.lock() = why;
    // Only now the requests left over may be dropped: each reports the reason.
    drop(requests);
}

/// Returns why there is no connection, or none any more.
async fn connect(target: &Target, requests: &mut UnboundedReceiver<Request>) -> String {
    let plain = match timeout(target.connect_timeout, dial(&target.address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return format!("cannot connect: {error}"),
        Err(_) => return "cannot connect: no answer in time".into(),
    };
    let Some(config) = &target.tls else {
        return speak(plain, target, requests).await;
    };
    let name = match ServerName::try_from(host(&target.address).to_owned()) {
        Ok(name) => name,
        Err(_) => return "the address holds no name a certificate could be checked for".into(),
    };
    let handshake = TlsConnector::from(config.clone()).connect(name, plain);
    match timeout(target.connect_timeout, handshake).await {
        Ok(Ok(stream)) => speak(stream, target, requests).await,
        Ok(Err(error)) => format!("TLS: {error}"),
        Err(_) => "TLS: no answer in time".into(),
    }
}

/// The name is resolved every time, and each of its addresses is tried.
async fn dial(address: &str) -> Result<TcpStream, std::io::Error> {
    let mut failure = std::io::Error::other("the name has no address");
    for candidate in lookup_host(address).await? {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                // Without it small messages wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What certificates are issued for: the address without its port.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']']).trim_end_matches('.')
}

async fn speak<S>(stream: S, target: &Target, requests: &mut UnboundedReceiver<Request>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opening = Builder::new()
        .enable_push(false)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 << 10)
        .handshake::<_, Bytes>(stream);
    let (sender, mut protocol) = match opening.await {
        Ok(pair) => pair,
        Err(error) => return spelled(&error),
    };
    let pings = protocol.ping_pong();
    let mut silence = pin!(silence(pings, target));
    let connection = Arc::new(Connection::new(protocol));
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.poll(cx)) => return match ended {
                Ok(()) => "the other side has closed the connection".into(),
                Err(error) => spelled(&error),
            },
            () = silence.as_mut() => return "the other side does not answer pings".into(),
            request = requests.recv() => match request {
                Some(request) => spawn(&mut calls, request, &sender, &connection),
                None => return "the channel was closed".into(),
            },
            Some(_) = calls.join_next() => {}
        }
    }
}

fn spawn(
    calls: &mut JoinSet<()>,
    request: Request,
    sender: &SendRequest<Bytes>,
    connection: &Arc<Connection>,
) {
    calls.spawn(request.perform(sender.clone(), connection.clone()));
}

/// Ends when a ping was not answered in time.
async fn silence(pings: Option<PingPong>, target: &Target) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    let mut answered = true;
    while answered {
        sleep(target.keepalive_interval).await;
        answered = in_time(target.keepalive_timeout, pings.ping(Ping::opaque())).await;
    }
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, h2::Error>>) -> bool {
    // A ping that fails means a broken connection, and the connection itself says more about it.
    timeout(limit, answer).await.is_ok()
}

fn spelled(error: &h2::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn names_are_checked_without_port_brackets_and_root() {
        assert_eq!(host("node-1.peers.svc:7879"), "node-1.peers.svc");
        assert_eq!(host("node-1.example.:7879"), "node-1.example");
        assert_eq!(host("[::1]:7879"), "::1");
        assert_eq!(host("127.0.0.1:7879"), "127.0.0.1");
    }
}
