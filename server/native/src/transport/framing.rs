//! gRPC's length-prefixed messages, in both directions.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use hyper::body::Incoming;

use super::status::{
    self, DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE, UNIMPLEMENTED,
};

pub const PREFIX: usize = 5;
/// A message may announce any length: no more than this is set aside before it comes.
const TRUSTED: usize = 1 << 20;
const SPLIT_IT: &str =
    ": split a batch into smaller ones, or raise network.max_message_bytes on the servers";

/// Put the prefix before a message.
pub fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Some(frame)
}

/// Why a body is not what it should be.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The other side went away in the middle.
    Gone,
    Status(u16, String),
}

impl Fault {
    /// What tells a client of it.
    pub fn trailers(self) -> HeaderMap {
        let Fault::Status(code, text) = self else {
            // Nobody is left to read it.
            return status::failed(UNAVAILABLE, "");
        };
        let mut trailers = status::failed(code, &text);
        if code == UNIMPLEMENTED {
            let identity = HeaderValue::from_static("identity");
            trailers.insert("grpc-accept-encoding", identity);
        }
        trailers
    }
}

/// A message that began to arrive and did not go on.
pub fn unfinished(limit: Duration) -> Fault {
    let text = format!(
        "the request did not arrive completely within {} ms: send it faster, or raise \
         timeouts.request_timeout_ms on the servers",
        limit.as_millis()
    );
    fault(DEADLINE_EXCEEDED, text)
}

fn fault(code: u16, text: impl Into<String>) -> Fault {
    Fault::Status(code, text.into())
}

/// Cuts messages out of the chunks a body comes in; one that lies in a single chunk is not copied.
pub struct Splitter {
    limit: usize,
    /// What to do about a message over the limit.
    advice: &'static str,
    encoding: Option<String>,
    rest: BytesMut,
}

impl Splitter {
    pub fn new(limit: usize, encoding: Option<String>) -> Self {
        Splitter {
            limit,
            advice: "",
            encoding,
            rest: BytesMut::new(),
        }
    }

    /// Take in a chunk; whole messages are added to `found`.
    pub fn add(&mut self, mut chunk: Bytes, found: &mut Vec<Bytes>) -> Result<(), Fault> {
        if self.rest.is_empty() {
            while let Some(whole) = self.whole(&chunk)? {
                found.push(chunk.split_to(whole).slice(PREFIX..));
            }
        }
        self.rest.extend_from_slice(&chunk);
        while let Some(whole) = self.whole(&self.rest)? {
            let mut message = self.rest.split_to(whole).freeze();
            message.advance(PREFIX);
            found.push(message);
        }
        if let Some(announced) = announced(&self.rest) {
            let missing = (PREFIX + announced).saturating_sub(self.rest.len());
            self.rest.reserve(missing.min(TRUSTED));
        }
        Ok(())
    }

    /// How long the message at the beginning is with its prefix, if all of it is there.
    fn whole(&self, seen: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(announced) = announced(seen) else {
            return Ok(None);
        };
        match (seen[0], &self.encoding) {
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
                "message of {announced} bytes is over the limit of {}{}",
                self.limit, self.advice
            );
            return Err(fault(RESOURCE_EXHAUSTED, text));
        }
        Ok((seen.len() >= PREFIX + announced).then_some(PREFIX + announced))
    }

    /// Nothing of a message is here that is not complete.
    pub fn is_between_messages(&self) -> bool {
        self.rest.is_empty()
    }

    /// The body has ended: nothing may be left over.
    pub fn finish(&self) -> Result<(), Fault> {
        match (self.rest.len(), announced(&self.rest)) {
            (0, _) => Ok(()),
            (_, Some(_)) => Err(fault(INTERNAL, "the body ends inside a message")),
            (_, None) => Err(fault(INTERNAL, "the body ends inside a message prefix")),
        }
    }
}

/// The announced length, once the prefix is there.
fn announced(seen: &[u8]) -> Option<usize> {
    let prefix: [u8; 4] = seen.get(1..PREFIX)?.try_into().ok()?;
    Some(u32::from_be_bytes(prefix) as usize)
}

/// Expects exactly one message.
pub struct Single {
    splitter: Splitter,
    found: Vec<Bytes>,
}

impl Single {
    pub fn new(limit: usize, encoding: Option<String>) -> Self {
        Single {
            splitter: Splitter::new(limit, encoding),
            found: Vec::new(),
        }
    }

    pub fn add(&mut self, chunk: Bytes) -> Result<(), Fault> {
        self.splitter.add(chunk, &mut self.found)?;
        match (self.found.len(), self.splitter.rest.is_empty()) {
            (0, _) | (1, true) => Ok(()),
            _ => Err(fault(INTERNAL, "more than one message in the body")),
        }
    }

    pub fn finish(mut self) -> Result<Bytes, Fault> {
        self.splitter.finish()?;
        self.found
            .pop()
            .ok_or_else(|| fault(INTERNAL, "a body without its message"))
    }
}

/// Read the body to its end and return its one message.
pub async fn read_message(
    body: &mut Incoming,
    limit: usize,
    encoding: Option<String>,
) -> Result<Bytes, Fault> {
    let mut single = Single::new(limit, encoding);
    single.splitter.advice = SPLIT_IT;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Fault::Gone)?;
        if let Ok(chunk) = frame.into_data() {
            single.add(chunk)?;
        }
    }
    single.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Result<Vec<Bytes>, Fault> {
        let mut splitter = Splitter::new(8, None);
        let mut found = Vec::new();
        for piece in pieces {
            splitter.add(Bytes::copy_from_slice(piece), &mut found)?;
        }
        splitter.finish().map(|()| found)
    }

    fn assemble(pieces: &[&[u8]]) -> Result<Bytes, Fault> {
        let mut single = Single::new(8, None);
        for piece in pieces {
            single.add(Bytes::copy_from_slice(piece))?;
        }
        single.finish()
    }

    fn code<T>(result: Result<T, Fault>) -> Option<u16> {
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
        assert_eq!(code(assemble(&[&frame, b"\0"])), Some(INTERNAL));
        assert_eq!(code(assemble(&[b"\x02\0\0\0\0"])), Some(INTERNAL));
        assert_eq!(code(assemble(&[b"\x01\0\0\0\0"])), Some(INTERNAL));
        assert_eq!(
            code(assemble(&[b"\0\xff\xff\xff\xff"])),
            Some(RESOURCE_EXHAUSTED)
        );
        assert_eq!(code(assemble(&[b"\0\0\0\0\x09"])), Some(RESOURCE_EXHAUSTED));
    }

    #[test]
    fn many_messages_in_any_pieces() {
        let bytes: Vec<u8> = [&b"one"[..], b"", b"three"]
            .iter()
            .flat_map(|message| framed(message).unwrap())
            .collect();
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(split(&pieces).unwrap(), ["one", "", "three"]);
            }
        }
    }

    #[test]
    fn a_stream_must_end_between_messages() {
        let frame = framed(b"hello").unwrap();
        assert_eq!(split(&[]), Ok(Vec::new()));
        assert_eq!(code(split(&[&frame, b"\0"])), Some(INTERNAL));
        assert_eq!(code(split(&[&frame[..7]])), Some(INTERNAL));
        assert_eq!(
            code(split(&[&frame, b"\0\0\0\0\x09"])),
            Some(RESOURCE_EXHAUSTED)
        );
    }
}
