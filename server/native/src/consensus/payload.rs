//! Checks that every member can apply an entry; the format is wire/command.proto.
//!
//! Python decodes an entry when it is committed, and an entry that does not decode stops every
//! member for good. So an entry from the network is walked once before it enters the log. Nothing
//! is copied, and unknown fields pass. Python's protobuf must accept everything that passes here,
//! so this is stricter than both where they differ: no groups (their depth is limited differently),
//! and no keys or lengths of more bytes than they need.

use prost::encoding::{decode_key, decode_varint, WireType};
use pyo3::prelude::*;
use raft::eraftpb::{Entry, EntryType};

use super::convert::CEILING;
use super::envelope::decode_conf_change;

/// What a field holds.
enum Kind {
    /// Any number.
    Number,
    /// Any bytes.
    Bytes,
    /// UTF-8.
    Text,
    /// Numbers, packed or one by one.
    Numbers,
    /// Another message.
    Message(&'static Shape),
}

/// The fields of a message that this version knows, by number.
type Shape = [(u32, Kind)];

use Kind::{Bytes, Message, Number, Numbers, Text};

const PAIR: &Shape = &[(1, Bytes), (2, Bytes)];
const SCAN: &Shape = &[(1, Bytes), (2, Bytes), (3, Number)];
const UPDATE: &Shape = &[
    (1, Bytes),
    (2, Bytes),
    (3, Bytes),
    (4, Bytes),
    (5, Number),
    (6, Number),
    (7, Number),
];
const FILTER: &Shape = &[
    (1, Bytes),
    (2, Bytes),
    (3, Bytes),
    (4, Number),
    (5, Number),
    (6, Number),
];
const OPERATION: &Shape = &[
    (1, Message(PAIR)),
    (2, Message(PAIR)),
    (3, Message(PAIR)),
    (4, Message(SCAN)),
    (5, Message(UPDATE)),
    (6, Message(FILTER)),
];
const RESTORE: &Shape = &[(1, Number), (2, Number), (3, Message(PAIR)), (4, Number)];
const COMMAND: &Shape = &[
    (1, Message(OPERATION)),
    (2, Bytes),
    (3, Number),
    (4, Message(RESTORE)),
    (5, Bytes),
    (6, Bytes),
    (7, Numbers),
];
const ENTRY: &Shape = &[
    (ORIGIN, Number),
    (INCARNATION, Number),
    (3, Number),
    (4, Number),
    (COMMANDS, Message(COMMAND)),
    (KEYS, Bytes),
    (VALUES, Bytes),
    (POSITIONS, Numbers),
    (SESSIONS, Bytes),
    (SEQUENCES, Numbers),
    (REVISION, Number),
];
const MEMBER: &Shape = &[
    (ID, Number),
    (2, Text),
    (3, Text),
    (4, Text),
    (5, Text),
    (6, Number),
    (7, Number),
    (8, Number),
];
const ORIGIN: u32 = 1;
const INCARNATION: u32 = 2;
const COMMANDS: u32 = 5;
const KEYS: u32 = 6;
const VALUES: u32 = 7;
const POSITIONS: u32 = 8;
const SESSIONS: u32 = 9;
const SEQUENCES: u32 = 10;
const REVISION: u32 = 11;
const ID: u32 = 1;

/// The newest form of entries that this version applies.
const NEWEST_REVISION: u64 = 1;

/// Bytes that a field number or a length can take; Python's protobuf reads no more.
const LONGEST_KEY: usize = 5;

/// The member and incarnation that an entry names as its proposer.
#[derive(Debug, Default, PartialEq)]
pub struct Origin {
    pub member: u64,
    pub incarnation: u64,
}

/// Check that members can apply the entry; the error says why not.
pub fn check(entry: &Entry) -> Result<(), String> {
    origin(entry).map(|_| ())
}

/// The same, and return its proposer; None for entries without commands.
pub fn origin(entry: &Entry) -> Result<Option<Origin>, String> {
    let checked = match EntryType::from_i32(entry.entry_type) {
        // Leaders begin their term with an entry that holds nothing.
        Some(EntryType::EntryNormal) if entry.data.is_empty() => Ok(None),
        Some(EntryType::EntryNormal) => check_commands(&entry.data).map(Some),
        Some(EntryType::EntryConfChangeV2) => check_change(entry).map(|()| None),
        _ => Err(format!("it is of the unknown type {}", entry.entry_type)),
    };
    checked.map_err(|why| {
        format!(
            "an entry of {} bytes that no member could apply: {why}",
            entry.data.len()
        )
    })
}

/// The same for an entry that Python read from a disk.
#[pyfunction]
pub fn entry_fault(kind: i32, data: Vec<u8>, context: Vec<u8>) -> Option<String> {
    let entry = Entry {
        entry_type: kind,
        data,
        context,
        ..Default::default()
    };
    check(&entry).err()
}

fn check_change(entry: &Entry) -> Result<(), String> {
    let change =
        decode_conf_change(&entry.data).map_err(|_| "it is no membership change".to_owned())?;
    let absurd = |id: u64| id == 0 || id > CEILING;
    if let Some(single) = change.changes.iter().find(|single| absurd(single.node_id)) {
        return Err(format!("member id {} is out of range", single.node_id));
    }
    walk(&entry.context, MEMBER, &mut |field, value| {
        if field == ID && value > CEILING {
            return Err(format!("member id {value} is out of range"));
        }
        Ok(())
    })
}

/// The columns of lone puts, as `machine/codec.py` demands them.
fn check_commands(data: &[u8]) -> Result<Origin, String> {
    let mut origin = Origin::default();
    let mut counts = [0_u64; REVISION as usize + 1];
    let mut revision = 0;
    let mut highest = None;
    let mut ascending = true;
    walk(data, ENTRY, &mut |field, value| {
        counts[field as usize] += 1;
        match field {
            ORIGIN => origin.member = value,
            INCARNATION => origin.incarnation = value,
            REVISION => revision = value,
            POSITIONS => {
                ascending &= highest.is_none_or(|before| before < value);
                highest = Some(value);
            }
            _ => {}
        }
        Ok(())
    })?;
    let count = |field: u32| counts[field as usize];
    if revision > NEWEST_REVISION {
        return Err(format!("it is of revision {revision}, of a later version"));
    }
    let (mut keys, commands) = (count(KEYS), count(COMMANDS));
    if revision > 0 {
        // One key without a value: members that know no revisions refuse the entry for it.
        if keys != 1 || count(VALUES) + count(POSITIONS) + count(SESSIONS) > 0 || commands != 1 {
            return Err("an entry with a revision holds one command only".into());
        }
        keys = 0;
    }
    let sessions = count(SESSIONS);
    if keys != count(VALUES) || sessions != count(SEQUENCES) || ![0, keys].contains(&sessions) {
        return Err("its columns differ in length".into());
    }
    let placed = count(POSITIONS) == commands
        && ascending
        && highest.is_none_or(|place| place < keys + commands);
    if keys > 0 && commands > 0 && !placed {
        return Err("its commands have no places".into());
    }
    Ok(origin)
}

/// Call `see` for every number and every other value (with 0) of the outermost message.
fn walk(
    mut rest: &[u8],
    shape: &'static Shape,
    see: &mut dyn FnMut(u32, u64) -> Result<(), String>,
) -> Result<(), String> {
    while !rest.is_empty() {
        let (field, wire) = key(&mut rest)?;
        let Some((_, kind)) = shape.iter().find(|(known, _)| *known == field) else {
            skip(wire, &mut rest)?;
            continue;
        };
        match (kind, wire) {
            (Number | Numbers, WireType::Varint) => see(field, number(&mut rest)?)?,
            (Numbers, WireType::LengthDelimited) => {
                let mut packed = content(&mut rest)?;
                while !packed.is_empty() {
                    see(field, number(&mut packed)?)?;
                }
            }
            (Bytes, WireType::LengthDelimited) => {
                content(&mut rest)?;
                see(field, 0)?;
            }
            (Text, WireType::LengthDelimited) => {
                std::str::from_utf8(content(&mut rest)?).map_err(|error| error.to_string())?;
            }
            (Message(inner), WireType::LengthDelimited) => {
                walk(content(&mut rest)?, inner, &mut |_, _| Ok(()))?;
                see(field, 0)?;
            }
            _ => return Err(format!("field {field} is not of its type")),
        }
    }
    Ok(())
}

/// Read which field begins here.
fn key(rest: &mut &[u8]) -> Result<(u32, WireType), String> {
    let before = rest.len();
    let key = decode_key(rest).map_err(|error| error.to_string())?;
    if before - rest.len() > LONGEST_KEY {
        return Err("a field number is written in too many bytes".into());
    }
    Ok(key)
}

fn number(rest: &mut &[u8]) -> Result<u64, String> {
    decode_varint(rest).map_err(|error| error.to_string())
}

/// Cut out what a length announces.
fn content<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let before = rest.len();
    let length = number(rest)?;
    if before - rest.len() > LONGEST_KEY {
        return Err("a length is written in too many bytes".into());
    }
    cut(rest, usize::try_from(length).unwrap_or(usize::MAX))
}

fn cut<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (content, after) = rest
        .split_at_checked(length)
        .ok_or_else(|| "a field is cut off".to_owned())?;
    *rest = after;
    Ok(content)
}

/// Pass over a field of a later version.
fn skip(wire: WireType, rest: &mut &[u8]) -> Result<(), String> {
    match wire {
        WireType::Varint => number(rest).map(|_| ()),
        WireType::SixtyFourBit => cut(rest, 8).map(|_| ()),
        WireType::ThirtyTwoBit => cut(rest, 4).map(|_| ()),
        WireType::LengthDelimited => content(rest).map(|_| ()),
        WireType::StartGroup | WireType::EndGroup => Err("a group, which no version writes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(data: &[u8]) -> Entry {
        Entry {
            data: data.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn columns_of_equal_length_pass() {
        let put = b"\x08\x01\x32\x02ab\x3a\x01v\x28\x01";
        // Field 5 (a command) must not be a number.
        assert!(check(&normal(put)).is_err());
        assert_eq!(check(&normal(b"\x08\x01\x32\x02ab\x3a\x01v")), Ok(()));
        assert_eq!(check(&normal(b"")), Ok(()));
        // A field that a later version adds.
        assert_eq!(check(&normal(b"\x08\x01\xa2\x06\x01x")), Ok(()));
    }

    #[test]
    fn an_entry_of_a_known_revision_has_one_key_without_a_value() {
        let commands = b"\x2a\x00";
        let entry = |tail: &[u8]| normal(&[&commands[..], tail].concat());
        assert_eq!(check(&entry(b"\x32\x00\x58\x01")), Ok(()));
        // Without a revision, which is how members read it that know none.
        assert!(check(&entry(b"\x32\x00")).is_err());
        assert!(check(&entry(b"\x58\x01")).is_err());
        assert!(check(&entry(b"\x32\x00\x58\x02")).is_err());
        assert!(check(&entry(b"\x32\x00\x3a\x00\x58\x01")).is_err());
        assert!(check(&normal(b"\x32\x00\x58\x01")).is_err());
    }

    #[test]
    fn an_entry_names_its_origin() {
        let named = origin(&normal(b"\x08\x07\x10\x80\x01\x18\x01"));
        let expected = Origin {
            member: 7,
            incarnation: 128,
        };
        assert_eq!(named, Ok(Some(expected)));
        assert_eq!(origin(&normal(b"")), Ok(None));
        assert_eq!(origin(&normal(b"\x18\x01")), Ok(Some(Origin::default())));
    }

    #[test]
    fn what_python_would_refuse_is_refused() {
        let broken: [&[u8]; 6] = [
            b"\xff\xff\xff\xff\xff\xff\xff",
            b"\x32\x02a",
            b"\x32\x02ab",
            b"\x32\x01a\x3a\x01v\x4a\x00",
            b"\x32\x01a\x3a\x01v\x2a\x00",
            b"\x32\x01a\x3a\x01v\x2a\x00\x42\x01\x02",
        ];
        for data in broken {
            assert!(check(&normal(data)).is_err(), "{data:x?}");
        }
    }

    #[test]
    fn what_only_one_of_two_readers_accepts_is_refused() {
        let group = b"\xa3\x01\xa4\x01";
        let key_of_six_bytes = b"\x88\x80\x80\x80\x80\x00\x01";
        let length_of_six_bytes = b"\x32\x81\x80\x80\x80\x80\x00a\x3a\x01v";
        for data in [&group[..], key_of_six_bytes, length_of_six_bytes] {
            assert!(check(&normal(data)).is_err(), "{data:x?}");
        }
        for later in [&b"\xa1\x06abcdefgh"[..], b"\xa5\x06abcd", b"\xa0\x06\x01"] {
            assert_eq!(check(&normal(later)), Ok(()));
            assert!(check(&normal(&later[..later.len() - 1])).is_err());
        }
    }

    #[test]
    fn commands_among_puts_need_places() {
        let placed = b"\x32\x01a\x3a\x01v\x2a\x00\x42\x01\x01";
        assert_eq!(check(&normal(placed)), Ok(()));
    }

    #[test]
    fn a_membership_change_carries_a_readable_record() {
        let change = |context: &[u8]| Entry {
            entry_type: EntryType::EntryConfChangeV2 as i32,
            context: context.to_vec(),
            ..Default::default()
        };
        assert_eq!(check(&change(b"\x08\x04\x12\x01x")), Ok(()));
        assert!(check(&change(b"\x08\x04\x12\x01\xff")).is_err());
        let absurd = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert!(check(&change(absurd)).is_err());
    }
}
