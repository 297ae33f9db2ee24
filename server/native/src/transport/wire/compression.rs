//! gzip: what a message was compressed with, and what an answer may be compressed with.

use std::io::{Read as _, Write as _};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::Compression;
use http::{HeaderMap, HeaderName, HeaderValue};

pub static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub static ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub const GZIP: HeaderValue = HeaderValue::from_static("gzip");
pub const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip");

/// A message below this size gains nothing by being compressed.
const WORTHWHILE: usize = 1 << 10;

/// The encoding of compressed messages, as the sender announced it.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoding {
    Identity,
    Gzip,
    Unsupported(String),
}

impl Encoding {
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(&ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Encoding::Identity,
            Some(b"gzip") => Encoding::Gzip,
            Some(other) => Encoding::Unsupported(String::from_utf8_lossy(other).into_owned()),
        }
    }
}

/// What a client and the server have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Negotiated {
    /// The client says nothing of encodings.
    Nothing,
    /// It learns which ones it may use.
    Advertised,
    /// Answers are compressed: it compresses itself, and accepts it.
    ///
    /// Most clients accept gzip without a need for it; those that have a slow network compress.
    Gzip,
}

impl Negotiated {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(&ACCEPT_ENCODING).iter().peekable();
        if accepted.peek().is_none() {
            return Negotiated::Nothing;
        }
        let accepts_gzip = accepted.any(|value| {
            let mut names = value.as_bytes().split(|byte| *byte == b',');
            names.any(|name| name.trim_ascii() == b"gzip")
        });
        if accepts_gzip && Encoding::of(headers) == Encoding::Gzip {
            Negotiated::Gzip
        } else {
            Negotiated::Advertised
        }
    }
}

/// Why a message cannot be inflated.
#[derive(Debug, PartialEq)]
pub enum InflateError {
    TooLarge,
    Damaged,
}

/// How long a message says it is; one that says less than it is counts as damaged.
pub fn announced_size(compressed: &[u8]) -> usize {
    let size = compressed.last_chunk().copied().map(u32::from_le_bytes);
    size.unwrap_or(0) as usize
}

/// Inflate a message; no more than `limit` bytes, or what it announces, and one are made of it.
pub fn inflate(compressed: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let announced = announced_size(compressed);
    let most = announced.min(limit);
    let mut decoder = GzDecoder::new(compressed);
    let mut message = Vec::new();
    decoder
        .by_ref()
        .take(most as u64 + 1)
        .read_to_end(&mut message)
        .map_err(|_| InflateError::Damaged)?;
    if message.len() > most {
        return Err(if announced > limit {
            InflateError::TooLarge
        } else {
            InflateError::Damaged
        });
    }
    if !decoder.into_inner().is_empty() {
        return Err(InflateError::Damaged);
    }
    Ok(message)
}

/// Compress a message behind the bytes given; None when that does not make it smaller.
pub fn deflate(prefix: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < WORTHWHILE {
        return None;
    }
    let mut encoder = GzEncoder::new(prefix.to_vec(), Compression::fast());
    encoder.write_all(message).ok()?;
    let compressed = encoder.finish().ok()?;
    (compressed.len() < prefix.len() + message.len()).then_some(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_inflated() {
        let message = b"amaters ".repeat(1000);

        let compressed = deflate(b"prefix", &message).unwrap();

        assert!(compressed.len() < message.len() / 10);
        let body = compressed.strip_prefix(b"prefix").unwrap();
        assert_eq!(inflate(body, message.len()), Ok(message));
    }

    #[test]
    fn small_and_random_messages_are_left_alone() {
        assert_eq!(deflate(b"", &[0; WORTHWHILE - 1]), None);
        let random: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(5000)
            .collect();
        assert_eq!(deflate(b"", &random), None);
    }

    #[test]
    fn inflating_stops_at_the_limit() {
        let bomb = deflate(b"", &vec![0; 10 << 20]).unwrap();

        assert_eq!(inflate(&bomb, (10 << 20) - 1), Err(InflateError::TooLarge));
        assert_eq!(inflate(&bomb, 0), Err(InflateError::TooLarge));
        assert!(inflate(&bomb, 10 << 20).is_ok());
    }

    #[test]
    fn damaged_messages_are_refused() {
        let whole = deflate(b"", &[7; 5000]).unwrap();
        let mut checksum = whole.clone();
        let at = checksum.len() - 5;
        checksum[at] ^= 1;

        for damaged in [
            &whole[..whole.len() - 1],
            &[&whole[..], b"more"].concat(),
            &checksum,
            b"",
            b"no gzip",
        ] {
            assert_eq!(inflate(damaged, 1 << 20), Err(InflateError::Damaged));
        }
    }

    #[test]
    fn answers_are_compressed_for_clients_that_compress_and_accept_it() {
        let negotiated = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            });
            Negotiated::of(&headers.collect())
        };
        let accepted = ("grpc-accept-encoding", "identity, deflate, gzip");
        let other = ("grpc-accept-encoding", "xgzip");

        let gzip = ("grpc-encoding", "gzip");
        assert_eq!(negotiated(&[gzip, accepted]), Negotiated::Gzip);
        assert_eq!(negotiated(&[gzip, other]), Negotiated::Advertised);
        assert_eq!(negotiated(&[gzip]), Negotiated::Nothing);
        assert_eq!(negotiated(&[accepted]), Negotiated::Advertised);
        let identity = ("grpc-encoding", "identity");
        assert_eq!(negotiated(&[identity, accepted]), Negotiated::Advertised);
    }
}
