//! gRPC status as HTTP/2 trailers.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{percent_decode, utf8_percent_encode, AsciiSet, CONTROLS};

pub const CANCELLED: u16 = 1;
pub const UNKNOWN: u16 = 2;
pub const DEADLINE_EXCEEDED: u16 = 4;
pub const RESOURCE_EXHAUSTED: u16 = 8;
pub const UNIMPLEMENTED: u16 = 12;
pub const INTERNAL: u16 = 13;
pub const UNAVAILABLE: u16 = 14;

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The stable code of an error.
static CODE: HeaderName = HeaderName::from_static("amaters-code");

/// What a grpc-message escapes beside everything that is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

fn encoded(message: &str) -> HeaderValue {
    let text = utf8_percent_encode(message, ESCAPED).to_string();
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
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

pub fn too_many_calls() -> HeaderMap {
    overloaded("too many calls are waiting: retry after a pause")
}

/// A refusal after which the same call may be made again, unlike that of a message too large.
pub fn overloaded(message: &str) -> HeaderMap {
    let mut trailers = failed(RESOURCE_EXHAUSTED, message);
    trailers.insert(CODE.clone(), HeaderValue::from_static("overloaded"));
    trailers
}

/// What the other side's trailers say: the error is a code that is not OK, and its text.
pub fn read(trailers: &HeaderMap) -> Result<(), (u16, String)> {
    let code = trailers
        .get(&STATUS)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match code {
        Some(0) => Ok(()),
        Some(code @ 1..=16) => Err((
            code,
            trailers.get(&MESSAGE).map(decoded).unwrap_or_default(),
        )),
        _ => Err((UNKNOWN, "an answer without a readable status".into())),
    }
}

/// What is not encoded properly is left as it is.
fn decoded(value: &HeaderValue) -> String {
    percent_decode(value.as_bytes())
        .decode_utf8_lossy()
        .into_owned()
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
    fn what_was_sent_is_read() {
        assert_eq!(read(&ok()), Ok(()));
        let text = "100% über\n";
        assert_eq!(read(&failed(5, text)), Err((5, text.into())));
        assert_eq!(decoded(&HeaderValue::from_static("5% %zz %4")), "5% %zz %4");
    }

    #[test]
    fn a_status_that_makes_no_sense_is_unknown() {
        for value in ["", "17", "-1", "x"] {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(value));
            assert_eq!(read(&trailers).unwrap_err().0, UNKNOWN);
        }
        assert_eq!(read(&HeaderMap::new()).unwrap_err().0, UNKNOWN);
    }

    #[test]
    fn an_empty_message_is_left_out() {
        assert_eq!(failed(5, "").len(), 1);
        assert_eq!(ok()["grpc-status"], "0");
    }
}
