//! A worker: one thread, one single-threaded runtime, the connections it was given and their calls.
//!
//! Answers of a whole batch arrive as one order, so that the thread is woken once for all of them
//! and hands them on without leaving it.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use crate::transport::incoming::connection::{self, Accepted};
use crate::transport::queue::backlog::Held;
use crate::transport::queue::call::End;
use crate::transport::queue::calls::Calls;
use crate::transport::queue::shared::Shared;
use crate::transport::queue::state::{Phase, State};
use crate::transport::wire::status;

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
    for (call, message) in calls.answered(answers) {
        let end = (!call.continues).then_some(End::Ok);
        if let Some(waker) = call.deliver(Some(message), end) {
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
