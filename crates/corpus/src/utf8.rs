//! Bytes that should be UTF-8: what is no character becomes U+FFFD, and a file with much of it is not text.

use crate::documents::SourceError;
use std::path::Path;

/// A file with more wrong bytes than this, and more than one in [`ONE_IN`], is not text: it is binary, or has another
/// encoding. Fewer are damage, as a few characters of another encoding in a text that was put together.
const FEW: u64 = 8;
const ONE_IN: u64 = 1000;

/// Decodes bytes piece by piece, and counts those that are wrong.
#[derive(Debug, Default)]
pub(crate) struct Utf8Counter {
    /// The start of a character whose rest is still to come.
    cut: Vec<u8>,
    bytes: u64,
    /// Bytes that belong to no character.
    invalid: u64,
    sequences: u64,
    nuls: u64,
    first: Option<u64>,
    /// NULs at odd places: text of two bytes to the character has one at every second place.
    odd_nuls: u64,
}

impl Utf8Counter {
    /// How often U+FFFD was put in place of something.
    pub(crate) fn wrong_sequences(&self) -> u64 {
        self.sequences
    }

    /// Appends the text of the next bytes. NUL is a character like others, as long as it is rare.
    pub(crate) fn push(&mut self, bytes: &[u8], is_end: bool, text: &mut String) {
        let start = self.bytes;
        self.bytes += bytes.len() as u64;
        for at in bytes.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| start + at as u64) {
            self.nuls += 1;
            self.odd_nuls += at % 2;
            self.found(at);
        }
        let mut all = std::mem::take(&mut self.cut);
        let mut at = start - all.len() as u64;
        let bytes = if all.is_empty() {
            bytes
        } else {
            all.extend_from_slice(bytes);
            &all
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => return text.push_str(valid),
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            // The bytes were found valid.
            text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            at += valid.len() as u64;
            let wrong = match error.error_len() {
                None if !is_end => {
                    self.cut = after.to_vec();
                    return;
                }
                None => after.len(),
                Some(length) => length,
            };
            text.push('\u{FFFD}');
            self.found(at);
            self.invalid += wrong as u64;
            self.sequences += 1;
            at += wrong as u64;
            rest = &after[wrong..];
        }
    }

    /// Something wrong at this byte: NULs of a piece are counted before its other bytes, so a later call may name an
    /// earlier place.
    fn found(&mut self, at: u64) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }

    /// Fails where the bytes so far are not a text.
    pub(crate) fn check(&self, path: &Path) -> Result<(), SourceError> {
        let wrong = self.invalid + self.nuls;
        if wrong <= FEW || wrong.saturating_mul(ONE_IN) <= self.bytes {
            return Ok(());
        }
        let what = if self.nuls * 5 >= self.bytes * 2 {
            match self.odd_nuls * 2 > self.nuls {
                true => "NUL: it seems to be UTF-16; convert it with `iconv -f UTF-16LE -t UTF-8`",
                false => "NUL: it seems to be UTF-16; convert it with `iconv -f UTF-16BE -t UTF-8`",
            }
        } else if self.nuls > self.invalid {
            "NUL: it is binary"
        } else {
            "no character; where it is in an older encoding, convert it, such as with `iconv -f WINDOWS-1252 -t UTF-8`"
        };
        let (offset, bytes) = (self.first.unwrap_or_default(), self.bytes);
        Err(SourceError::Binary { path: path.to_path_buf(), offset, wrong, bytes, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], piece: usize) -> (String, Utf8Counter) {
        let (mut text, mut counter) = (String::new(), Utf8Counter::default());
        for part in bytes.chunks(piece) {
            counter.push(part, false, &mut text);
        }
        counter.push(&[], true, &mut text);
        (text, counter)
    }

    proptest! {
        #[test]
        fn pieces_decode_as_the_whole(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xac)], 0..80),
            piece in 1usize..7,
        ) {
            let (text, counter) = decode(&bytes, piece);
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
            prop_assert_eq!(counter.bytes, bytes.len() as u64);
            let first = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let valid = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
            let expected = Some(first.min(valid) as u64).filter(|at| *at < bytes.len() as u64);
            prop_assert_eq!(counter.first, expected);
        }
    }

    #[test]
    fn the_first_wrong_byte_is_named_also_before_a_nul_of_the_same_piece() {
        assert_eq!(decode(&[0x80, 0], 2).1.first, Some(0));
        assert_eq!(decode(&[0x61, 0xe2, 0, 0x80], 4).1.first, Some(1));
    }

    #[test]
    fn few_wrong_bytes_are_damage_and_many_are_another_encoding() {
        let reason = |bytes: &[u8]| decode(bytes, 100).1.check(Path::new("a")).err().map(|error| error.to_string());
        assert_eq!(reason(b"caf\xe9 and a NUL \0"), None);
        let book = "größer als ein Wald, schöner als ein Fluß. ".repeat(100);
        assert_eq!(reason(book.as_bytes()), None);
        let latin: Vec<u8> = book.chars().map(|letter| letter as u8).collect();
        let latin = reason(&latin).unwrap();
        assert!(latin.contains("the first of them byte 2, no character") && latin.contains("WINDOWS-1252"), "{latin}");
        let wide = |order: fn(u16) -> [u8; 2]| book.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        assert!(reason(&wide(u16::to_le_bytes)).unwrap().contains("UTF-16LE"));
        assert!(reason(&wide(u16::to_be_bytes)).unwrap().contains("UTF-16BE"));
        assert!(reason(&[b"ordinary".as_slice(), &[0; 3]].concat().repeat(10)).unwrap().contains("it is binary"));
    }
}
