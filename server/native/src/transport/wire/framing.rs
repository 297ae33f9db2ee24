//! gRPC's length-prefixed messages, in both directions.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use crate::transport::wire::compression::{
    announced_size, deflate, inflate, Encoding, InflateError, ACCEPTED, ACCEPT_ENCODING,
};
use crate::transport::wire::status::{
    self, DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE, UNIMPLEMENTED,
};

pub const PREFIX: usize = 5;
/// Messages up to this size need no room: they never wait for large ones.
pub const SMALL: usize = 64 << 10;
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

/// The same message compressed; None when that would not make it smaller.
pub fn compressed(frame: &[u8]) -> Option<Vec<u8>> {
    let mut shorter = deflate(&[1, 0, 0, 0, 0], frame.get(PREFIX..)?)?;
    let length = u32::try_from(shorter.len() - PREFIX).ok()?;
    shorter[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Some(shorter)
}

/// Why a body is not what it should be.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The other side went away in the middle.
    Gone,
    Status(u16, String),
    /// There is no memory for it now.
    NoRoom(String),
}

impl Fault {
    /// As a client receives it.
    pub fn trailers(self) -> HeaderMap {
        let (code, text) = match self {
            Fault::Status(code, text) => (code, text),
            Fault::NoRoom(text) => return status::overloaded(&text),
            // No client is left to read it.
            Fault::Gone => return status::failed(UNAVAILABLE, ""),
        };
        let mut trailers = status::failed(code, &text);
        if code == UNIMPLEMENTED {
            trailers.insert(ACCEPT_ENCODING.clone(), ACCEPTED);
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

/// A message for which there is no memory beside those under way.
pub fn no_room(size: usize) -> Fault {
    Fault::NoRoom(format!(
        "no room for a request of {size} bytes beside the large requests under way: retry after \
         1 s, with fewer of them at once"
    ))
}

fn fault(code: u16, text: impl Into<String>) -> Fault {
    Fault::Status(code, text.into())
}

/// Cuts messages out of the chunks a body comes in; one that lies in a single chunk is not copied.
pub struct Splitter {
    limit: usize,
    /// What to do about a message over the limit.
    advice: &'static str,
    encoding: Encoding,
    /// What has been pushed last, as long as nothing is left of earlier chunks.
    chunk: Bytes,
    rest: BytesMut,
}

impl Splitter {
    pub fn new(limit: usize, encoding: Encoding) -> Self {
        Splitter {
            limit,
            advice: "",
            encoding,
            chunk: Bytes::new(),
            rest: BytesMut::new(),
        }
    }

    /// Take in a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if self.is_between_messages() {
            self.chunk = chunk;
        } else {
            self.keep();
            self.rest.extend_from_slice(&chunk);
        }
    }

    /// The next message, if all of it is here.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Fault> {
        let seen = self.seen();
        let Some(whole) = self.whole(seen)? else {
            self.keep();
            return Ok(None);
        };
        let is_compressed = seen[0] == 1;
        let mut message = if self.rest.is_empty() {
            self.chunk.split_to(whole)
        } else {
            self.rest.split_to(whole).freeze()
        };
        message.advance(PREFIX);
        if is_compressed {
            return self.inflated(&message).map(Some);
        }
        Ok(Some(message))
    }

    /// How much room the next message needs, as far as that is known; 0 when it needs none.
    ///
    /// A large one needs it before it is here, and what it may be inflated to from the beginning:
    /// who waits for more while it holds some keeps others from either.
    pub fn need(&self) -> Result<usize, Fault> {
        let seen = self.seen();
        let whole = self.whole(seen)?;
        let Some(announced) = announced(seen) else {
            return Ok(0);
        };
        let size = match (seen[0], whole) {
            (1, _) if announced > SMALL => announced + self.limit,
            (1, Some(whole)) => announced_size(&seen[PREFIX..whole]).min(self.limit),
            (1, None) => 0,
            _ => announced,
        };
        Ok(if size > SMALL { size } else { 0 })
    }

    fn seen(&self) -> &[u8] {
        if self.rest.is_empty() {
            &self.chunk
        } else {
            &self.rest
        }
    }

    /// Keep the beginning of a message, with room for what is missing.
    fn keep(&mut self) {
        self.rest.extend_from_slice(&self.chunk);
        self.chunk.clear();
        if let Some(announced) = announced(&self.rest) {
            let missing = (PREFIX + announced).saturating_sub(self.rest.len());
            self.rest.reserve(missing.min(TRUSTED));
        }
    }

    /// How long the message at the beginning is with its prefix, if all of it is there.
    fn whole(&self, seen: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(announced) = announced(seen) else {
            return Ok(None);
        };
        match (seen[0], &self.encoding) {
            (0, _) | (1, Encoding::Gzip) => {}
            (1, Encoding::Unsupported(encoding)) => {
                let text =
                    format!("compression {encoding:?} is not supported: send gzip or identity");
                return Err(fault(UNIMPLEMENTED, text));
            }
            (1, Encoding::Identity) => {
                return Err(fault(
                    INTERNAL,
                    "a compressed message without grpc-encoding",
                ));
            }
            _ => return Err(fault(INTERNAL, "broken message framing")),
        }
        if announced > self.limit {
            return Err(self.too_large(&announced.to_string()));
        }
        Ok((seen.len() >= PREFIX + announced).then_some(PREFIX + announced))
    }

    fn inflated(&self, compressed: &[u8]) -> Result<Bytes, Fault> {
        match inflate(compressed, self.limit) {
            Ok(message) => Ok(message.into()),
            Err(InflateError::TooLarge) => Err(self.too_large("more")),
            Err(InflateError::Damaged) => Err(fault(INTERNAL, "a message that is no valid gzip")),
        }
    }

    fn too_large(&self, size: &str) -> Fault {
        let text = format!(
            "message of {size} bytes is over the limit of {}{}",
            self.limit, self.advice
        );
        fault(RESOURCE_EXHAUSTED, text)
    }

    /// Nothing of a message is here that is not complete.
    pub fn is_between_messages(&self) -> bool {
        self.rest.is_empty() && self.chunk.is_empty()
    }

    /// The body has ended: nothing may be left over.
    pub fn finish(&self) -> Result<(), Fault> {
        match (self.seen().len(), announced(self.seen())) {
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
}

impl Single {
    pub fn new(limit: usize, encoding: Encoding) -> Self {
        Single {
            splitter: Splitter::new(limit, encoding),
        }
    }

    /// One that a client sends, and may split when it is too large.
    pub fn request(limit: usize, encoding: Encoding) -> Self {
        let mut single = Single::new(limit, encoding);
        single.splitter.advice = SPLIT_IT;
        single
    }

    pub fn add(&mut self, chunk: Bytes) -> Result<(), Fault> {
        self.splitter.push(chunk);
        let seen = self.splitter.seen();
        match self.splitter.whole(seen)? {
            Some(whole) if whole < seen.len() => {
                Err(fault(INTERNAL, "more than one message in the body"))
            }
            _ => Ok(()),
        }
    }

    /// As `Splitter::need`.
    pub fn need(&self) -> Result<usize, Fault> {
        self.splitter.need()
    }

    pub fn finish(&mut self) -> Result<Bytes, Fault> {
        let found = self.splitter.next_message()?;
        self.splitter.finish()?;
        found.ok_or_else(|| fault(INTERNAL, "a body without its message"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Result<Vec<Bytes>, Fault> {
        let mut splitter = Splitter::new(8, Encoding::Identity);
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(Bytes::copy_from_slice(piece));
            while let Some(message) = splitter.next_message()? {
                found.push(message);
            }
        }
        splitter.finish().map(|()| found)
    }

    fn assemble(pieces: &[&[u8]]) -> Result<Bytes, Fault> {
        let mut single = Single::new(8, Encoding::Identity);
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

    #[test]
    fn compressed_messages_beside_others() {
        let long = vec![7; 5000];
        let frames = [
            compressed(&framed(&long).unwrap()).unwrap(),
            framed(b"plain").unwrap(),
        ];
        for width in [1, 7, 1000] {
            let mut splitter = Splitter::new(5000, Encoding::Gzip);
            let mut found = Vec::new();
            for chunk in frames.concat().chunks(width) {
                splitter.push(Bytes::copy_from_slice(chunk));
                while let Some(message) = splitter.next_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(splitter.finish(), Ok(()));
            assert_eq!(found, [&long[..], b"plain"]);
        }
    }

    #[test]
    fn large_messages_need_room_before_they_are_here() {
        let need = |encoding, seen: &[u8]| {
            let mut splitter = Splitter::new(1 << 20, encoding);
            splitter.push(Bytes::copy_from_slice(seen));
            splitter.need()
        };
        let bomb = compressed(&framed(&[0; 1 << 20]).unwrap()).unwrap();

        assert_eq!(need(Encoding::Identity, b"\0\0\x01"), Ok(0));
        assert_eq!(need(Encoding::Identity, b"\0\0\x01\0\0half"), Ok(0));
        assert_eq!(need(Encoding::Identity, b"\0\0\x01\0\x01"), Ok(SMALL + 1));
        assert_eq!(need(Encoding::Gzip, b"\x01\0\x01\0\0"), Ok(0));
        assert_eq!(
            need(Encoding::Gzip, b"\x01\0\x01\0\x01"),
            Ok(SMALL + 1 + (1 << 20))
        );
        assert_eq!(need(Encoding::Gzip, &bomb[..bomb.len() - 1]), Ok(0));
        assert_eq!(need(Encoding::Gzip, &bomb), Ok(1 << 20));
    }

    #[test]
    fn what_cannot_be_inflated_says_why() {
        let bomb = compressed(&framed(&[0; 5000]).unwrap()).unwrap();
        let refused = |encoding, frame: &[u8]| {
            let mut single = Single::new(4999, encoding);
            let added = single.add(Bytes::copy_from_slice(frame));
            code(added.and_then(|()| single.finish()))
        };

        assert_eq!(refused(Encoding::Gzip, &bomb), Some(RESOURCE_EXHAUSTED));
        let damaged = b"\x01\0\0\0\x02no";
        assert_eq!(refused(Encoding::Gzip, damaged), Some(INTERNAL));
        let other = Encoding::Unsupported("snappy".into());
        assert_eq!(refused(other, &bomb), Some(UNIMPLEMENTED));
        assert_eq!(refused(Encoding::Identity, &bomb), Some(INTERNAL));
    }

    #[test]
    fn a_client_learns_which_encodings_it_may_use() {
        let trailers = fault(UNIMPLEMENTED, "other").trailers();

        assert_eq!(trailers["grpc-accept-encoding"], "identity,gzip");
    }
}
