//! The HTTP/2 side's hold on a call: waits for the answer, streams it, and notices when the client
//! or the time is gone.

use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::transport::incoming::request_reader::RequestReader;
use crate::transport::queue::backlog::{Held, Load};
use crate::transport::queue::call::{Call, End};
use crate::transport::queue::calls::Calls;
use crate::transport::queue::room::Place;
use crate::transport::queue::shared::{Counters, Shared};
use crate::transport::wire::compression::{Negotiated, ACCEPTED, ACCEPT_ENCODING, ENCODING, GZIP};
use crate::transport::wire::framing::PREFIX;
use crate::transport::wire::status;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Dropping it means that the call is over, one way or another.
pub struct Exchange {
    pub call: Arc<Call>,
    /// Of the connection.
    pub load: Arc<Load>,
    pub shared: Arc<Shared>,
    pub calls: Arc<Calls>,
    pub deadline: Option<Pin<Box<Sleep>>>,
    /// Of a request that is a stream.
    pub reader: Option<Box<RequestReader>>,
    /// What the request takes until the answer begins.
    pub place: Option<Place>,
    pub negotiated: Negotiated,
}

impl Exchange {
    /// Wait for the beginning of the answer and make a response of it.
    pub async fn respond(mut self) -> Response<Answer> {
        let start = poll_fn(|cx| self.poll_start(cx)).await;
        self.place = None;
        match start {
            Some(End::Ok) => trailers_only(status::ok()),
            Some(End::Failed(trailers)) => trailers_only(*trailers),
            None => response(self.headers(), Answer(Some(self))),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.negotiated != Negotiated::Nothing {
            headers.insert(ACCEPT_ENCODING.clone(), ACCEPTED);
        }
        if self.negotiated == Negotiated::Gzip {
            headers.insert(ENCODING.clone(), GZIP);
        }
        headers
    }

    /// Ready with the end when the answer is nothing else, ready with None when it has messages.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        self.read_on(cx);
        {
            let mut outbox = self.call.outbox.lock();
            if !outbox.pieces.is_empty() {
                return Poll::Ready(None);
            }
            if let Some(end) = outbox.end.take() {
                return Poll::Ready(Some(end));
            }
            outbox.waker = Some(cx.waker().clone());
        }
        self.poll_deadline(cx).map(Some)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Held, End>> {
        self.read_on(cx);
        {
            let mut outbox = self.call.outbox.lock();
            if let Some(piece) = outbox.pieces.pop_front() {
                outbox.queued -= piece.remaining();
                let free = outbox.held && outbox.queued <= self.shared.settings.stream_low_water;
                if free {
                    outbox.held = false;
                    self.shared.notify_writable(self.call.id);
                }
                return Poll::Ready(Ok(piece));
            }
            if let Some(end) = outbox.end.take() {
                return Poll::Ready(Err(end));
            }
            outbox.waker = Some(cx.waker().clone());
        }
        self.poll_deadline(cx).map(Err)
    }

    /// Read what there is of a request that is a stream; it may end the call.
    fn read_on(&mut self, cx: &mut Context<'_>) {
        if let Some(reader) = &mut self.reader {
            if let Poll::Ready(end) = reader.poll(cx) {
                self.call.close(end);
            }
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(deadline) = &mut self.deadline else {
            return Poll::Pending;
        };
        if deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.deadline = None;
        self.abandon();
        Poll::Ready(End::Failed(Box::new(out_of_time())))
    }

    fn abandon(&mut self) {
        self.calls.remove(self.call.id);
        if self.call.abandon() {
            self.shared.notify_cancelled(self.call.id);
            if let Some(place) = self.place.take() {
                place.linger();
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.abandon();
        self.load.end_call();
        self.shared.counters.calls_in_flight.fetch_sub(1, Relaxed);
    }
}

pub fn out_of_time() -> HeaderMap {
    status::failed(
        status::DEADLINE_EXCEEDED,
        "the deadline passed before the answer was known",
    )
}

/// A response body: messages as they come, then trailers; or nothing at all.
pub struct Answer(Option<Exchange>);

impl Body for Answer {
    type Data = Held;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Held>, Infallible>>> {
        let Some(exchange) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = match exchange.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(piece)) => {
                let length = piece.remaining().saturating_sub(PREFIX) as u64;
                Counters::add(&exchange.shared.counters.bytes_sent, length);
                Frame::data(if exchange.negotiated == Negotiated::Gzip {
                    piece.compressed()
                } else {
                    piece
                })
            }
            Poll::Ready(Err(end)) => {
                self.0 = None;
                Frame::trailers(match end {
                    End::Ok => status::ok(),
                    End::Failed(trailers) => *trailers,
                })
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn response(headers: HeaderMap, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// A response without messages: its status travels in the headers.
pub fn trailers_only(headers: HeaderMap) -> Response<Answer> {
    response(headers, Answer(None))
}

/// A refusal to a client that does not speak gRPC.
pub fn not_grpc(code: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer(None));
    *response.status_mut() = code;
    response
}
