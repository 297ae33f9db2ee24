//! A worker: one thread, one single-threaded runtime, the connections it was given and their calls.
//!
//! Answers of a whole batch arrive as one order, so that the thread is woken once for all of them
//! and hands them on without leaving it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use super::backlog::{Held, Load};
use super::call::{Call, End};
use super::connection::{self, Accepted, Phase};
use super::shared::Shared;
use super::status;

/// Bits of a call id that name its worker.
const WORKER_BITS: u32 = 6;
pub const MAX_WORKERS: usize = 1 << WORKER_BITS;

pub fn worker_of(call_id: u64) -> usize {
    (call_id & (MAX_WORKERS as u64 - 1)) as usize
}

/// The open calls of one worker.
pub struct Calls {
    worker: u64,
    sequence: AtomicU64,
    /// None once the worker takes no more.
    open: Mutex<Option<HashMap<u64, Arc<Call>>>>,
}

impl Calls {
    fn new(worker: usize) -> Self {
        Calls {
            worker: worker as u64,
            sequence: AtomicU64::new(1),
            open: Mutex::new(Some(HashMap::new())),
        }
    }

    pub fn open(&self, load: &Arc<Load>) -> Option<Arc<Call>> {
        let id = self.sequence.fetch_add(1, Relaxed) << WORKER_BITS | self.worker;
        let call = Arc::new(Call::new(id, load.clone()));
        self.open.lock().as_mut()?.insert(id, call.clone());
        Some(call)
    }

    pub fn get(&self, id: u64) -> Option<Arc<Call>> {
        self.open.lock().as_ref()?.get(&id).cloned()
    }

    pub fn remove(&self, id: u64) -> Option<Arc<Call>> {
        self.open.lock().as_mut()?.remove(&id)
    }

    fn remove_all<T>(&self, items: Vec<(u64, T)>) -> Vec<(Arc<Call>, T)> {
        let mut open = self.open.lock();
        let Some(open) = open.as_mut() else {
            return Vec::new();
        };
        items
            .into_iter()
            .filter_map(|(id, item)| Some((open.remove(&id)?, item)))
            .collect()
    }

    fn shut(&self) -> Vec<Arc<Call>> {
        let open = self.open.lock().take();
        open.map_or_else(Vec::new, |open| open.into_values().collect())
    }
}

pub enum Order {
    Serve(Accepted),
    Answer(Vec<(u64, Held)>),
    Fail(Vec<(u64, Box<HeaderMap>)>),
    /// Take no more calls and end the open ones with UNAVAILABLE.
    Abandon,
    Stop,
}

pub struct Worker {
    pub calls: Arc<Calls>,
    pub orders: UnboundedSender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub fn start(
        index: usize,
        shared: Arc<Shared>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let (orders, inbox) = unbounded_channel();
        let calls = Arc::new(Calls::new(index));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let state = State {
            shared,
            calls: calls.clone(),
            phase,
        };
        let thread = thread::Builder::new()
            .name(format!("amaters-grpc-{index}"))
            .spawn(move || runtime.block_on(work(state, inbox)))?;
        Ok(Worker {
            calls,
            orders,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A worker that has stopped needs no orders.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    pub fn stop(&self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

pub struct State {
    pub shared: Arc<Shared>,
    pub calls: Arc<Calls>,
    pub phase: watch::Receiver<Phase>,
}

async fn work(state: State, mut inbox: UnboundedReceiver<Order>) {
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(accepted) => connection::spawn(&state, accepted),
            Order::Answer(answers) => answer(&state.calls, answers),
            Order::Fail(failures) => fail(&state.calls, failures),
            Order::Abandon => abandon(&state.calls),
            Order::Stop => return,
        }
    }
}

fn answer(calls: &Calls, answers: Vec<(u64, Held)>) {
    for (call, message) in calls.remove_all(answers) {
        if let Some(waker) = call.deliver(Some(message), Some(End::Ok)) {
            waker.wake();
        }
    }
}

fn fail(calls: &Calls, failures: Vec<(u64, Box<HeaderMap>)>) {
    for (call, trailers) in calls.remove_all(failures) {
        if let Some(waker) = call.deliver(None, Some(End::Failed(trailers))) {
            waker.wake();
        }
    }
}

fn abandon(calls: &Calls) {
    let stopping = status::failed(status::UNAVAILABLE, "the server is stopping: try another");
    for call in calls.shut() {
        let end = End::Failed(Box::new(stopping.clone()));
        if let Some(waker) = call.deliver(None, Some(end)) {
            waker.wake();
        }
    }
}
