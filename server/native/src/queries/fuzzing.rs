//! The fast reader against prost: whatever it accepts, protobuf reads the same way.

use arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message;

use super::decode::{Frame, Query, Rules};

#[derive(Clone, PartialEq, Message)]
struct Key {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(uint64, tag = "1")]
    size: u64,
    #[prost(int32, tag = "2")]
    compression: i32,
    #[prost(uint32, tag = "3")]
    checksum: u32,
    #[prost(int64, tag = "4")]
    created_at: i64,
    #[prost(uint32, optional, tag = "5")]
    version: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
}

/// Get, Set and Delete: the last two fields are absent where the kind has none.
#[derive(Clone, PartialEq, Message)]
struct Inner {
    #[prost(string, tag = "1")]
    collection: String,
    #[prost(message, optional, tag = "2")]
    key: Option<Key>,
    #[prost(message, optional, tag = "3")]
    value: Option<Blob>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyQuery {
    #[prost(message, optional, tag = "1")]
    get: Option<Inner>,
    #[prost(message, optional, tag = "2")]
    set: Option<Inner>,
    #[prost(message, optional, tag = "3")]
    delete: Option<Inner>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<AnyQuery>,
    #[prost(string, optional, tag = "2")]
    request_id: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    timeout_ms: Option<u32>,
}

fn rules() -> Rules {
    Rules {
        longest_collection: 255,
        longest_key: 300,
        highest_compression: 2,
        created_at: 1_577_836_800..=4_102_444_800,
        commands: b"__admin__:".to_vec(),
    }
}

/// Read a request that is nearly right, or any bytes, as a lone query and as a batch.
pub fn requests(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let bytes = request(&mut source).unwrap_or_else(|_| input.to_vec());
    let rules = rules();
    if let Ok((query, frame)) = rules.query_request(&bytes) {
        compare(&bytes, &[query], &frame);
    }
    if let Ok((queries, frame)) = rules.batch_request(&bytes) {
        compare(&bytes, &queries, &frame);
    }
}

fn compare(bytes: &[u8], read: &[Query<'_>], frame: &Frame<'_>) {
    let reference = Request::decode(bytes).expect("what the fast reader accepts is protobuf");
    assert_eq!(reference.request_id.as_deref(), frame.request_id);
    assert_eq!(reference.timeout_ms.unwrap_or(0), frame.timeout_ms);
    assert_eq!(reference.queries.len(), read.len());
    for (expected, query) in reference.queries.iter().zip(read) {
        let (inner, name) = match query {
            Query::Get(name) => (&expected.get, name),
            Query::Set(name, _) => (&expected.set, name),
            Query::Delete(name) => (&expected.delete, name),
        };
        let inner = inner.as_ref().expect("the kind is the same");
        assert_eq!(inner.collection.as_bytes(), name.collection);
        assert_eq!(inner.key.clone().unwrap_or_default().data, name.key);
        if let Query::Set(_, value) = query {
            let blob = inner.value.as_ref().expect("a Set has a value");
            assert_eq!(blob.encode_to_vec(), *value);
        }
    }
}

/// A request that a careful client sends, with a few bytes damaged.
fn request(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let count = source.int_in_range(1..=3)?;
    let request = Request {
        queries: (0..count).map(|_| query(source)).collect::<Result<_>>()?,
        request_id: Option::<&str>::arbitrary(source)?.map(str::to_owned),
        timeout_ms: Option::arbitrary(source)?,
    };
    let mut bytes = request.encode_to_vec();
    for _ in 0..source.int_in_range(0..=2)? {
        let at = source.choose_index(bytes.len().max(1))?;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= source.int_in_range(1..=255)?;
        }
    }
    Ok(bytes)
}

fn query(source: &mut Unstructured<'_>) -> Result<AnyQuery> {
    let mut inner = Inner {
        collection: <&str>::arbitrary(source)?.to_owned(),
        key: Some(Key {
            data: Vec::arbitrary(source)?,
        }),
        value: None,
    };
    let mut query = AnyQuery::default();
    match source.int_in_range(0..=2)? {
        0 => query.get = Some(inner),
        1 => query.delete = Some(inner),
        _ => {
            inner.value = Some(blob(source)?);
            query.set = Some(inner);
        }
    }
    Ok(query)
}

fn blob(source: &mut Unstructured<'_>) -> Result<Blob> {
    let data = Vec::<u8>::arbitrary(source)?;
    let metadata = Metadata {
        size: data.len() as u64,
        compression: source.int_in_range(0..=3)?,
        checksum: crc32fast::hash(&data),
        created_at: source.int_in_range(1_577_836_799..=4_102_444_801)?,
        version: Option::arbitrary(source)?,
    };
    Ok(Blob {
        data,
        metadata: Some(metadata),
    })
}
