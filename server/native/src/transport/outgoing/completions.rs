//! How calls end, on the way to Python.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::transport::wakeup::Wakeup;
use crate::transport::wire::status::UNAVAILABLE;

/// The answer's message, or a status that is not OK.
pub type Outcome = Result<Bytes, (u16, String)>;

/// What Python has not taken: calls that have ended, and which answers can be read.
pub struct Completions {
    ended: Mutex<Vec<(u64, Outcome)>>,
    readable: Mutex<Vec<u64>>,
    wakeup: Wakeup,
}

impl Completions {
    pub fn new(event_fd: i32) -> io::Result<Self> {
        Ok(Completions {
            ended: Mutex::default(),
            readable: Mutex::default(),
            wakeup: Wakeup::new(event_fd)?,
        })
    }

    fn push(&self, id: u64, outcome: Outcome) {
        self.ended.lock().push((id, outcome));
        self.wakeup.wake();
    }

    pub fn notify_readable(&self, id: u64) {
        self.readable.lock().push(id);
        self.wakeup.wake();
    }

    pub fn take_readable(&self) -> Vec<u64> {
        std::mem::take(&mut *self.readable.lock())
    }

    pub fn take(&self) -> Vec<(u64, Outcome)> {
        self.wakeup.looking();
        std::mem::take(&mut *self.ended.lock())
    }
}

/// Why a channel is of no use any more.
pub type Reason = Arc<Mutex<String>>;

/// Reports a call's outcome to Python: at the latest when this is dropped.
pub struct Ticket {
    pub id: u64,
    pub completions: Arc<Completions>,
    pub reason: Reason,
    pub outcome: Option<Outcome>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        let outcome = outcome.unwrap_or_else(|| Err((UNAVAILABLE, self.reason.lock().clone())));
        self.completions.push(self.id, outcome);
    }
}
