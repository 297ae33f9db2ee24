//! Requests to queries; borrows from the request, allocates for batches only.

use std::ops::RangeInclusive;

use super::plain::{content, number, Message, Plain, Unusual};

/// The limits of the wire contract; a request beyond one of them is unusual.
pub struct Rules {
    pub longest_collection: usize,
    pub longest_key: usize,
    pub highest_compression: u64,
    pub created_at: RangeInclusive<i64>,
    /// Keys that begin like this are no keys of data.
    pub commands: Vec<u8>,
}

pub struct Name<'a> {
    pub collection: &'a [u8],
    pub key: &'a [u8],
}

/// One query; the value of a Set is its whole CipherBlob, as it was sent.
pub enum Query<'a> {
    Get(Name<'a>),
    Set(Name<'a>, &'a [u8]),
    Delete(Name<'a>),
}

/// What a request says beside its queries.
pub struct Frame<'a> {
    pub request_id: Option<&'a str>,
    pub timeout_ms: u32,
}

const GET: u8 = content(1);
const SET: u8 = content(2);
const DELETE: u8 = content(3);

impl Rules {
    pub fn query_request<'a>(&self, message: &'a [u8]) -> Plain<(Query<'a>, Frame<'a>)> {
        let mut request = Message(message);
        let query = self.query(request.required(content(1))?)?;
        let request_id = request_id(&mut request)?;
        let timeout_ms = timeout(&mut request)?;
        version(&mut request)?;
        request.end()?;
        let frame = Frame {
            request_id,
            timeout_ms,
        };
        Ok((query, frame))
    }

    pub fn batch_request<'a>(&self, message: &'a [u8]) -> Plain<(Vec<Query<'a>>, Frame<'a>)> {
        let mut request = Message(message);
        let mut queries = Vec::new();
        while let Some(query) = request.optional(content(1))? {
            queries.push(self.query(Message(query))?);
        }
        let request_id = request_id(&mut request)?;
        let timeout_ms = timeout(&mut request)?;
        // The isolation level asks for no more than every batch gets.
        small(request.number(number(4))?)?;
        version(&mut request)?;
        request.end()?;
        let frame = Frame {
            request_id,
            timeout_ms,
        };
        Ok((queries, frame))
    }

    fn query<'a>(&self, mut query: Message<'a>) -> Plain<Query<'a>> {
        let kind = *query.0.first().ok_or(Unusual)?;
        let mut inner = query.required(kind)?;
        query.end()?;
        let name = self.name(&mut inner)?;
        let query = match kind {
            _ if name.key.starts_with(&self.commands) => return Err(Unusual),
            GET => Query::Get(name),
            DELETE => Query::Delete(name),
            SET => {
                let blob = inner.required(content(3))?;
                let value = blob.0;
                self.check_blob(blob)?;
                Query::Set(name, value)
            }
            _ => return Err(Unusual),
        };
        inner.end()?;
        Ok(query)
    }

    fn name<'a>(&self, query: &mut Message<'a>) -> Plain<Name<'a>> {
        let collection = query.bytes(content(1))?;
        text(collection)?;
        let mut inner = query.required(content(2))?;
        let key = inner.bytes(content(1))?;
        inner.end()?;
        if collection.len() > self.longest_collection || key.len() > self.longest_key {
            return Err(Unusual);
        }
        Ok(Name { collection, key })
    }

    fn check_blob(&self, mut blob: Message<'_>) -> Plain<()> {
        let data = blob.bytes(content(1))?;
        let mut metadata = blob.required(content(2))?;
        blob.end()?;
        metadata.number(number(1))?;
        let compression = metadata.number(number(2))?;
        let checksum = small(metadata.number(number(3))?)?;
        let created_at = metadata.number(number(4))? as i64;
        small(metadata.optional_number(number(5))?.unwrap_or(0))?;
        metadata.end()?;
        let sound = compression <= self.highest_compression
            && self.created_at.contains(&created_at)
            && checksum == crc32fast::hash(data);
        if sound {
            Ok(())
        } else {
            Err(Unusual)
        }
    }
}

fn request_id<'a>(request: &mut Message<'a>) -> Plain<Option<&'a str>> {
    request.optional(content(2))?.map(text).transpose()
}

fn timeout(request: &mut Message<'_>) -> Plain<u32> {
    small(request.optional_number(number(3))?.unwrap_or(0))
}

/// Whose protocol the caller speaks; nothing depends on it.
fn version(request: &mut Message<'_>) -> Plain<()> {
    if let Some(version) = request.optional(content(5))? {
        let mut version = Message(version);
        for field in 1..=3 {
            small(version.number(number(field))?)?;
        }
        version.end()?;
    }
    Ok(())
}

fn small(number: u64) -> Plain<u32> {
    u32::try_from(number).map_err(|_| Unusual)
}

fn text(bytes: &[u8]) -> Plain<&str> {
    std::str::from_utf8(bytes).map_err(|_| Unusual)
}
