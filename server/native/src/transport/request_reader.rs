//! Reads a request that is a stream, into what waits for Python.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use hyper::body::Incoming;

use super::arrival::Arrival;
use super::framing::{Fault, Splitter};
use super::inbound::Inbound;
use super::shared::{Counters, Shared};

/// Reads a request's stream for as long as there is room for what it brings.
pub struct RequestReader {
    pub body: Incoming,
    pub inbound: Arc<Inbound>,
    pub splitter: Splitter,
    /// Runs while a message is only partly here.
    pub arrival: Arrival,
    pub shared: Arc<Shared>,
    pub ended: bool,
}

impl RequestReader {
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
            self.pass_on(messages, false);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        self.splitter.finish()?;
        self.pass_on(Vec::new(), true);
        Ok(())
    }

    fn pass_on(&self, messages: Vec<Bytes>, ended: bool) {
        if self.inbound.put(messages, ended) {
            self.shared.notify_readable(self.inbound.clone());
        }
    }
}
