//! What waits between the HTTP/2 threads and Python: calls, messages of streams, and their limits.

pub mod backlog;
pub mod call;
pub mod calls;
pub mod hosts;
pub mod inbound;
pub mod inbox;
pub mod permit;
pub mod py_convert;
pub mod room;
pub mod shared;
pub mod state;
pub mod stats;
