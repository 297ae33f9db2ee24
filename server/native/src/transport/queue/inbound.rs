//! A request that is a stream: its messages wait here until Python takes them.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::transport::queue::backlog::Backlog;
use crate::transport::queue::call::Call;
use crate::transport::queue::inbox::{cost, Inbox};

/// (call id, messages, whether the stream has ended).
pub type Taken = (u64, Vec<Bytes>, bool);

pub struct Inbound {
    pub call: Arc<Call>,
    inbox: Inbox,
    backlog: Arc<Backlog>,
}

impl Inbound {
    pub fn new(call: Arc<Call>, backlog: Arc<Backlog>) -> Arc<Self> {
        Arc::new(Inbound {
            call,
            inbox: Inbox::default(),
            backlog,
        })
    }

    pub fn poll_room(&self, limit: usize, cx: &mut Context<'_>) -> Poll<bool> {
        self.inbox.poll_room(limit, cx)
    }

    /// Add messages or the end; true when Python must be notified.
    pub fn put(&self, messages: Vec<Bytes>, ended: bool) -> bool {
        self.backlog.hold(cost(&messages));
        self.inbox.put(messages, ended)
    }

    /// Hand over what is here; None when the call is gone.
    pub fn take(&self) -> Option<Taken> {
        let taken = self.inbox.take();
        self.backlog.release(taken.cost);
        (!self.call.is_gone()).then_some((self.call.id, taken.messages, taken.ended))
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.backlog.release(self.inbox.take().cost);
    }
}
