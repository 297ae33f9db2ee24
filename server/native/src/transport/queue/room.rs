//! Room for large requests: from before one is read until it has its answer. What clients may make
//! the server keep is bounded in all and for each connection, not only one by one.
//!
//! A request announces its size first. One that finds no room is not read on, so its client cannot
//! send more of it than a window; what is in those windows is bounded by how many may wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::transport::wire::framing::{no_room, Fault, SMALL};

const UNIT: usize = 1 << 10;
/// How long a request counts whose client is gone: Python works on it nevertheless.
const LINGER: Duration = Duration::from_secs(5);

/// Some room, and who waits for it.
struct Part {
    free: Arc<Semaphore>,
    units: u32,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Part {
    fn new(units: u32, most_waiting: usize) -> Self {
        Part {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }
}

/// How many requests may wait for room, in all and of one connection.
#[derive(Clone, Copy)]
pub struct Waiting {
    pub all: usize,
    pub of_one: usize,
}

/// The room of all connections of a listener.
pub struct Room {
    all: Part,
    waiting: Waiting,
    /// How long a request may wait.
    patience: Duration,
}

/// The part of it that one connection may take.
pub struct Share(Part);

impl Default for Share {
    fn default() -> Self {
        Share(Part::new(u32::MAX >> 4, usize::MAX))
    }
}

/// What one request takes.
pub struct Place {
    all: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

/// One more that waits, for as long as this lives.
struct Waiter<'a>(&'a Part);

impl<'a> Waiter<'a> {
    fn new(part: &'a Part) -> Option<Self> {
        let waiter = Waiter(part);
        (part.waiting.fetch_add(1, SeqCst) < part.most_waiting).then_some(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl Room {
    pub fn new(bytes: usize, waiting: Waiting, patience: Duration) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize >> 4));
        Room {
            all: Part::new(u32::try_from(units).unwrap_or(u32::MAX >> 4), waiting.all),
            waiting,
            patience,
        }
    }

    /// Half of the room: one connection alone cannot keep the others waiting.
    pub fn share(&self) -> Share {
        Share(Part::new(self.all.units.div_ceil(2), self.waiting.of_one))
    }

    /// Wait until there is room for so many bytes; who asks first has it first.
    async fn place(self: Arc<Self>, size: usize, share: Arc<Share>) -> Result<Place, Fault> {
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let waiting = async {
            let own = take(&share.0, units).await?;
            let all = take(&self.all, units).await?;
            Some(Place { all, own })
        };
        let found = timeout(self.patience, waiting).await.ok().flatten();
        found.ok_or_else(|| no_room(size))
    }
}

/// None when too many wait already. What is larger than all there is takes all there is.
async fn take(part: &Part, units: u32) -> Option<OwnedSemaphorePermit> {
    let units = units.min(part.units);
    if let Ok(permit) = part.free.clone().try_acquire_many_owned(units) {
        return Some(permit);
    }
    let _waiter = Waiter::new(part)?;
    part.free.clone().acquire_many_owned(units).await.ok()
}

impl Place {
    /// Keep no more than so many bytes need.
    pub fn shrink(&mut self, size: usize) {
        let units = size.div_ceil(UNIT);
        for permit in [&mut self.all, &mut self.own] {
            drop(permit.split(permit.num_permits().saturating_sub(units)));
        }
    }

    /// Give the place up later: the client has left before its answer was known.
    pub fn linger(self) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(self);
            });
        }
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<Place, Fault>> + Send>>;

/// Asks for one place after the other.
pub struct Places {
    room: Arc<Room>,
    share: Arc<Share>,
    asked: Option<Asked>,
    got: Option<Place>,
}

impl Places {
    pub fn new(room: &Arc<Room>, share: &Arc<Share>) -> Self {
        Places {
            room: room.clone(),
            share: share.clone(),
            asked: None,
            got: None,
        }
    }

    /// Ready once there is a place for so many bytes, which `take` returns; the fault when there
    /// will be none.
    pub fn poll(&mut self, size: usize, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if size > SMALL && self.got.is_none() {
            let (room, share) = (&self.room, &self.share);
            let asked = self
                .asked
                .get_or_insert_with(|| Box::pin(room.clone().place(size, share.clone())));
            let place = ready!(asked.as_mut().poll(cx));
            self.asked = None;
            self.got = Some(place?);
        }
        Poll::Ready(Ok(()))
    }

    /// The place of the message that is complete now, for as much as it has become.
    pub fn take(&mut self, size: usize) -> Option<Place> {
        let mut place = self.got.take()?;
        place.shrink(size);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    const LARGE: usize = 1 << 20;

    fn run(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(test);
    }

    fn room(size: usize) -> Arc<Room> {
        let waiting = Waiting { all: 8, of_one: 8 };
        Arc::new(Room::new(size, waiting, Duration::from_millis(20)))
    }

    fn asking(room: &Arc<Room>, share: &Arc<Share>) -> impl Future<Output = Result<Place, Fault>> {
        room.clone().place(LARGE, share.clone())
    }

    #[test]
    fn one_connection_has_half_of_the_room() {
        run(async {
            let room = room(4 * LARGE);
            let (greedy, other) = (Arc::new(room.share()), Arc::new(room.share()));
            let held = [asking(&room, &greedy).await, asking(&room, &greedy).await];
            assert!(held.iter().all(Result::is_ok));

            assert!(asking(&room, &greedy).await.is_err());
            assert!(asking(&room, &other).await.is_ok());
        });
    }

    #[test]
    fn who_waits_has_the_place_that_is_given_up() {
        run(async {
            let room = room(2 * LARGE);
            let share = Arc::new(room.share());
            let first = asking(&room, &share).await;
            let next = tokio::spawn(asking(&room, &share));
            tokio::task::yield_now().await;

            drop(first);

            assert!(next.await.unwrap().is_ok());
        });
    }

    #[test]
    fn no_more_than_a_few_wait() {
        run(async {
            let room = room(LARGE);
            let share = Arc::new(room.share());
            let _held = asking(&room, &share).await;
            let waiting: Vec<_> = (0..8)
                .map(|_| tokio::spawn(asking(&room, &share)))
                .collect();
            tokio::task::yield_now().await;

            assert!(asking(&room, &share).await.is_err());

            for one in waiting {
                assert!(one.await.unwrap().is_err(), "it waited too long");
            }
            assert_eq!(share.0.waiting.load(SeqCst), 0);
        });
    }

    #[test]
    fn a_place_may_shrink() {
        run(async {
            let room = room(2 * LARGE);
            let share = Arc::new(Share::default());
            let mut first = room.clone().place(2 * LARGE, share.clone()).await.unwrap();
            assert!(asking(&room, &share).await.is_err());

            first.shrink(LARGE);

            assert!(asking(&room, &share).await.is_ok());
        });
    }
}
