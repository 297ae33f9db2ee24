//! The open calls of one worker, and how a call's id names that worker.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::transport::queue::backlog::Load;
use crate::transport::queue::call::Call;

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
    pub fn new(worker: usize) -> Self {
        Calls {
            worker: worker as u64,
            sequence: AtomicU64::new(1),
            open: Mutex::new(Some(HashMap::new())),
        }
    }

    pub fn open(&self, load: &Arc<Load>, continues: bool) -> Option<Arc<Call>> {
        let id = self.sequence.fetch_add(1, Relaxed) << WORKER_BITS | self.worker;
        let call = Arc::new(Call::new(id, load.clone(), continues));
        self.open.lock().as_mut()?.insert(id, call.clone());
        Some(call)
    }

    pub fn get(&self, id: u64) -> Option<Arc<Call>> {
        self.open.lock().as_ref()?.get(&id).cloned()
    }

    pub fn remove(&self, id: u64) -> Option<Arc<Call>> {
        self.open.lock().as_mut()?.remove(&id)
    }

    /// The calls that these answers are for; only those that continue stay open.
    pub fn answered<T>(&self, answers: Vec<(u64, T)>) -> Vec<(Arc<Call>, T)> {
        let mut open = self.open.lock();
        let Some(open) = open.as_mut() else {
            return Vec::new();
        };
        let mut call = |id| match open.entry(id) {
            Entry::Vacant(_) => None,
            Entry::Occupied(entry) if entry.get().continues => Some(entry.get().clone()),
            Entry::Occupied(entry) => Some(entry.remove()),
        };
        answers
            .into_iter()
            .filter_map(|(id, answer)| Some((call(id)?, answer)))
            .collect()
    }

    pub fn remove_all<T>(&self, items: Vec<(u64, T)>) -> Vec<(Arc<Call>, T)> {
        let mut open = self.open.lock();
        let Some(open) = open.as_mut() else {
            return Vec::new();
        };
        items
            .into_iter()
            .filter_map(|(id, item)| Some((open.remove(&id)?, item)))
            .collect()
    }

    /// Open no more; returns those that are open.
    pub fn shut(&self) -> Vec<Arc<Call>> {
        let open = self.open.lock().take();
        open.map_or_else(Vec::new, |open| open.into_values().collect())
    }
}
