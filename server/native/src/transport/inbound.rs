//! A request that is a stream: its messages pile up here until Python takes them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::call::Call;

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
    /// Python was notified that there is something, and has not taken it yet.
    notified: bool,
    /// Reads the stream; set while there is no room.
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

    pub fn poll_room(&self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut inbox = self.inbox.lock();
        if inbox.queued <= limit {
            return Poll::Ready(());
        }
        inbox.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Add messages or the end; true when Python must be notified.
    pub fn put(&self, messages: Vec<Bytes>, ended: bool) -> bool {
        let mut inbox = self.inbox.lock();
        inbox.queued += messages
            .iter()
            .map(|one| one.len() + OVERHEAD)
            .sum::<usize>();
        inbox.messages.extend(messages);
        inbox.ended |= ended;
        !std::mem::replace(&mut inbox.notified, true)
    }

    /// Hand over what is here; None when the call is gone.
    pub fn take(&self) -> Option<Taken> {
        let (taken, reader) = {
            let mut inbox = self.inbox.lock();
            inbox.notified = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    pub fn poll_room(inbound: &Inbound, limit: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        inbound.poll_room(limit, &mut cx).is_ready()
    }

    #[test]
    fn python_is_notified_once_until_it_takes() {
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
