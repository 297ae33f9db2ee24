//! The sending half of an open stream: from the outflow into HTTP/2's own buffer.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use super::line::Line;
use super::outflow::Outflow;

pub struct Sink {
    stream: SendStream<Bytes>,
    /// The connection that carries the stream.
    pub line: Arc<Line>,
    /// What was taken from the outflow and found no room yet.
    rest: Bytes,
    finished: bool,
}

impl Sink {
    pub fn new(stream: SendStream<Bytes>, line: Arc<Line>) -> Self {
        Sink {
            stream,
            line,
            rest: Bytes::new(),
            finished: false,
        }
    }

    /// Ready when nothing more can or will be sent.
    pub fn poll_drain(&mut self, outflow: &Outflow, cx: &mut Context<'_>) -> Poll<()> {
        while !self.finished {
            if self.rest.is_empty() {
                match outflow.poll_take(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(taken)) => self.rest = taken,
                    Poll::Ready(None) => {
                        let _ = self.stream.send_data(Bytes::new(), true);
                        self.finished = true;
                        break;
                    }
                }
            }
            self.stream.reserve_capacity(self.rest.len());
            if self.stream.capacity() == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => self.finished = true,
                }
                continue;
            }
            let piece = self
                .rest
                .split_to(self.rest.len().min(self.stream.capacity()));
            self.finished = self.stream.send_data(piece, false).is_err();
        }
        Poll::Ready(())
    }
}
