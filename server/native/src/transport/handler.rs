//! From an HTTP/2 request to a queued call.

use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{sleep_until, Instant, Sleep};

use super::arrival::Arrival;
use super::backlog::Load;
use super::calls::Calls;
use super::exchange::{not_grpc, out_of_time, trailers_only, Answer, Exchange};
use super::framing::{self, Splitter};
use super::headers;
use super::inbound::Inbound;
use super::request_reader::RequestReader;
use super::shared::{Counters, Queued, Shared};
use super::status;

/// What the calls of one connection have in common.
pub struct Origin {
    pub connection: u64,
    pub load: Arc<Load>,
    pub shared: Arc<Shared>,
    pub calls: Arc<Calls>,
}

type Refusal = Box<Response<Answer>>;

pub async fn handle(
    origin: Arc<Origin>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let inbound = &origin.shared.settings.inbound;
    let answer = if inbound.contains(request.uri().path()) {
        match begin(&origin, request) {
            Ok((exchange, mut reader)) => exchange.respond_while(|cx| reader.poll(cx)).await,
            Err(refusal) => *refusal,
        }
    } else {
        match receive(&origin, request).await {
            Ok(exchange) => exchange.respond().await,
            Err(refusal) => *refusal,
        }
    };
    Ok(answer)
}

fn refuse(code: u16, message: &str) -> Refusal {
    Box::new(trailers_only(status::failed(code, message)))
}

async fn receive(origin: &Arc<Origin>, request: Request<Incoming>) -> Result<Exchange, Refusal> {
    let (head, mut body) = request.into_parts();
    check_protocol(&head.method, &head.headers)?;
    Counters::add(&origin.shared.counters.calls_total, 1);
    let deadline = deadline(&head.headers)?;
    let mut timer = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
    let encoding = headers::encoding(&head.headers);
    let limit = origin.shared.settings.max_message_bytes;
    let mut arrival = Arrival::new(origin.shared.settings.message_timeout);
    let reading = arrival.in_time(framing::read_message(&mut body, limit, encoding));
    let message = in_time(reading, &mut timer)
        .await
        .ok_or_else(|| Box::new(trailers_only(out_of_time())))?
        .map_err(|fault| Box::new(trailers_only(fault.trailers())))?;
    Counters::add(&origin.shared.counters.bytes_received, message.len() as u64);
    announce(origin, head, message, deadline, timer)
}

/// Announce a request that is a stream, before anything of it has been read.
fn begin(
    origin: &Arc<Origin>,
    request: Request<Incoming>,
) -> Result<(Exchange, RequestReader), Refusal> {
    let (head, body) = request.into_parts();
    check_protocol(&head.method, &head.headers)?;
    Counters::add(&origin.shared.counters.calls_total, 1);
    let deadline = deadline(&head.headers)?;
    let timer = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
    let limit = origin.shared.settings.max_message_bytes;
    let splitter = Splitter::new(limit, headers::encoding(&head.headers));
    let exchange = announce(origin, head, Bytes::new(), deadline, timer)?;
    let reader = RequestReader {
        body,
        inbound: Inbound::new(exchange.call.clone()),
        splitter,
        arrival: Arrival::new(origin.shared.settings.message_timeout),
        shared: origin.shared.clone(),
        ended: false,
    };
    Ok((exchange, reader))
}

fn announce(
    origin: &Arc<Origin>,
    head: Parts,
    message: Bytes,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
) -> Result<Exchange, Refusal> {
    let exchange = open(origin, timer)?;
    let queued = Queued {
        call: exchange.call.clone(),
        metadata: headers::metadata(&head.headers),
        uri: head.uri,
        message,
        deadline,
        connection: origin.connection,
    };
    if origin.shared.enqueue(queued) {
        return Ok(exchange);
    }
    Counters::add(&origin.shared.counters.rejected, 1);
    Err(refuse(
        status::RESOURCE_EXHAUSTED,
        "too many calls are waiting: retry after a pause",
    ))
}

fn check_protocol(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers::is_grpc(headers) {
        return Err(Box::new(not_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE)));
    }
    if method != Method::POST {
        let mut response = not_grpc(StatusCode::METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(http::header::ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    Ok(())
}

fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Refusal> {
    match headers::timeout(headers) {
        // A time too far away to compute is no deadline.
        Ok(timeout) => Ok(timeout.and_then(|timeout| Instant::now().checked_add(timeout))),
        Err(()) => Err(refuse(
            status::INTERNAL,
            "grpc-timeout cannot be understood",
        )),
    }
}

fn open(origin: &Origin, deadline: Option<Pin<Box<Sleep>>>) -> Result<Exchange, Refusal> {
    let Some(call) = origin.calls.open(&origin.load) else {
        return Err(refuse(
            status::UNAVAILABLE,
            "the server is stopping: try another",
        ));
    };
    Counters::add(&origin.shared.counters.calls_in_flight, 1);
    Ok(Exchange {
        call,
        shared: origin.shared.clone(),
        calls: origin.calls.clone(),
        deadline,
    })
}

/// The future's result, or None when the timer fires first.
async fn in_time<T>(
    future: impl Future<Output = T>,
    timer: &mut Option<Pin<Box<Sleep>>>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        match timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
