//! Reads a request that is a stream, in one of two ways: its messages are collected for Python, or
//! each of them is a call of another method, and the next is read once that is answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;

use crate::transport::queue::backlog::Load;
use crate::transport::queue::call::End;
use crate::transport::queue::inbound::Inbound;
use crate::transport::queue::inbox::cost;
use crate::transport::queue::room::{Place, Places};
use crate::transport::queue::shared::{Counters, Queued, Shared};
use crate::transport::wire::arrival::Arrival;
use crate::transport::wire::framing::{Fault, Single, Splitter};
use crate::transport::wire::status;

/// Reads a request that is one message, and limits how long that may take once there is room.
pub struct OnlyMessage {
    pub body: Incoming,
    pub single: Single,
    pub arrival: Arrival,
    pub places: Places,
    pub ended: bool,
}

impl OnlyMessage {
    /// The message, and its place when it needs one.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, Option<Place>), Fault>> {
        loop {
            ready!(self.places.poll(self.single.need()?, cx))?;
            if self.ended {
                let message = self.single.finish()?;
                let place = self.places.take(message.len());
                return Poll::Ready(Ok((message, place)));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return self.arrival.poll(cx).map(Err),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.single.add(chunk)?;
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Fault::Gone)),
                Poll::Ready(None) => self.ended = true,
            }
        }
    }
}

/// Cuts the messages out of a request, and limits how long each may take to arrive.
pub struct Messages {
    pub body: Incoming,
    pub splitter: Splitter,
    /// Runs while a message is only partly here.
    pub arrival: Arrival,
    /// For the next message.
    pub places: Places,
    pub ended: bool,
}

impl Messages {
    /// The next message; None after the last.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            ready!(self.places.poll(self.splitter.need()?, cx))?;
            if let Some(message) = self.splitter.next_message()? {
                self.arrival.restart();
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(self.splitter.finish().map(|()| None));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return self.poll_arrival(cx),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.splitter.push(chunk);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Fault::Gone)),
                Poll::Ready(None) => self.ended = true,
            }
        }
    }

    /// What is here, until it costs more than the limit; and whether the last message is among it.
    fn poll_some(
        &mut self,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> (Vec<Bytes>, Poll<Result<bool, Fault>>) {
        let (mut found, mut size) = (Vec::new(), 0);
        while size <= limit {
            match self.poll_next(cx) {
                Poll::Pending => return (found, Poll::Pending),
                Poll::Ready(Err(fault)) => return (found, Poll::Ready(Err(fault))),
                Poll::Ready(Ok(None)) => return (found, Poll::Ready(Ok(true))),
                Poll::Ready(Ok(Some(message))) => {
                    // From here on it counts as held until Python takes it.
                    self.places.take(0);
                    size += cost(std::slice::from_ref(&message));
                    found.push(message);
                }
            }
        }
        (found, Poll::Ready(Ok(false)))
    }

    /// Nothing has come: that may be so between two messages, but not for long inside one.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        if self.splitter.is_between_messages() {
            return Poll::Pending;
        }
        self.arrival.poll(cx).map(Err)
    }
}

/// What becomes of the messages.
pub enum Purpose {
    /// Python takes them when it likes, and ends the call.
    Collect(Arc<Inbound>),
    /// Each is queued as a call; the end of the stream ends them.
    AnswerEach(Box<Repeated>),
}

pub struct RequestReader {
    pub messages: Messages,
    pub purpose: Purpose,
    pub shared: Arc<Shared>,
    /// Nothing is left to read.
    pub done: bool,
}

impl RequestReader {
    /// Ready once with what ends the call: there is an error, or each message has been answered.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.done {
            return Poll::Pending;
        }
        let messages = &mut self.messages;
        let polled = match &mut self.purpose {
            Purpose::Collect(inbound) => {
                collect(messages, inbound, &self.shared, cx).map_ok(|()| None)
            }
            Purpose::AnswerEach(repeated) => repeated.poll(messages, cx).map_ok(Some),
        };
        self.done = polled.is_ready();
        match polled {
            Poll::Pending | Poll::Ready(Ok(None)) => Poll::Pending,
            Poll::Ready(Ok(Some(end))) => Poll::Ready(end),
            Poll::Ready(Err(fault)) => Poll::Ready(End::Failed(Box::new(fault.trailers()))),
        }
    }
}

/// Collect for as long as there is room; ready at the end of the stream.
fn collect(
    messages: &mut Messages,
    inbound: &Arc<Inbound>,
    shared: &Shared,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Fault>> {
    let limit = shared.settings.inbound_backlog;
    while inbound.poll_room(limit, cx).is_ready() {
        let (found, end) = messages.poll_some(limit, cx);
        let ended = matches!(end, Poll::Ready(Ok(true)));
        if ended || !found.is_empty() {
            let bytes: usize = found.iter().map(Bytes::len).sum();
            Counters::add(&shared.counters.bytes_received, bytes as u64);
            if inbound.put(found, ended) {
                shared.notify_readable(inbound.clone());
            }
        }
        match end {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(false)) => {}
        }
    }
    Poll::Pending
}

/// Each message as a call of its own, one after the other.
pub struct Repeated {
    /// The call without its message.
    template: Queued,
    /// What counts of the message that is being answered.
    held: usize,
    place: Option<Place>,
    shared: Arc<Shared>,
    /// Of the connection.
    load: Arc<Load>,
}

impl Repeated {
    pub fn new(template: Queued, shared: Arc<Shared>, load: Arc<Load>) -> Self {
        Repeated {
            template,
            held: 0,
            place: None,
            shared,
            load,
        }
    }

    fn poll(&mut self, messages: &mut Messages, cx: &mut Context<'_>) -> Poll<Result<End, Fault>> {
        if self.template.call.is_expected() {
            return Poll::Pending;
        }
        self.release();
        // A client that does not take its answers gets no more of them.
        ready!(self.load.poll_taken(cx));
        let message = match messages.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(None)) => return Poll::Ready(Ok(End::Ok)),
            Poll::Ready(Ok(Some(message))) => message,
        };
        let shared = &self.shared;
        Counters::add(&shared.counters.bytes_received, message.len() as u64);
        self.held = message.len();
        self.place = messages.places.take(self.held);
        shared.backlog.hold(self.held);
        self.template.call.expect();
        let queued = Queued {
            message,
            ..self.template.clone()
        };
        if shared.enqueue(queued) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(End::Failed(Box::new(status::too_many_calls()))))
    }

    fn release(&mut self) {
        self.shared.backlog.release(std::mem::take(&mut self.held));
        self.place = None;
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        if let (true, Some(place)) = (self.template.call.is_expected(), self.place.take()) {
            place.linger();
        }
        self.release();
    }
}
