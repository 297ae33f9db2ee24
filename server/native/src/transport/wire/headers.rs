//! Request headers: what makes a request a gRPC call, and what of it Python gets to see.

use std::time::Duration;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine as _};
use http::header::{HeaderMap, HeaderName, HeaderValue, CONTENT_TYPE, TE, USER_AGENT};

#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// Major, minor and patch of a client of ours.
pub type ClientVersion = (u32, u32, u32);

/// What our client begins its user agent with.
const CLIENT: &str = "amaters-client/";

pub type Metadata = Vec<(String, Value)>;

/// gRPC sends without padding and must accept both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    value
        .as_bytes()
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

/// The time the client gives the call; `Err` when the header makes no sense.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, ()> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let (digits, unit) = value
        .as_bytes()
        .split_last()
        .map(|(unit, digits)| (digits, *unit))
        .ok_or(())?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    let amount = digits
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return Err(()),
    }))
}

/// The version that a client of ours sends; None of every other client.
pub fn client_version(headers: &HeaderMap) -> Option<ClientVersion> {
    let agent = headers.get(USER_AGENT)?.to_str().ok()?;
    let text = agent.strip_prefix(CLIENT)?.split(' ').next()?;
    // What follows the numbers, such as a pre-release, is no part of what versions are compared by.
    let numbers = text.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| match part.as_bytes() {
        [b'0'..=b'9', ..] => part.parse().ok(),
        _ => None,
    });
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

fn is_own(name: &HeaderName) -> bool {
    name == CONTENT_TYPE || name == TE || name == USER_AGENT || name.as_str().starts_with("grpc-")
}

/// The client's own headers; None when there are none.
pub fn metadata(headers: &HeaderMap) -> Option<Metadata> {
    let mut found = None;
    for (name, value) in headers {
        if is_own(name) {
            continue;
        }
        let found: &mut Metadata = found.get_or_insert_default();
        if name.as_str().ends_with("-bin") {
            // Several values may have been joined on their way.
            for part in value.as_bytes().split(|byte| *byte == b',') {
                if let Ok(bytes) = BASE64.decode(part.trim_ascii()) {
                    found.push((name.as_str().to_owned(), Value::Bytes(bytes)));
                }
            }
        } else {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            found.push((name.as_str().to_owned(), Value::Text(text)));
        }
    }
    found
}

/// Add trailing metadata; the error names what HTTP or gRPC does not allow.
pub fn append(trailers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is no metadata name"))?;
    if is_own(&header) || header.as_str() != name {
        return Err(format!(
            "metadata name {name:?} is reserved or not lower-case"
        ));
    }
    let value = match (value, name.ends_with("-bin")) {
        (Value::Bytes(bytes), true) => HeaderValue::try_from(BASE64.encode(bytes)),
        (Value::Text(text), false) => HeaderValue::try_from(text.as_str()),
        (Value::Bytes(_), false) => {
            return Err(format!(
                "metadata {name:?} has bytes: its name must end in -bin"
            ))
        }
        (Value::Text(_), true) => {
            return Err(format!(
                "metadata {name:?} ends in -bin: its value must be bytes"
            ))
        }
    };
    let value = value.map_err(|_| format!("metadata {name:?} has a value HTTP does not allow"))?;
    trailers.append(header, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn content_types() {
        let is = |value| is_grpc(&headers(&[("content-type", value)]));

        assert!(is("application/grpc"));
        assert!(is("application/grpc+proto"));
        assert!(!is("application/grpc-web"));
        assert!(!is("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn timeouts() {
        let of = |value| timeout(&headers(&[("grpc-timeout", value)]));

        assert_eq!(of("20S"), Ok(Some(Duration::from_secs(20))));
        assert_eq!(
            of("99999999H"),
            Ok(Some(Duration::from_secs(99_999_999 * 3600)))
        );
        assert_eq!(of("1500u"), Ok(Some(Duration::from_micros(1500))));
        for broken in ["", "S", "1", "1x", "-1S", "123456789S"] {
            assert_eq!(of(broken), Err(()), "{broken}");
        }
    }

    #[test]
    fn clients_of_ours_say_their_version() {
        let of = |value| client_version(&headers(&[("user-agent", value)]));

        assert_eq!(of("amaters-client/0.3.0"), Some((0, 3, 0)));
        let rest = "amaters-client/1.20.3-rc.1 grpc-python-asyncio/1.80.0 grpc-c/53.0.0";
        assert_eq!(of(rest), Some((1, 20, 3)));
        assert_eq!(of("amaters-client/1.2.3+local"), Some((1, 2, 3)));
        for other in [
            "",
            "grpc-go/1.60.0",
            "x amaters-client/1.2.3",
            "amaters-client/",
            "amaters-client/1.2",
            "amaters-client/1.2.3.4",
            "amaters-client/1.2.x",
            "amaters-client/+1.2.3",
            "amaters-client/1.+2.3",
            "amaters-client/99999999999.2.3",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(client_version(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_clients_own_headers_are_metadata() {
        let seen = headers(&[
            ("te", "trailers"),
            ("grpc-timeout", "1S"),
            ("user-agent", "x"),
        ]);
        assert!(metadata(&seen).is_none());

        let seen = headers(&[("x-key", "v"), ("x-bin", "AQI,Aw==")]);
        let found = metadata(&seen).unwrap();

        assert_eq!(found.len(), 3);
        assert!(matches!(&found[1], (_, Value::Bytes(bytes)) if bytes == &[1, 2]));
        assert!(matches!(&found[2], (_, Value::Bytes(bytes)) if bytes == &[3]));
    }

    #[test]
    fn reserved_and_mistyped_trailers_are_refused() {
        let mut trailers = HeaderMap::new();
        let text = || Value::Text("v".into());

        for name in ["grpc-status", "content-type", "Upper", "sp ace", "x-bin"] {
            assert!(append(&mut trailers, name, &text()).is_err(), "{name}");
        }
        assert!(append(&mut trailers, "x-key", &Value::Text("a\nb".into())).is_err());
        assert!(append(&mut trailers, "x-key", &text()).is_ok());
        assert!(append(&mut trailers, "x-bin", &Value::Bytes(vec![1])).is_ok());
        assert_eq!(trailers["x-bin"], "AQ");
    }
}
