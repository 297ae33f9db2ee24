//! The eventfd that wakes Python: written once, until Python has looked.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};

pub struct Wakeup {
    event: OwnedFd,
    /// Set while Python has a wake-up it has not acted on.
    armed: AtomicBool,
}

impl Wakeup {
    /// Keeps its own duplicate of the eventfd.
    pub fn new(event_fd: i32) -> io::Result<Self> {
        // SAFETY: fcntl takes any integer; the result, when not negative, is ours alone.
        let event = unsafe {
            let copy = libc::fcntl(event_fd, libc::F_DUPFD_CLOEXEC, 0);
            if copy < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(copy)
        };
        Ok(Wakeup {
            event,
            armed: AtomicBool::new(false),
        })
    }

    /// Wake Python unless it has been woken and has not looked yet.
    pub fn wake(&self) {
        if self.armed.swap(true, AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: eight readable bytes and a descriptor this struct owns. A full counter (EAGAIN)
        // means that the descriptor is readable, which is all that is wanted.
        unsafe {
            libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8);
        }
    }

    /// Python looks now: whatever comes after this wakes it again.
    pub fn looking(&self) {
        self.armed.swap(false, AcqRel);
    }
}
