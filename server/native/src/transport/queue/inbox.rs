//! Messages of one stream that wait for Python to take them.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

/// What a message costs beside its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 64;

#[derive(Default)]
struct Waiting {
    messages: Vec<Bytes>,
    /// What `messages` cost.
    cost: usize,
    ended: bool,
    /// Python was notified that there is something, and has not taken it yet.
    notified: bool,
    /// Nothing is taken any more.
    closed: bool,
    /// Reads the stream; set while there is no room.
    reader: Option<Waker>,
}

#[derive(Default)]
pub struct Inbox(Mutex<Waiting>);

/// What was taken out of an inbox.
pub struct Taken {
    pub messages: Vec<Bytes>,
    /// What they cost.
    pub cost: usize,
    pub ended: bool,
}

pub fn cost(messages: &[Bytes]) -> usize {
    messages.iter().map(|one| one.len() + OVERHEAD).sum()
}

impl Inbox {
    /// Ready once no more than `limit` is waiting; false when it is closed.
    pub fn poll_room(&self, limit: usize, cx: &mut Context<'_>) -> Poll<bool> {
        let mut waiting = self.0.lock();
        if waiting.closed || waiting.cost <= limit {
            return Poll::Ready(!waiting.closed);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Add messages or the end; true when Python must be notified.
    pub fn put(&self, messages: Vec<Bytes>, ended: bool) -> bool {
        let mut waiting = self.0.lock();
        waiting.cost += cost(&messages);
        waiting.messages.extend(messages);
        waiting.ended |= ended;
        !std::mem::replace(&mut waiting.notified, true)
    }

    pub fn take(&self) -> Taken {
        let (taken, reader) = {
            let mut waiting = self.0.lock();
            waiting.notified = false;
            let taken = Taken {
                messages: std::mem::take(&mut waiting.messages),
                cost: std::mem::take(&mut waiting.cost),
                ended: waiting.ended,
            };
            (taken, waiting.reader.take())
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        taken
    }

    /// Ready once nothing is taken any more; for the one task that reads the stream.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.lock();
        if waiting.closed {
            return Poll::Ready(());
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Take nothing any more: the stream need not be read to its end.
    pub fn close(&self) {
        let reader = {
            let mut waiting = self.0.lock();
            waiting.closed = true;
            waiting.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_room(inbox: &Inbox, limit: usize) -> Poll<bool> {
        inbox.poll_room(limit, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn python_is_notified_once_until_it_takes() {
        let inbox = Inbox::default();

        assert!(inbox.put(vec![Bytes::from_static(b"a")], false));
        assert!(!inbox.put(vec![Bytes::from_static(b"b")], true));

        let taken = inbox.take();
        assert_eq!(taken.messages, ["a", "b"]);
        assert!(taken.ended);
        assert!(inbox.put(Vec::new(), true));
    }

    #[test]
    fn a_full_inbox_is_not_read_into_until_taken() {
        let inbox = Inbox::default();
        inbox.put(vec![Bytes::from_static(b"four")], false);

        assert_eq!(has_room(&inbox, OVERHEAD + 4), Poll::Ready(true));
        assert_eq!(has_room(&inbox, OVERHEAD + 3), Poll::Pending);
        assert_eq!(inbox.take().cost, OVERHEAD + 4);
        assert_eq!(has_room(&inbox, 0), Poll::Ready(true));
    }

    #[test]
    fn who_waits_for_room_learns_that_nothing_is_taken_any_more() {
        let inbox = Inbox::default();
        inbox.put(vec![Bytes::from_static(b"four")], false);
        assert_eq!(has_room(&inbox, 0), Poll::Pending);

        inbox.close();

        assert_eq!(has_room(&inbox, 0), Poll::Ready(false));
    }
}
