//! How long a request may take to arrive: a client that stops in the middle of a message must not
//! hold its bytes for ever, whether the call names a deadline or not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, Sleep};

use crate::transport::wire::framing::{unfinished, Fault};

/// The time limit of one message. Its timer is made only when something has to be waited for.
pub struct Arrival {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Arrival {
    pub fn new(limit: Option<Duration>) -> Self {
        Arrival { limit, timer: None }
    }

    /// Ready with the fault once the time is over, which began with the first poll.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| unfinished(limit))
    }

    /// Another message begins.
    pub fn restart(&mut self) {
        self.timer = None;
    }
}
