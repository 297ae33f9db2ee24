//! A request that is a stream: its messages pile up here until Python takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::arrival::Arrival;
use super::call::Call;
use super::framing::{Fault, Splitter};
use super::shared::{Counters, Shared};

/// What a message costs beside its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 64;

/// (call id, messages, whether the stream has ended).
pub type Taken = (u64, Vec<Bytes>, bool);

#[derive(Default)]
struct Inbox {
    messages: Vec<Bytes>,
    /// What `messages` cost.
    queued: usize,
    ended: bool,
    /// Python has been told that there is something, and has not taken it yet.
    told: bool,
    /// Who reads the stream, while there is no room.
    reader: Option<Waker>,
}

pub struct Inbound {
    pub call: Arc<Call>,
    inbox: Mutex<Inbox>,
}

impl Inbound {
    pub fn new(call: Arc<Call>) -> Arc<Self> {
        Arc::new(Inbound {
            call,
            inbox: Mutex::default(),
        })
    }

    fn poll_room(&self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut inbox = self.inbox.lock();
        if inbox.queued <= limit {
            return Poll::Ready(());
        }
        inbox.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Add messages or the end; true when Python has to be told.
    fn put(&self, messages: Vec<Bytes>, ended: bool) -> bool {
        let mut inbox = self.inbox.lock();
        inbox.queued += messages
            .iter()
            .map(|one| one.len() + OVERHEAD)
            .sum::<usize>();
        inbox.messages.extend(messages);
        inbox.ended |= ended;
        !std::mem::replace(&mut inbox.told, true)
    }

    /// Hand over what is here; None when the call is gone.
    pub fn take(&self) -> Option<Taken> {
        let (taken, reader) = {
            let mut inbox = self.inbox.lock();
            inbox.told = false;
            inbox.queued = 0;
            let messages = std::mem::take(&mut inbox.messages);
            ((self.call.id, messages, inbox.ended), inbox.reader.take())
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        (!self.call.is_gone()).then_some(taken)
    }
}

/// Reads a request's stream for as long as there is room for what it brings.
pub struct Upload {
    pub body: Incoming,
    pub inbound: Arc<Inbound>,
    pub splitter: Splitter,
    /// Runs while a message is only partly here.
    pub arrival: Arrival,
    pub shared: Arc<Shared>,
    pub ended: bool,
}

impl Upload {
    /// Ready with trailers when the stream makes no sense; otherwise pending for good.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HeaderMap> {
        let limit = self.shared.settings.inbound_backlog;
        while !self.ended {
            if self.inbound.poll_room(limit, cx).is_pending() {
                return Poll::Pending;
            }
            let read = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return self.poll_arrival(cx),
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(|chunk| self.add(chunk)),
                Poll::Ready(Some(Err(_))) => Some(Err(Fault::Gone)),
                Poll::Ready(None) => Some(self.end()),
            };
            if let Some(Err(fault)) = read {
                return Poll::Ready(fault.trailers());
            }
        }
        Poll::Pending
    }

    /// Nothing has come: that may be so between two messages, but not for long inside one.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<HeaderMap> {
        if self.splitter.is_between_messages() {
            return Poll::Pending;
        }
        self.arrival.poll(cx).map(Fault::trailers)
    }

    fn add(&mut self, chunk: Bytes) -> Result<(), Fault> {
        let mut messages = Vec::new();
        self.splitter.add(chunk, &mut messages)?;
        if self.splitter.is_between_messages() || !messages.is_empty() {
            self.arrival.restart();
        }
        if !messages.is_empty() {
            let bytes: usize = messages.iter().map(Bytes::len).sum();
            Counters::add(&self.shared.counters.bytes_received, bytes as u64);
            self.tell(messages, false);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        self.splitter.finish()?;
        self.tell(Vec::new(), true);
        Ok(())
    }

    fn tell(&self, messages: Vec<Bytes>, ended: bool) {
        if self.inbound.put(messages, ended) {
            self.shared.tell_stirred(self.inbound.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_room(inbound: &Inbound, limit: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        inbound.poll_room(limit, &mut cx).is_ready()
    }

    #[test]
    fn python_is_told_once_until_it_takes() {
        let inbound = Inbound::new(Arc::new(Call::new(7, Arc::default())));

        assert!(inbound.put(vec![Bytes::from_static(b"a")], false));
        assert!(!inbound.put(vec![Bytes::from_static(b"b")], true));

        assert_eq!(
            inbound.take(),
            Some((7, vec![Bytes::from("a"), Bytes::from("b")], true))
        );
        assert!(inbound.put(Vec::new(), true));
    }

    #[test]
    fn a_full_inbox_is_not_read_into_until_taken() {
        let inbound = Inbound::new(Arc::new(Call::new(7, Arc::default())));
        inbound.put(vec![Bytes::from_static(b"four")], false);

        assert!(poll_room(&inbound, OVERHEAD + 4));
        assert!(!poll_room(&inbound, OVERHEAD + 3));
        inbound.take();
        assert!(poll_room(&inbound, 0));
    }

    #[test]
    fn what_a_lost_call_brought_is_forgotten() {
        let inbound = Inbound::new(Arc::new(Call::new(7, Arc::default())));
        inbound.put(vec![Bytes::from_static(b"a")], false);
        inbound.call.abandon();

        assert_eq!(inbound.take(), None);
    }
}
