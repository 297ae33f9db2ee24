//! What a worker hands to its connections.

use std::sync::Arc;

use tokio::sync::watch;

use crate::transport::queue::calls::Calls;
use crate::transport::queue::shared::Shared;

/// Where a listener is in its life.
#[derive(Clone, Copy, PartialEq)]
pub enum Phase {
    Serving,
    Draining,
}

pub struct State {
    pub shared: Arc<Shared>,
    pub calls: Arc<Calls>,
    pub phase: watch::Receiver<Phase>,
}
