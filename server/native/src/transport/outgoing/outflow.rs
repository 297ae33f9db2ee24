//! The messages of an outgoing stream that have not left yet, and the way out once it is open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::line::{Quiet, Summons};
use super::sink::Sink;

/// Up to this much is copied together, so that it leaves in one write.
const TOGETHER: usize = 64 << 10;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    queued: usize,
    /// Nothing more will be added.
    finished: bool,
    /// Nobody takes anything any more.
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

    /// Add frames, and send them from this thread if they are small and nobody else is at it.
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
            sink.line.drive();
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
        drop(queue); // Whoever is woken takes the lock first of all.
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
