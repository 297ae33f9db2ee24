//! One call: shared between the HTTP/2 side, which waits for the answer, and Python, which gives it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::task::Waker;

use bytes::Buf;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::transport::queue::backlog::{Held, Load};

/// Python has seen the call.
const TAKEN: u8 = 1;
/// The client is gone, or its time is up.
const GONE: u8 = 2;
/// The last word has been said; nothing that follows matters to Python.
const ANSWERED: u8 = 4;
/// A message of the call is queued, or Python answers it.
const EXPECTED: u8 = 8;

/// How an answer ends.
#[derive(Debug)]
pub enum End {
    Ok,
    Failed(Box<HeaderMap>),
}

#[derive(Default)]
pub struct Outbox {
    pub pieces: VecDeque<Held>,
    /// Bytes in `pieces`.
    pub queued: usize,
    pub end: Option<End>,
    pub waker: Option<Waker>,
    /// Python knows that more is queued than the low-water mark.
    pub held: bool,
}

pub struct Call {
    pub id: u64,
    /// An answer is not the end: each message of the request has one.
    pub continues: bool,
    /// Of its connection.
    load: Arc<Load>,
    marks: AtomicU8,
    pub outbox: Mutex<Outbox>,
}

impl Call {
    pub fn new(id: u64, load: Arc<Load>, continues: bool) -> Self {
        Call {
            id,
            continues,
            load,
            marks: AtomicU8::new(0),
            outbox: Mutex::default(),
        }
    }

    /// Hand the call to Python; false when it is gone already.
    pub fn take(&self) -> bool {
        self.marks.fetch_or(TAKEN, Ordering::AcqRel) & GONE == 0
    }

    pub fn is_taken(&self) -> bool {
        self.marks.load(Ordering::Acquire) & TAKEN != 0
    }

    /// The client is gone. True when Python must be notified: it knows the call and has not answered.
    pub fn abandon(&self) -> bool {
        let before = self.marks.fetch_or(GONE | ANSWERED, Ordering::AcqRel);
        before & TAKEN != 0 && before & (GONE | ANSWERED) == 0
    }

    pub fn is_gone(&self) -> bool {
        self.marks.load(Ordering::Acquire) & GONE != 0
    }

    /// A message that is to be answered goes to Python.
    pub fn expect(&self) {
        self.marks.fetch_or(EXPECTED, Ordering::AcqRel);
    }

    pub fn is_expected(&self) -> bool {
        self.marks.load(Ordering::Acquire) & EXPECTED != 0
    }

    /// End the call from the side of the client.
    pub fn close(&self, end: End) {
        if matches!(end, End::Ok) {
            self.marks.fetch_or(ANSWERED, Ordering::AcqRel);
        }
        self.outbox.lock().end.get_or_insert(end);
    }

    /// Add a message and, or, the end. The waker is the caller's to wake, outside of all locks.
    #[must_use]
    pub fn deliver(&self, message: Option<Held>, end: Option<End>) -> Option<Waker> {
        if end.is_some() {
            self.marks.fetch_or(ANSWERED, Ordering::AcqRel);
        }
        let mut outbox = self.outbox.lock();
        if let Some(message) = message {
            let piece = message.on(&self.load);
            outbox.queued += piece.remaining();
            outbox.pieces.push_back(piece);
            if self.continues {
                self.marks.fetch_and(!EXPECTED, Ordering::AcqRel);
            }
        }
        if outbox.end.is_none() {
            outbox.end = end;
        }
        outbox.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_notified_once_of_a_lost_call_it_knows() {
        let call = Call::new(1, Arc::default(), false);
        assert!(call.take());

        assert!(call.abandon());
        assert!(!call.abandon());
    }

    #[test]
    fn a_call_lost_before_it_is_taken_is_never_seen() {
        let call = Call::new(1, Arc::default(), false);

        assert!(!call.abandon());
        assert!(!call.take());
    }

    #[test]
    fn an_answered_call_cannot_be_lost() {
        let call = Call::new(1, Arc::default(), false);
        assert!(call.take());

        assert!(call.deliver(None, Some(End::Ok)).is_none());

        assert!(!call.abandon());
    }

    #[test]
    fn a_call_that_continues_expects_one_answer_for_each_message() {
        let call = Call::new(1, Arc::default(), true);
        call.expect();
        assert!(call.is_expected());

        let _ = call.deliver(Some(Held::for_tests()), None);

        assert!(!call.is_expected());
        call.close(End::Ok);
        assert!(!call.abandon(), "an end that both sides know");
    }
}
