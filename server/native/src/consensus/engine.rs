//! Raft's RawNode with its panics contained: a broken invariant inside raft breaks this node for
//! good, but not the process.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::prelude::*;
use raft::{Config, Raft, RawNode};

use super::log::Log;
use super::start::{start, StoredState};
use super::{gap, refused};

pub struct Engine {
    node: RawNode<Log>,
    /// Why the node cannot go on, once raft has contradicted itself.
    broken: Option<String>,
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other
            .downcast::<&str>()
            .map_or_else(|_| "unknown".to_owned(), |text| (*text).to_owned()),
    }
}

impl Engine {
    /// Start raft on a state that has been checked.
    pub fn start(config: &Config, stored: StoredState) -> PyResult<Self> {
        let node = catch_unwind(AssertUnwindSafe(|| start(config, stored)))
            .map_err(|panic| gap(text_of(panic)))?
            .map_err(|error| gap(error.to_string()))?;
        Ok(Engine { node, broken: None })
    }

    /// Read raft's state; this cannot fail.
    pub fn raft(&self) -> &Raft<Log> {
        &self.node.raft
    }

    pub fn log(&mut self) -> &mut Log {
        self.node.mut_store()
    }

    pub fn set_priority(&mut self, priority: i64) {
        self.node.set_priority(priority);
    }

    /// Whether raft has contradicted itself.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Run a step of raft; a panic inside becomes an exception, now and on every later call.
    pub fn run<T>(&mut self, step: impl FnOnce(&mut RawNode<Log>) -> T) -> PyResult<T> {
        if let Some(reason) = &self.broken {
            return Err(refused(format!(
                "node {} is broken, restart it from its disk: {reason}",
                self.node.raft.id
            )));
        }
        let node = &mut self.node;
        catch_unwind(AssertUnwindSafe(|| step(node))).map_err(|panic| {
            let reason = text_of(panic);
            self.broken = Some(reason.clone());
            refused(format!(
                "raft contradicted itself and this node must stop: {reason}"
            ))
        })
    }
}
