//! One call over a connection: unary, or with a stream of messages in one of both directions.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request as Head, StatusCode};
use tokio::time::{timeout_at, Instant};

use super::completions::{Outcome, Ticket};
use super::connection::Connection;
use super::outflow::{Outflow, Sink};
use crate::transport::queue::inbox::Inbox;
use crate::transport::wire::compression::Encoding;
use crate::transport::wire::framing::{Fault, Single, Splitter};
use crate::transport::wire::status::{
    self, CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, UNKNOWN,
};

/// What is sent, and what is expected.
pub enum Shape {
    Unary(Bytes),
    Upload(Emptied),
    Download(Bytes, Download),
}

/// An answer of many messages, which wait in the inbox.
pub struct Download {
    pub inbox: Arc<Inbox>,
    /// Nothing is read while more than this waits.
    pub limit: usize,
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
    pub shape: Shape,
    pub deadline: Option<Instant>,
    /// The largest answer that is taken.
    pub limit: usize,
}

impl Request {
    /// Carry the call out and report its outcome.
    pub async fn perform(self, sender: SendRequest<Bytes>, connection: Arc<Connection>) {
        let Request {
            mut ticket,
            head,
            shape,
            limit,
            ..
        } = self;
        let call = async {
            match shape {
                Shape::Unary(message) => unary(sender, head, message, limit).await,
                Shape::Upload(outflow) => stream(sender, head, &outflow.0, connection, limit).await,
                Shape::Download(message, download) => {
                    let readable = || ticket.completions.notify_readable(ticket.id);
                    let received = async {
                        let response = sent(sender, head, message).await?;
                        receive(response, &download, limit, readable).await
                    };
                    // On its own, or every call would be as large.
                    let received = Box::pin(received);
                    tokio::select! {
                        biased;
                        outcome = received => outcome,
                        // At once, not at the next message: there may be none for hours.
                        () = poll_fn(|cx| download.inbox.poll_closed(cx)) => Err(unwanted()),
                    }
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

async fn sent(
    sender: SendRequest<Bytes>,
    head: Head<()>,
    message: Bytes,
) -> Result<ResponseFuture, (u16, String)> {
    let (response, mut stream) = begun(sender, head).await?;
    // h2 keeps what the flow control does not let through yet.
    stream
        .send_data(message, true)
        .map_err(|error| broken(&error))?;
    Ok(response)
}

async fn unary(
    sender: SendRequest<Bytes>,
    head: Head<()>,
    message: Bytes,
    limit: usize,
) -> Outcome {
    answer(sent(sender, head, message).await?, limit).await
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

/// An answer that is being read.
struct Body {
    stream: RecvStream,
    encoding: Encoding,
    /// The head has said so already: nothing follows.
    is_over: bool,
}

impl Body {
    async fn of(response: ResponseFuture) -> Result<Self, (u16, String)> {
        let (head, stream) = response.await.map_err(|error| broken(&error))?.into_parts();
        if head.status != StatusCode::OK {
            return Err((UNAVAILABLE, format!("HTTP status {}", head.status)));
        }
        let is_over = head.headers.contains_key("grpc-status");
        if is_over {
            status::read(&head.headers)?;
        }
        Ok(Body {
            stream,
            encoding: Encoding::of(&head.headers),
            is_over,
        })
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, (u16, String)> {
        let chunk = self.stream.data().await.transpose();
        let chunk = chunk.map_err(|error| broken(&error))?;
        if let Some(chunk) = &chunk {
            let _ = self.stream.flow_control().release_capacity(chunk.len());
        }
        Ok(chunk)
    }

    /// The status at the end.
    async fn finish(mut self) -> Result<(), (u16, String)> {
        if self.is_over {
            return Ok(());
        }
        let trailers = self.stream.trailers().await;
        match trailers.map_err(|error| broken(&error))? {
            Some(trailers) => status::read(&trailers),
            None => Err((UNKNOWN, "an answer without a status".into())),
        }
    }
}

async fn answer(response: ResponseFuture, limit: usize) -> Outcome {
    let mut body = Body::of(response).await?;
    let mut single = Single::new(limit, body.encoding.clone());
    while let Some(chunk) = body.next_chunk().await? {
        single.add(chunk).map_err(faulty)?;
    }
    body.finish().await?;
    single.finish().map_err(faulty)
}

/// Read an answer of many messages, for as long as there is room for them and they are wanted.
async fn receive(
    response: ResponseFuture,
    download: &Download,
    limit: usize,
    readable: impl Fn(),
) -> Outcome {
    let mut body = Body::of(response).await?;
    let mut splitter = Splitter::new(limit, body.encoding.clone());
    while let Some(chunk) = body.next_chunk().await? {
        splitter.push(chunk);
        while let Some(message) = splitter.next_message().map_err(faulty)? {
            if download.inbox.put(vec![message], false) {
                readable();
            }
            if !poll_fn(|cx| download.inbox.poll_room(download.limit, cx)).await {
                return Err(unwanted());
            }
        }
    }
    body.finish().await?;
    splitter.finish().map_err(faulty)?;
    Ok(Bytes::new())
}

fn unwanted() -> (u16, String) {
    (CANCELLED, "the answer is not wanted any more".into())
}

fn faulty(fault: Fault) -> (u16, String) {
    match fault {
        Fault::Gone => (UNAVAILABLE, "the answer breaks off".into()),
        Fault::Status(code, text) if code == status::RESOURCE_EXHAUSTED => (code, text),
        Fault::Status(_, text) => (INTERNAL, text),
        Fault::NoRoom(text) => (status::RESOURCE_EXHAUSTED, text),
    }
}
