//! Bytes of gRPC over HTTP/2: headers, frames of messages, compression and status.

pub mod arrival;
pub mod compression;
pub mod frames;
pub mod framing;
pub mod headers;
pub mod latecomers;
pub mod status;
