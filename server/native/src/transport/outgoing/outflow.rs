//! The messages of an outgoing stream that have not left yet, and the way out once it is open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use parking_lot::Mutex;

use super::connection::{Connection, Quiet, Summons};

/// Up to this much is copied together, so that it leaves in one write.
const TOGETHER: usize = 64 << 10;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    queued: usize,
    /// Nothing more will be added.
    finished: bool,
    /// Nothing is taken any more.
    lost: bool,
    taker: Option<Waker>,
}

pub struct Outflow {
    limit: usize,
    queue: Mutex<Queue>,
    /// There once the call has begun.
    sink: Mutex<Option<Sink>>,
    /// Of the call's task.
    summons: Arc<Summons>,
}

impl Outflow {
    pub fn new(limit: usize) -> Self {
        Outflow {
            limit,
            queue: Mutex::default(),
            sink: Mutex::default(),
            summons: Arc::default(),
        }
    }

    /// Add frames, and send them from this thread if they are small and no other thread sends.
    pub fn send(&self, frames: Vec<Bytes>) -> bool {
        if frames.iter().map(Bytes::len).sum::<usize>() > TOGETHER {
            return self.put(frames);
        }
        let quiet = Quiet::begin();
        if !self.put(frames) {
            return false;
        }
        let Some(mut sink) = self.sink.try_lock() else {
            self.summons.send();
            return true;
        };
        if let Some(sink) = &mut *sink {
            let _ = self.poll_drain(sink);
            drop(quiet);
            sink.connection.drive();
        }
        true
    }

    /// Open the way out; `poll_send` keeps it going.
    pub fn open(&self, sink: Sink) {
        *self.sink.lock() = Some(sink);
    }

    /// For the call's task: send what there is. Ready when nothing more can or will be sent.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.summons.register(cx.waker());
        match &mut *self.sink.lock() {
            Some(sink) => self.poll_drain(sink),
            None => Poll::Ready(()),
        }
    }

    fn poll_drain(&self, sink: &mut Sink) -> Poll<()> {
        let waker = Waker::from(self.summons.clone());
        sink.poll_drain(self, &mut Context::from_waker(&waker))
    }

    /// Add frames, all or none; false when there is no room for them or no stream any more.
    pub fn put(&self, frames: Vec<Bytes>) -> bool {
        let size: usize = frames.iter().map(Bytes::len).sum();
        let mut queue = self.queue.lock();
        let full = !queue.frames.is_empty() && queue.queued + size > self.limit;
        if full || queue.finished || queue.lost {
            return false;
        }
        queue.frames.extend(frames);
        queue.queued += size;
        let taker = queue.taker.take();
        drop(queue); // The woken task takes the lock first of all.
        wake(taker);
        true
    }

    pub fn finish(&self) {
        let mut queue = self.queue.lock();
        queue.finished = true;
        let taker = queue.taker.take();
        drop(queue);
        wake(taker);
    }

    /// Forget what is here: it will never leave.
    pub fn lose(&self) {
        *self.sink.lock() = None;
        let mut queue = self.queue.lock();
        *queue = Queue {
            lost: true,
            ..Queue::default()
        };
    }

    /// Take the next frames, several small ones at once; None after the last.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut queue = self.queue.lock();
        let Some(first) = queue.frames.pop_front() else {
            if queue.finished {
                return Poll::Ready(None);
            }
            queue.taker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let taken = together(first, &mut queue.frames);
        queue.queued -= taken.len();
        Poll::Ready(Some(taken))
    }
}

/// The sending half of an open stream: into HTTP/2's own buffer.
pub struct Sink {
    stream: SendStream<Bytes>,
    /// The connection that carries the stream.
    pub connection: Arc<Connection>,
    /// What was taken from the outflow and found no room yet.
    rest: Bytes,
    finished: bool,
}

impl Sink {
    pub fn new(stream: SendStream<Bytes>, connection: Arc<Connection>) -> Self {
        Sink {
            stream,
            connection,
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

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn together(first: Bytes, frames: &mut VecDeque<Bytes>) -> Bytes {
    let fits =
        |size: usize, next: Option<&Bytes>| next.is_some_and(|next| size + next.len() <= TOGETHER);
    if !fits(first.len(), frames.front()) {
        return first;
    }
    let mut joined = BytesMut::with_capacity(TOGETHER);
    joined.extend_from_slice(&first);
    while fits(joined.len(), frames.front()) {
        if let Some(next) = frames.pop_front() {
            joined.extend_from_slice(&next);
        }
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize) -> Bytes {
        vec![0; size].into()
    }

    fn take(outflow: &Outflow) -> Poll<Option<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        outflow
            .poll_take(&mut cx)
            .map(|taken| taken.map(|bytes| bytes.len()))
    }

    #[test]
    fn small_frames_leave_together_and_large_ones_alone() {
        let outflow = Outflow::new(1 << 20);
        outflow.put(vec![frame(10), frame(20), frame(TOGETHER), frame(5)]);

        assert_eq!(take(&outflow), Poll::Ready(Some(30)));
        assert_eq!(take(&outflow), Poll::Ready(Some(TOGETHER)));
        assert_eq!(take(&outflow), Poll::Ready(Some(5)));
        assert_eq!(take(&outflow), Poll::Pending);
    }

    #[test]
    fn beyond_the_limit_everything_is_refused_but_a_single_large_message() {
        let outflow = Outflow::new(10);

        assert!(outflow.put(vec![frame(11)]));
        assert!(!outflow.put(vec![frame(1)]));

        assert_eq!(take(&outflow), Poll::Ready(Some(11)));
        assert!(outflow.put(vec![frame(1)]));
    }

    #[test]
    fn nothing_is_taken_in_after_the_end() {
        let finished = Outflow::new(10);
        finished.put(vec![frame(1)]);
        finished.finish();
        assert!(!finished.put(vec![frame(1)]));
        assert_eq!(take(&finished), Poll::Ready(Some(1)));
        assert_eq!(take(&finished), Poll::Ready(None));

        let lost = Outflow::new(10);
        lost.put(vec![frame(1)]);
        lost.lose();
        assert!(!lost.put(vec![frame(1)]));
    }
}
