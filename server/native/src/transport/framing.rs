//! gRPC's length-prefixed messages: exactly one in a request, any number in an answer.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;

use super::status::{INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED};

pub const PREFIX: usize = 5;

/// Put the prefix before a message.
pub fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Some(frame.into())
}

/// Why a request body is not one message.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The client went away in the middle.
    Gone,
    Status(u16, String),
}

fn fault(code: u16, text: impl Into<String>) -> Fault {
    Fault::Status(code, text.into())
}

/// Collects one message from the pieces a body comes in; a body in one piece is not copied.
struct Assembly<'a> {
    limit: usize,
    encoding: Option<&'a str>,
    whole: Bytes,
    pieces: BytesMut,
}

impl Assembly<'_> {
    fn add(&mut self, chunk: Bytes) -> Result<(), Fault> {
        if self.whole.is_empty() && self.pieces.is_empty() {
            self.whole = chunk;
        } else {
            if self.pieces.is_empty() {
                self.pieces
                    .extend_from_slice(&std::mem::take(&mut self.whole));
            }
            self.pieces.extend_from_slice(&chunk);
        }
        self.check()
    }

    fn seen(&self) -> &[u8] {
        if self.pieces.is_empty() {
            &self.whole
        } else {
            &self.pieces
        }
    }

    /// The announced length, once the prefix is there.
    fn announced(&self) -> Option<usize> {
        let prefix: [u8; 4] = self.seen().get(1..PREFIX)?.try_into().ok()?;
        Some(u32::from_be_bytes(prefix) as usize)
    }

    fn check(&mut self) -> Result<(), Fault> {
        let Some(announced) = self.announced() else {
            return Ok(());
        };
        match (self.seen()[0], self.encoding) {
            (0, _) => {}
            (1, Some(encoding)) => {
                let text = format!("compression {encoding:?} is not supported: send identity");
                return Err(fault(UNIMPLEMENTED, text));
            }
            (1, None) => {
                return Err(fault(
                    INTERNAL,
                    "a compressed message without grpc-encoding",
                ));
            }
            _ => return Err(fault(INTERNAL, "broken message framing")),
        }
        if announced > self.limit {
            let text = format!(
                "message of {announced} bytes is over the limit of {}",
                self.limit
            );
            return Err(fault(RESOURCE_EXHAUSTED, text));
        }
        let expected = PREFIX + announced;
        if self.seen().len() > expected {
            return Err(fault(INTERNAL, "more than one message in the request"));
        }
        if !self.pieces.is_empty() && self.pieces.capacity() < expected {
            self.pieces.reserve(expected - self.pieces.len());
        }
        Ok(())
    }

    fn finish(self) -> Result<Bytes, Fault> {
        match self.announced() {
            Some(announced) if self.seen().len() == PREFIX + announced => {}
            Some(_) => return Err(fault(INTERNAL, "the request ends inside its message")),
            None if self.seen().is_empty() => {
                return Err(fault(INTERNAL, "a request without its message"));
            }
            None => {
                return Err(fault(
                    INTERNAL,
                    "the request ends inside the message prefix",
                ))
            }
        }
        if self.pieces.is_empty() {
            Ok(self.whole.slice(PREFIX..))
        } else {
            Ok(self.pieces.freeze().slice(PREFIX..))
        }
    }
}

/// Read the body to its end and return its one message.
pub async fn read_message(
    body: &mut Incoming,
    limit: usize,
    encoding: Option<&str>,
) -> Result<Bytes, Fault> {
    let mut assembly = Assembly {
        limit,
        encoding,
        whole: Bytes::new(),
        pieces: BytesMut::new(),
    };
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Fault::Gone)?;
        if let Ok(chunk) = frame.into_data() {
            if !chunk.is_empty() {
                assembly.add(chunk)?;
            }
        }
    }
    assembly.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(pieces: &[&[u8]]) -> Result<Bytes, Fault> {
        let mut assembly = Assembly {
            limit: 8,
            encoding: None,
            whole: Bytes::new(),
            pieces: BytesMut::new(),
        };
        for piece in pieces {
            assembly.add(Bytes::copy_from_slice(piece))?;
        }
        assembly.finish()
    }

    fn code(result: Result<Bytes, Fault>) -> Option<u16> {
        match result {
            Err(Fault::Status(code, _)) => Some(code),
            _ => None,
        }
    }

    #[test]
    fn one_message_in_any_pieces() {
        let frame = framed(b"hello").unwrap();
        assert_eq!(assemble(&[&frame]).unwrap(), "hello");
        for cut in 1..frame.len() {
            assert_eq!(assemble(&[&frame[..cut], &frame[cut..]]).unwrap(), "hello");
        }
        assert_eq!(assemble(&[&framed(b"").unwrap()]).unwrap(), "");
    }

    #[test]
    fn everything_else_is_refused() {
        let frame = framed(b"hello").unwrap();
        assert_eq!(code(assemble(&[])), Some(INTERNAL));
        assert_eq!(code(assemble(&[b"\0\0"])), Some(INTERNAL));
        assert_eq!(code(assemble(&[&frame[..7]])), Some(INTERNAL));
        assert_eq!(code(assemble(&[&frame, &frame])), Some(INTERNAL));
        assert_eq!(code(assemble(&[b"\x02\0\0\0\0"])), Some(INTERNAL));
        assert_eq!(code(assemble(&[b"\x01\0\0\0\0"])), Some(INTERNAL));
        assert_eq!(
            code(assemble(&[b"\0\xff\xff\xff\xff"])),
            Some(RESOURCE_EXHAUSTED)
        );
        assert_eq!(code(assemble(&[b"\0\0\0\0\x09"])), Some(RESOURCE_EXHAUSTED));
    }
}
