//! Reading protobuf messages that are spelled the way every encoder spells them.
//!
//! Fields in ascending order, each at most once, no value that is the default, numbers as short as
//! they can be, nothing unknown: such bytes are what serializing the message again would give. All
//! else is `Unusual`, which is no verdict: a full protobuf decoder has to read it.

/// The bytes may mean something, but not in the usual spelling.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusual;

pub type Plain<T> = Result<T, Unusual>;

const MORE: u8 = 0x80;
const LONGEST_NUMBER: usize = 10;

/// The tag of a length-delimited field below 16.
pub const fn content(field: u8) -> u8 {
    field << 3 | 2
}

/// The tag of a varint field below 16.
pub const fn number(field: u8) -> u8 {
    field << 3
}

/// What is left of a message; fields are asked for in ascending order.
pub struct Message<'a>(pub &'a [u8]);

impl<'a> Message<'a> {
    /// The content of the field when it comes next, empty or not.
    pub fn optional(&mut self, tag: u8) -> Plain<Option<&'a [u8]>> {
        if !self.skip(tag) {
            return Ok(None);
        }
        let length = usize::try_from(self.varint()?).map_err(|_| Unusual)?;
        let (content, rest) = self.0.split_at_checked(length).ok_or(Unusual)?;
        self.0 = rest;
        Ok(Some(content))
    }

    /// The content of a submessage, which must be there.
    pub fn required(&mut self, tag: u8) -> Plain<Message<'a>> {
        self.optional(tag)?.map(Message).ok_or(Unusual)
    }

    /// The content of a bytes or string field, which is left out when it is empty.
    pub fn bytes(&mut self, tag: u8) -> Plain<&'a [u8]> {
        match self.optional(tag)? {
            None => Ok(&[]),
            Some([]) => Err(Unusual),
            Some(content) => Ok(content),
        }
    }

    /// A number for which 0 and absent differ.
    pub fn optional_number(&mut self, tag: u8) -> Plain<Option<u64>> {
        if self.skip(tag) {
            self.varint().map(Some)
        } else {
            Ok(None)
        }
    }

    /// A number that is left out when it is 0.
    pub fn number(&mut self, tag: u8) -> Plain<u64> {
        match self.optional_number(tag)? {
            None => Ok(0),
            Some(0) => Err(Unusual),
            Some(number) => Ok(number),
        }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Plain<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Unusual)
        }
    }

    fn skip(&mut self, tag: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == tag => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn varint(&mut self) -> Plain<u64> {
        let mut value = 0_u64;
        for (at, byte) in self.0.iter().take(LONGEST_NUMBER).enumerate() {
            // The tenth byte has room for one bit; a last byte of 0 says nothing.
            if at + 1 == LONGEST_NUMBER && *byte > 1 || at > 0 && *byte == 0 {
                return Err(Unusual);
            }
            value |= u64::from(byte & !MORE) << (7 * at);
            if byte & MORE == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Unusual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_in(bytes: &[u8]) -> Plain<u64> {
        let mut message = Message(bytes);
        let read = message.varint()?;
        message.end().map(|()| read)
    }

    #[test]
    fn numbers_as_short_as_they_can_be() {
        assert_eq!(number_in(&[0]), Ok(0));
        assert_eq!(number_in(&[0xac, 0x02]), Ok(300));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(number_in(&most), Ok(u64::MAX));
    }

    #[test]
    fn other_numbers_are_unusual() {
        for bytes in [&[][..], &[0x80], &[0x80, 0x00], &[0xff; 10], &[0x80; 11]] {
            assert_eq!(number_in(bytes), Err(Unusual), "{bytes:x?}");
        }
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(number_in(&beyond), Err(Unusual));
    }

    #[test]
    fn what_is_cut_off_or_spelled_out_needlessly_is_unusual() {
        assert_eq!(Message(&[0x0a, 2, b'x']).optional(content(1)), Err(Unusual));
        assert_eq!(Message(&[0x0a, 0]).bytes(content(1)), Err(Unusual));
        assert_eq!(Message(&[0x08, 0]).number(number(1)), Err(Unusual));
        assert_eq!(Message(&[0x0a, 0]).end(), Err(Unusual));
    }
}
