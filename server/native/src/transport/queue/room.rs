//! Room for large requests: from when one is complete, and before it is inflated, until it has its
//! answer. What a client may make of a few bytes is bounded in all, not only one by one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// Requests up to this size need no room: they never wait for large ones.
const SMALL: usize = 64 << 10;
/// At least so much is there, and twice the largest message when that is more.
const LIMIT: usize = 32 << 20;
const UNIT: usize = 1 << 10;
/// How long a request counts whose client is gone: Python works on it nevertheless.
const LINGER: Duration = Duration::from_secs(5);

pub struct Room {
    free: Arc<Semaphore>,
    units: usize,
}

/// What one request takes.
pub struct Place(Option<OwnedSemaphorePermit>);

impl Room {
    pub fn new(largest: usize) -> Self {
        let units = (LIMIT.max(largest.saturating_mul(2)) / UNIT).min(Semaphore::MAX_PERMITS);
        let units = units.min(u32::MAX as usize);
        Room {
            free: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// Wait until there is room for so many bytes; who asks first has it first.
    pub async fn place(self: Arc<Self>, size: usize) -> Place {
        if size <= SMALL {
            return Place(None);
        }
        let units = size.div_ceil(UNIT).min(self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // It fails when the semaphore is closed, which nobody does.
        Place(self.free.clone().acquire_many_owned(units).await.ok())
    }
}

impl Place {
    /// Give the place up later: the client has left before its answer was known.
    pub fn linger(self) {
        if let (Some(permit), Ok(runtime)) = (self.0, Handle::try_current()) {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(permit);
            });
        }
    }
}

/// Asks for one place after the other.
pub struct Places {
    room: Arc<Room>,
    asked: Option<Pin<Box<dyn Future<Output = Place> + Send>>>,
    got: Option<Place>,
}

impl Places {
    pub fn new(room: Arc<Room>) -> Self {
        Places {
            room,
            asked: None,
            got: None,
        }
    }

    /// Ready once there is a place for so many bytes, which `take` returns.
    pub fn poll(&mut self, size: usize, cx: &mut Context<'_>) -> Poll<()> {
        if size > SMALL && self.got.is_none() {
            let room = &self.room;
            let asked = self
                .asked
                .get_or_insert_with(|| Box::pin(room.clone().place(size)));
            self.got = Some(ready!(asked.as_mut().poll(cx)));
            self.asked = None;
        }
        Poll::Ready(())
    }

    pub fn take(&mut self) -> Option<Place> {
        self.got.take()
    }
}
