//! From an HTTP/2 request to a queued call.

use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{ready, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{sleep_until, Instant, Sleep};

use crate::transport::incoming::exchange::{
    not_grpc, out_of_time, trailers_only, Answer, Exchange,
};
use crate::transport::incoming::request_reader::{
    Messages, OnlyMessage, Purpose, Repeated, RequestReader,
};
use crate::transport::queue::backlog::Load;
use crate::transport::queue::calls::Calls;
use crate::transport::queue::inbound::Inbound;
use crate::transport::queue::room::Places;
use crate::transport::queue::shared::{Client, Counters, Queued, Shared, StreamKind};
use crate::transport::wire::arrival::Arrival;
use crate::transport::wire::compression::{Encoding, Negotiated};
use crate::transport::wire::framing::{Fault, Single, Splitter};
use crate::transport::wire::headers;
use crate::transport::wire::status;

/// What the calls of one connection have in common.
pub struct Origin {
    pub connection: u64,
    pub load: Arc<Load>,
    pub client: Client,
    pub shared: Arc<Shared>,
    pub calls: Arc<Calls>,
}

type Refusal = Box<Response<Answer>>;

pub async fn handle(
    origin: Arc<Origin>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    // Its first call says it for all: later ones only look whether that is known.
    origin
        .client
        .get_or_init(|| headers::client_version(request.headers()));
    let streams = &origin.shared.settings.streams;
    let exchange = match streams.get(request.uri().path()).cloned() {
        Some(kind) => begin(&origin, request, kind),
        None => receive(&origin, request).await,
    };
    Ok(match exchange {
        Ok(exchange) => exchange.respond().await,
        Err(refusal) => *refusal,
    })
}

fn refuse(code: u16, message: &str) -> Refusal {
    Box::new(trailers_only(status::failed(code, message)))
}

async fn receive(origin: &Arc<Origin>, request: Request<Incoming>) -> Result<Exchange, Refusal> {
    let (head, body) = request.into_parts();
    check_protocol(&head.method, &head.headers)?;
    Counters::add(&origin.shared.counters.calls_total, 1);
    let deadline = deadline(&head.headers)?;
    let mut timer = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
    let encoding = Encoding::of(&head.headers);
    let limit = origin.shared.settings.max_message_bytes;
    let mut reader = OnlyMessage {
        body,
        single: Single::request(limit, encoding),
        arrival: Arrival::new(origin.shared.settings.message_timeout),
        places: Places::new(&origin.shared.room, origin.load.share()),
        ended: false,
    };
    let load = &origin.load;
    let reading = poll_fn(|cx| {
        // A client that does not take its answers gets no more of them.
        ready!(load.poll_taken(cx));
        reader.poll(cx)
    });
    let (message, place) = in_time(reading, &mut timer)
        .await
        .ok_or_else(|| Box::new(trailers_only(out_of_time())))?
        .map_err(|fault: Fault| Box::new(trailers_only(fault.trailers())))?;
    Counters::add(&origin.shared.counters.bytes_received, message.len() as u64);
    let mut exchange = open(origin, &head, timer, false)?;
    exchange.place = place;
    announce(origin, queued(origin, &exchange, head, message, deadline))?;
    Ok(exchange)
}

/// Open a call whose request is a stream, before anything of it has been read.
fn begin(
    origin: &Arc<Origin>,
    request: Request<Incoming>,
    kind: StreamKind,
) -> Result<Exchange, Refusal> {
    let (head, body) = request.into_parts();
    check_protocol(&head.method, &head.headers)?;
    Counters::add(&origin.shared.counters.calls_total, 1);
    let deadline = deadline(&head.headers)?;
    let timer = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
    let shared = &origin.shared;
    let messages = Messages {
        body,
        splitter: Splitter::new(
            shared.settings.max_message_bytes,
            Encoding::of(&head.headers),
        ),
        arrival: Arrival::new(shared.settings.message_timeout),
        places: Places::new(&shared.room, origin.load.share()),
        ended: false,
    };
    let continues = matches!(kind, StreamKind::AnsweredEach(_));
    let mut exchange = open(origin, &head, timer, continues)?;
    let mut queued = queued(origin, &exchange, head, Bytes::new(), deadline);
    let purpose = match kind {
        StreamKind::Collected => {
            let inbound = Inbound::new(exchange.call.clone(), shared.backlog.clone());
            announce(origin, queued)?;
            Purpose::Collect(inbound)
        }
        StreamKind::AnsweredEach(method) => {
            queued.uri = method;
            Purpose::AnswerEach(Box::new(Repeated::new(
                queued,
                shared.clone(),
                origin.load.clone(),
            )))
        }
    };
    exchange.reader = Some(Box::new(RequestReader {
        messages,
        purpose,
        shared: shared.clone(),
        done: false,
    }));
    Ok(exchange)
}

fn queued(
    origin: &Origin,
    exchange: &Exchange,
    head: Parts,
    message: Bytes,
    deadline: Option<Instant>,
) -> Queued {
    Queued {
        call: exchange.call.clone(),
        metadata: headers::metadata(&head.headers),
        uri: head.uri,
        message,
        deadline,
        connection: origin.connection,
    }
}

fn announce(origin: &Origin, queued: Queued) -> Result<(), Refusal> {
    if origin.shared.enqueue(queued) {
        return Ok(());
    }
    Err(Box::new(trailers_only(status::too_many_calls())))
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

fn open(
    origin: &Origin,
    head: &Parts,
    deadline: Option<Pin<Box<Sleep>>>,
    continues: bool,
) -> Result<Exchange, Refusal> {
    let Some(call) = origin.calls.open(&origin.load, continues) else {
        return Err(refuse(
            status::UNAVAILABLE,
            "the server is stopping: try another",
        ));
    };
    Counters::add(&origin.shared.counters.calls_in_flight, 1);
    origin.load.begin_call();
    Ok(Exchange {
        call,
        load: origin.load.clone(),
        shared: origin.shared.clone(),
        calls: origin.calls.clone(),
        deadline,
        reader: None,
        place: None,
        negotiated: Negotiated::of(&head.headers),
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
