//! The file: named objects, each with its hash, in the order of their names, compressed as one piece.
//!
//! | bytes | what |
//! | --- | --- |
//! | 15 | `templar record` and a line end |
//! | 1 | version, 1 |
//! | 32 | BLAKE3 of the content, the record's name |
//! | 8 | length of the content, little-endian |
//! | rest | the content as one Zstandard frame |
//!
//! The content is, for each object: 2 bytes with the length of its name (little-endian), the name, 32 bytes with BLAKE3 of
//! the object, 8 bytes with its length, the object. Names are printable ASCII and strictly ascending, so that a content has
//! one form. Compression is no part of the form: another program or level gives other bytes for the same content.

use super::PackedError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use templar_base::ContentHash;

const MAGIC: &[u8; 15] = b"templar record\n";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = MAGIC.len() + 1 + 32 + 8;
/// The most bytes of a content: it is held in memory while it is written and read.
pub(super) const MAX_CONTENT_BYTES: u64 = 1 << 30;
/// An object's key in a bucket has at most 512 bytes; its owner and the folder come before it.
const MAX_NAME_BYTES: usize = 640;
/// The window of 16 MiB spans several metagraphs of a full subnet, most of which is the same from window to window.
const LEVEL: i32 = 9;
const WINDOW_LOG: u32 = 24;
/// Memory that is taken before anything was decompressed.
const FIRST_BYTES: u64 = 1 << 20;

/// Named objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entries(pub(super) BTreeMap<String, Bytes>);

fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_graphic();
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.iter().all(is_letter)
}

impl Entries {
    /// The content, in its one form.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for (name, object) in &self.0 {
            // Names are made of keys, numbers and object keys, all of which are checked to be shorter.
            content.extend_from_slice(&(name.len() as u16).to_le_bytes());
            content.extend_from_slice(name.as_bytes());
            content.extend_from_slice(ContentHash::of(object).as_bytes());
            content.extend_from_slice(&(object.len() as u64).to_le_bytes());
            content.extend_from_slice(object);
        }
        content
    }

    /// Writes a content as a file; returns its hash.
    pub(super) fn write(content: &[u8], out: &mut dyn Write) -> io::Result<ContentHash> {
        let root = ContentHash::of(content);
        out.write_all(MAGIC)?;
        out.write_all(&[VERSION])?;
        out.write_all(root.as_bytes())?;
        out.write_all(&(content.len() as u64).to_le_bytes())?;
        let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.window_log(WINDOW_LOG)?;
        encoder.write_all(content)?;
        encoder.finish()?;
        Ok(root)
    }

    /// Reads a file to its end; the content's hash with it. Memory is taken as content comes, up to the limit.
    pub(super) fn read(mut file: impl BufRead) -> Result<(Self, ContentHash), PackedError> {
        let mut head = [0; HEAD_BYTES];
        let mut filled = 0;
        while filled < HEAD_BYTES {
            match file.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(PackedError::Compressed { at: 0, source }),
            }
        }
        if !head[..filled].starts_with(&MAGIC[..filled.min(MAGIC.len())]) || filled == 0 {
            return Err(PackedError::NotARecord);
        }
        if filled > MAGIC.len() && head[MAGIC.len()] != VERSION {
            return Err(PackedError::Version { found: head[MAGIC.len()], known: VERSION });
        }
        if filled < HEAD_BYTES {
            return Err(PackedError::Short { bytes: filled });
        }
        let (mut root, mut length) = ([0; 32], [0; 8]);
        root.copy_from_slice(&head[MAGIC.len() + 1..HEAD_BYTES - 8]);
        length.copy_from_slice(&head[HEAD_BYTES - 8..]);
        let (wanted, length) = (ContentHash::new(root), u64::from_le_bytes(length));
        if length > MAX_CONTENT_BYTES {
            return Err(PackedError::TooLarge { bytes: length, limit: MAX_CONTENT_BYTES });
        }
        let content = decompressed(file, length)?;
        let entries = Self::parse(content.clone())?;
        let actual = ContentHash::of(&content);
        if actual != wanted {
            return Err(PackedError::Root { wanted, actual });
        }
        Ok((entries, wanted))
    }

    fn parse(content: Bytes) -> Result<Self, PackedError> {
        let mut entries = BTreeMap::new();
        let mut rest = content.clone();
        while !rest.is_empty() {
            let at = (content.len() - rest.len()) as u64;
            let damaged = |what| PackedError::Frame { at, what };
            let length = u16::from_le_bytes(array(&mut rest).ok_or_else(|| damaged("it ends within an object"))?);
            let name = piece(&mut rest, u64::from(length)).ok_or_else(|| damaged("it ends within a name"))?;
            let name = std::str::from_utf8(&name).ok().filter(|name| is_name(name.as_bytes()));
            let name = name.ok_or_else(|| damaged("a name has letters that no name has"))?.to_owned();
            let hash = ContentHash::new(array(&mut rest).ok_or_else(|| damaged("it ends within an object"))?);
            let length = u64::from_le_bytes(array(&mut rest).ok_or_else(|| damaged("it ends within an object"))?);
            let object = piece(&mut rest, length).ok_or_else(|| damaged("it ends within an object"))?;
            if ContentHash::of(&object) != hash {
                return Err(PackedError::Hash { name, at });
            }
            if entries.last_key_value().is_some_and(|(last, _): (&String, _)| *last >= name) {
                return Err(damaged("the names are not in order"));
            }
            entries.insert(name, object);
        }
        Ok(Self(entries))
    }
}

fn decompressed(file: impl BufRead, length: u64) -> Result<Bytes, PackedError> {
    let broken = |at: usize| move |source| PackedError::Compressed { at: at as u64, source };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(broken(0))?.single_frame();
    let mut content = Vec::with_capacity(length.min(FIRST_BYTES) as usize);
    // One byte more than there should be, so that a longer content is noticed and not decompressed.
    let read = decoder.by_ref().take(length + 1).read_to_end(&mut content);
    read.map_err(broken(content.len()))?;
    if content.len() as u64 != length {
        return Err(PackedError::Length { wanted: length, actual: content.len() as u64 });
    }
    match decoder.finish().fill_buf() {
        Ok([]) => Ok(content.into()),
        Ok(_) => Err(PackedError::Trailing),
        Err(source) => Err(PackedError::Compressed { at: length, source }),
    }
}

fn piece(rest: &mut Bytes, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len())?;
    Some(rest.split_to(length))
}

fn array<const N: usize>(rest: &mut Bytes) -> Option<[u8; N]> {
    piece(rest, N as u64)?.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_of(entries: &Entries) -> Vec<u8> {
        let mut file = Vec::new();
        Entries::write(&entries.content(), &mut file).unwrap();
        file
    }

    fn entries() -> impl Strategy<Value = Entries> {
        let object = prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
        prop::collection::btree_map("[a-z0-9/._-]{1,40}", object, 0..12).prop_map(Entries)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in entries()) {
            let file = file_of(&entries);
            let (again, root) = Entries::read(&file[..]).unwrap();
            prop_assert_eq!(root, ContentHash::of(&entries.content()));
            prop_assert_eq!(again, entries);
        }

        #[test]
        fn a_changed_bit_is_noticed(entries in entries(), bit in any::<prop::sample::Index>()) {
            let mut file = file_of(&entries);
            let bit = bit.index(file.len() * 8);
            file[bit / 8] ^= 1 << (bit % 8);
            // A bit that the decompressor does not look at changes nothing.
            if let Ok((read, _)) = Entries::read(&file[..]) {
                prop_assert_eq!(read, entries);
            }
        }

        #[test]
        fn a_cut_is_noticed_and_so_is_what_follows(entries in entries(), cut in any::<prop::sample::Index>()) {
            let mut file = file_of(&entries);
            prop_assert!(Entries::read(&file[..cut.index(file.len())]).is_err());
            file.push(0);
            prop_assert!(matches!(Entries::read(&file[..]), Err(PackedError::Trailing)));
        }

        #[test]
        fn any_content_is_read_or_rejected_with_its_place(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut file = Vec::new();
            Entries::write(&content, &mut file).unwrap();
            if let Ok((entries, _)) = Entries::read(&file[..]) {
                prop_assert_eq!(entries.content(), content);
            }
        }

        #[test]
        fn any_bytes_are_read_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..300), is_headed in any::<bool>()) {
            let file = if is_headed { [&MAGIC[..], &[VERSION], &bytes].concat() } else { bytes };
            let _ = Entries::read(&file[..]);
        }
    }

    #[test]
    fn a_wrong_file_is_named_as_what_it_is() {
        let file = file_of(&Entries::default());
        assert!(matches!(Entries::read(&b""[..]), Err(PackedError::NotARecord)));
        assert!(matches!(Entries::read(&b"PK\x03\x04"[..]), Err(PackedError::NotARecord)));
        assert!(matches!(Entries::read(&file[..20]), Err(PackedError::Short { bytes: 20 })));
        let mut later = file.clone();
        later[15] = 2;
        assert!(matches!(Entries::read(&later[..]), Err(PackedError::Version { found: 2, known: 1 })));
        let mut large = file;
        large[48..56].fill(0xff);
        assert!(matches!(Entries::read(&large[..]), Err(PackedError::TooLarge { .. })));
    }

    #[test]
    fn a_content_that_grows_beyond_what_its_head_says_is_not_decompressed() {
        let mut file = Vec::new();
        Entries::write(&vec![0; 64 << 20], &mut file).unwrap();
        file[48..56].copy_from_slice(&1_000u64.to_le_bytes());
        let error = Entries::read(&file[..]).unwrap_err();
        assert!(matches!(error, PackedError::Length { wanted: 1_000, actual: 1_001 }), "{error}");
    }
}
