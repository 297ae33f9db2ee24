//! One call over a connection: unary, or a stream of messages answered by one.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request as Head, StatusCode};
use tokio::time::{timeout_at, Instant};

use super::super::framing::{Fault, Single};
use super::super::status::{self, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, UNKNOWN};
use super::completions::{Outcome, Ticket};
use super::connection::Connection;
use super::outflow::{Outflow, Sink};

pub enum Upload {
    Single(Bytes),
    Stream(Emptied),
}

/// Closes the outflow when the call that empties it is over.
pub struct Emptied(pub Arc<Outflow>);

impl Drop for Emptied {
    fn drop(&mut self) {
        self.0.lose();
    }
}

/// A call that has not begun.
pub struct Request {
    pub ticket: Ticket,
    pub head: Head<()>,
    pub upload: Upload,
    pub deadline: Option<Instant>,
    /// The largest answer that is taken.
    pub limit: usize,
}

impl Request {
    /// Carry the call out and report its outcome.
    pub async fn perform(self, sender: SendRequest<Bytes>, connection: Arc<Connection>) {
        let Request {
            mut ticket, upload, ..
        } = self;
        let call = async {
            match upload {
                Upload::Single(message) => unary(sender, self.head, message, self.limit).await,
                Upload::Stream(outflow) => {
                    stream(sender, self.head, &outflow.0, connection, self.limit).await
                }
            }
        };
        ticket.outcome = Some(match self.deadline {
            Some(deadline) => timeout_at(deadline, call)
                .await
                .unwrap_or_else(|_| Err((DEADLINE_EXCEEDED, "no answer in time".into()))),
            None => call.await,
        });
    }
}

fn broken(error: &h2::Error) -> (u16, String) {
    (UNAVAILABLE, error.to_string())
}

async fn begun(
    sender: SendRequest<Bytes>,
    head: Head<()>,
) -> Result<(ResponseFuture, SendStream<Bytes>), (u16, String)> {
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    sender
        .send_request(head, false)
        .map_err(|error| broken(&error))
}

async fn unary(
    sender: SendRequest<Bytes>,
    head: Head<()>,
    message: Bytes,
    limit: usize,
) -> Outcome {
    let (response, mut sink) = begun(sender, head).await?;
    // h2 keeps what the flow control does not let through yet.
    sink.send_data(message, true)
        .map_err(|error| broken(&error))?;
    answer(response, limit).await
}

/// Send what the outflow holds, for as long as there is no answer.
async fn stream(
    sender: SendRequest<Bytes>,
    head: Head<()>,
    outflow: &Outflow,
    connection: Arc<Connection>,
    limit: usize,
) -> Outcome {
    let (response, stream) = begun(sender, head).await?;
    outflow.open(Sink::new(stream, connection));
    let mut answer = pin!(answer(response, limit));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        // Why sending is impossible shows in the answer.
        let _ = outflow.poll_send(cx);
        Poll::Pending
    })
    .await
}

async fn answer(response: ResponseFuture, limit: usize) -> Outcome {
    let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
    if head.status != StatusCode::OK {
        return Err((UNAVAILABLE, format!("HTTP status {}", head.status)));
    }
    if head.headers.contains_key("grpc-status") {
        status::read(&head.headers)?;
    }
    let mut single = Single::new(limit, super::super::headers::encoding(&head.headers));
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        let _ = body.flow_control().release_capacity(chunk.len());
        single.add(chunk).map_err(faulty)?;
    }
    status::read(&trailers(&mut body).await?)?;
    single.finish().map_err(faulty)
}

async fn trailers(body: &mut RecvStream) -> Result<HeaderMap, (u16, String)> {
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    trailers.ok_or_else(|| (UNKNOWN, "an answer without a status".into()))
}

fn faulty(fault: Fault) -> (u16, String) {
    match fault {
        Fault::Gone => (UNAVAILABLE, "the answer breaks off".into()),
        Fault::Status(code, text) if code == status::RESOURCE_EXHAUSTED => (code, text),
        Fault::Status(_, text) => (INTERNAL, text),
    }
}
