//! Lets the thread that has something to send drive a connection itself.
//!
//! A task on the connector's thread owns every connection and every call. Waking that thread for one
//! small message costs the sender more than writing it to the socket would, and the message waits
//! for the thread to run. So the sender does the work of the woken tasks at once: it swallows the
//! wake-ups it causes itself, and then polls what they were for. Everything else stays with the
//! tasks, whose wakers are registered at any time.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

pub type Ended = Result<(), h2::Error>;
type Protocol = Pin<Box<dyn Future<Output = Ended> + Send>>;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread's wake-ups of `Summons` are swallowed: it does their work itself.
pub struct Quiet(());

impl Quiet {
    pub fn begin() -> Self {
        QUIET.set(true);
        Quiet(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Wakes the task that was registered last, unless this thread is quiet.
#[derive(Default)]
pub struct Summons {
    task: Mutex<Option<Waker>>,
}

impl Summons {
    pub fn register(&self, task: &Waker) {
        let mut known = self.task.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// Wake the task whether this thread is quiet or not.
    pub fn send(&self) {
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Summons {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !QUIET.get() {
            self.send();
        }
    }
}

enum Progress {
    Running(Protocol),
    /// The task does not know of it yet.
    Ended(Ended),
    Reported,
}

/// A connection that its task and any sender may drive, one at a time.
pub struct Connection {
    progress: Mutex<Progress>,
    summons: Arc<Summons>,
}

impl Connection {
    pub fn new(connection: impl Future<Output = Ended> + Send + 'static) -> Self {
        Connection {
            progress: Mutex::new(Progress::Running(Box::pin(connection))),
            summons: Arc::default(),
        }
    }

    /// For its task: ready once, when the connection has ended.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.summons.register(cx.waker());
        let mut progress = self.progress.lock();
        match std::mem::replace(&mut *progress, Progress::Reported) {
            Progress::Running(mut protocol) => {
                let polled = self.poll_protocol(&mut protocol);
                if polled.is_pending() {
                    *progress = Progress::Running(protocol);
                }
                polled
            }
            Progress::Ended(how) => Poll::Ready(how),
            Progress::Reported => Poll::Pending,
        }
    }

    /// For senders: do now what the task would do when woken, or wake it if it is at work.
    pub fn drive(&self) {
        let Some(mut progress) = self.progress.try_lock() else {
            return self.summons.send();
        };
        if let Progress::Running(protocol) = &mut *progress {
            if let Poll::Ready(how) = self.poll_protocol(protocol) {
                *progress = Progress::Ended(how);
                drop(progress); // The woken task takes the lock first of all.
                self.summons.send();
            }
        }
    }

    fn poll_protocol(&self, protocol: &mut Protocol) -> Poll<Ended> {
        let waker = Waker::from(self.summons.clone());
        protocol.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A connection that is over after so many polls, and the times its task was woken.
    fn connection(polls: usize) -> (Connection, Waker, Arc<Counted>) {
        let mut left = polls;
        let connection = Connection::new(poll_fn(move |_| {
            left -= 1;
            match left {
                0 => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        }));
        let woken = Arc::new(Counted::default());
        (connection, Waker::from(woken.clone()), woken)
    }

    #[test]
    fn a_sender_drives_without_waking_the_task() {
        let (connection, task, woken) = connection(3);
        assert!(connection
            .poll(&mut Context::from_waker(&task))
            .is_pending());

        connection.drive();

        assert_eq!(woken.0.load(Relaxed), 0);
    }

    #[test]
    fn the_task_learns_of_an_end_that_a_sender_met() {
        let (connection, task, woken) = connection(2);
        assert!(connection
            .poll(&mut Context::from_waker(&task))
            .is_pending());

        connection.drive();

        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(connection.poll(&mut Context::from_waker(&task)).is_ready());
        connection.drive();
        assert!(connection
            .poll(&mut Context::from_waker(&task))
            .is_pending());
    }

    #[test]
    fn a_connection_at_work_is_summoned_instead() {
        let (connection, task, woken) = connection(9);
        assert!(connection
            .poll(&mut Context::from_waker(&task))
            .is_pending());

        let working = connection.progress.lock();
        connection.drive();
        drop(working);

        assert_eq!(woken.0.load(Relaxed), 1);
    }

    #[test]
    fn only_the_quiet_thread_swallows_wake_ups() {
        let summons = Arc::new(Summons::default());
        let woken = Arc::new(Counted::default());
        summons.register(&Waker::from(woken.clone()));
        let waker = Waker::from(summons);

        let quiet = Quiet::begin();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Relaxed), 0);
        let elsewhere = waker.clone();
        std::thread::spawn(move || elsewhere.wake()).join().unwrap();
        assert_eq!(woken.0.load(Relaxed), 1);

        drop(quiet);
        waker.wake();
        assert_eq!(woken.0.load(Relaxed), 2);
    }
}
