//! Framing and headers against any bytes.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::transport::wire::compression::{Encoding, Negotiated};
use crate::transport::wire::framing::{Fault, Single, Splitter};
use crate::transport::wire::headers;

const LIMIT: usize = 64;

/// Chunks of a body: what is found does not depend on where it is cut.
pub fn frames(input: &[u8]) {
    let Some((cuts, body)) = input.split_first() else {
        return;
    };
    let compressed = cuts & 1 == 1;
    let width = usize::from(cuts >> 1) % 13 + 1;
    let whole = split(std::iter::once(body), compressed);
    assert_eq!(split(body.chunks(width), compressed), whole);
    assert_eq!(split(body.chunks(1), compressed), whole);
    let one = single(body.chunks(width), compressed);
    if let (Ok(messages), Ok(message)) = (&whole, &one) {
        assert_eq!(messages, std::slice::from_ref(message));
    }
    assert_eq!(
        one.is_ok(),
        whole.is_ok_and(|messages| messages.len() == 1),
        "a lone message is one of a stream with one"
    );
}

fn encoding(compressed: bool) -> Encoding {
    if compressed {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

fn split<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    compressed: bool,
) -> Result<Vec<Bytes>, Fault> {
    let mut splitter = Splitter::new(LIMIT, encoding(compressed));
    let mut found = Vec::new();
    for chunk in chunks {
        splitter.push(Bytes::copy_from_slice(chunk));
        while let Some(message) = splitter.next_message()? {
            found.push(message);
        }
    }
    splitter.finish()?;
    assert!(found.iter().all(|message| message.len() <= LIMIT));
    Ok(found)
}

fn single<'a>(chunks: impl Iterator<Item = &'a [u8]>, compressed: bool) -> Result<Bytes, Fault> {
    let mut single = Single::new(LIMIT, encoding(compressed));
    for chunk in chunks {
        single.add(Bytes::copy_from_slice(chunk))?;
    }
    single.finish()
}

const NAMES: [&str; 7] = [
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
    "content-type",
    "trace-bin",
    "x-any",
    "te",
];

/// Header values of any bytes that HTTP lets through.
pub fn headers(input: &[u8]) {
    let mut map = HeaderMap::new();
    for line in input.split(|byte| *byte == 0) {
        let Some((name, value)) = line.split_first() else {
            continue;
        };
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            map.append(HeaderName::from_static(name), value);
        }
    }
    let _ = headers::is_grpc(&map);
    let _ = Negotiated::of(&map);
    if let Ok(Some(timeout)) = headers::timeout(&map) {
        assert!(timeout.as_secs() <= 99_999_999 * 3600);
    }
    for (name, value) in headers::metadata(&map).unwrap_or_default() {
        assert_eq!(
            matches!(value, headers::Value::Bytes(_)),
            name.ends_with("-bin")
        );
        let mut trailers = HeaderMap::new();
        if matches!(value, headers::Value::Bytes(_)) {
            assert_eq!(headers::append(&mut trailers, &name, &value), Ok(()));
        }
    }
}
