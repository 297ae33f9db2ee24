//! gRPC status as HTTP/2 trailers.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const DEADLINE_EXCEEDED: u16 = 4;
pub const RESOURCE_EXHAUSTED: u16 = 8;
pub const UNIMPLEMENTED: u16 = 12;
pub const INTERNAL: u16 = 13;
pub const UNAVAILABLE: u16 = 14;

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Percent-encode what HTTP header values or gRPC do not allow.
fn encoded(message: &str) -> HeaderValue {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            text.push(byte as char);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS.clone(), HeaderValue::from_static("0"));
    trailers
}

pub fn failed(code: u16, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS.clone(), HeaderValue::from(code));
    if !message.is_empty() {
        trailers.insert(MESSAGE.clone(), encoded(message));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_text() {
        assert_eq!(encoded("100% über\n"), "100%25 %C3%BCber%0A");
        assert_eq!(encoded("plain text"), "plain text");
    }

    #[test]
    fn an_empty_message_is_left_out() {
        assert_eq!(failed(5, "").len(), 1);
        assert_eq!(ok()["grpc-status"], "0");
    }
}
