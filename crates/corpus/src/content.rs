//! What a file is, by its first bytes: whatever its name says.

use templar_disk::Pointer;

/// How many bytes of a file tell what it is.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Parquet.
    Parquet,
    /// Text that is packed.
    Packed(Packing),
    /// A large file that was not fetched.
    Pointer(Pointer),
    /// Something that is known and is not text, and what makes text of it.
    Foreign(&'static str, &'static str),
    /// Perhaps text.
    Plain,
}

/// How a text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

const UNPACK: &str = "unpack it, and give what is in it";
const AS_PARQUET: &str = "write it as Parquet or JSON lines";
const NOT_FOR_TEXT: &str = "give the text itself";

/// Where the mark is, the mark, what the file is, and what makes text of it.
const FOREIGN: [(usize, &[u8], &str, &str); 31] = [
    (0, b"PK\x03\x04", "a zip archive (or a document of an office program)", UNPACK),
    (0, b"BZh", "packed with bzip2", "unpack it with `bunzip2`"),
    (0, b"\xfd7zXZ\0", "packed with xz", "unpack it with `unxz`"),
    (0, b"\x04\x22\x4d\x18", "packed with lz4", "unpack it with `lz4 -d`"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", "unpack it with `tar -xf`"),
    (0, b"%PDF-", "a PDF document", "make text of it, such as with `pdftotext`"),
    (0, b"{\\rtf", "an RTF document", "save it as plain text"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old office program", "save it as plain text"),
    (0, b"\xff\xfe\0\0", "UTF-32 text", "convert it with `iconv -f UTF-32 -t UTF-8`"),
    (0, b"\0\0\xfe\xff", "UTF-32 text", "convert it with `iconv -f UTF-32 -t UTF-8`"),
    (0, b"\xff\xfe", "UTF-16 text, not UTF-8", "convert it with `iconv -f UTF-16 -t UTF-8`"),
    (0, b"\xfe\xff", "UTF-16 text, not UTF-8", "convert it with `iconv -f UTF-16 -t UTF-8`"),
    (0, b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (0, b"ARROW1\0\0", "an Arrow file", AS_PARQUET),
    (0, b"FEA1", "a Feather file", AS_PARQUET),
    (0, b"Obj\x01", "an Avro file", AS_PARQUET),
    (0, b"SQLite format 3\0", "an SQLite database", AS_PARQUET),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", AS_PARQUET),
    (0, b"\x93NUMPY", "a NumPy array", AS_PARQUET),
    (0, b"GGUF", "a GGUF model", NOT_FOR_TEXT),
    (0, b"\x7fELF", "a program", NOT_FOR_TEXT),
    (0, b"\x89PNG\r\n\x1a\n", "a picture", NOT_FOR_TEXT),
    (0, b"\xff\xd8\xff", "a picture", NOT_FOR_TEXT),
    (0, b"GIF8", "a picture", NOT_FOR_TEXT),
    (8, b"WEBPVP8", "a picture", NOT_FOR_TEXT),
    (8, b"WAVEfmt", "a sound", NOT_FOR_TEXT),
    (0, b"OggS\0", "a sound", NOT_FOR_TEXT),
    (0, b"ID3\x03\0", "a sound", NOT_FOR_TEXT),
    (4, b"ftyp", "a film or a sound", NOT_FOR_TEXT),
];

/// What a file is that begins like this; `is_whole` where there is no more of it.
pub(crate) fn look(head: &[u8], is_whole: bool) -> Look {
    if is_whole && let Some(pointer) = Pointer::of(head) {
        return Look::Pointer(pointer);
    }
    if head.starts_with(b"PAR1") {
        return Look::Parquet;
    }
    if head.starts_with(b"\x1f\x8b\x08") {
        return Look::Packed(Packing::Gzip);
    }
    // A frame, or one that may be skipped.
    let is_skippable = matches!(head, [0x50..=0x5f, b'\x2a', b'\x4d', b'\x18', ..]);
    if head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable {
        return Look::Packed(Packing::Zstd);
    }
    let is_at = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    match FOREIGN.iter().find(|(at, mark, ..)| is_at(*at, mark)) {
        Some((_, _, what, remedy)) => Look::Foreign(what, remedy),
        None => Look::Plain,
    }
}

/// What there is in place of a Parquet file, for people.
pub(crate) fn instead_of_parquet(head: &[u8]) -> &'static str {
    let start = head.trim_ascii_start();
    let is_page = [&b"<!doctype html"[..], b"<html", b"<?xml"]
        .iter()
        .any(|mark| start.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark)));
    match () {
        () if head.is_empty() => "it is empty",
        () if is_page => "it is a web page: what was downloaded is an answer of the server, not the file",
        () if start.starts_with(b"{") => "it looks like JSON lines: give it the ending .jsonl",
        () if !head.contains(&0) && is_text(head) => "it is text: give it the ending .txt",
        () => "it does not begin with the mark of a Parquet file: fetch it again",
    }
}

fn is_text(head: &[u8]) -> bool {
    // A character may be cut at the end of the head.
    std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Whether a text without a telling ending is rows of JSON that have the field.
pub(crate) fn looks_like_rows(head: &[u8], field: &str) -> bool {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let in_list = start.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    let Some(rest) = in_list.unwrap_or(start).strip_prefix(b"{") else { return false };
    if !rest.trim_ascii_start().starts_with(b"\"") {
        return false;
    }
    let first = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let searched = if in_list.is_some() { rest } else { first };
    [field, field.split('.').next().unwrap_or(field)].iter().any(|name| {
        let name = format!("\"{name}\"");
        searched.windows(name.len()).any(|part| part == name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        let what = |head: &[u8]| match look(head, true) {
            Look::Foreign(what, _) => what,
            _ => "",
        };
        assert_eq!(what(&tar), "a tar archive");
        assert_eq!(what(b"%PDF-1.7"), "a PDF document");
        assert_eq!(what(b"\xff\xfeh\0i\0"), "UTF-16 text, not UTF-8");
        assert_eq!(what(b"\xff\xfe\0\0h\0\0\0"), "UTF-32 text");
        assert_eq!(look(b"PAR1....", true), Look::Parquet);
        assert_eq!(look(b"\x1f\x8b\x08\0", true), Look::Packed(Packing::Gzip));
        assert_eq!(look(b"\x28\xb5\x2f\xfd", true), Look::Packed(Packing::Zstd));
        assert_eq!(look(b"P*M", true), Look::Plain);
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert_eq!(look(pointer, true), Look::Pointer(Pointer::GitLfs));
        assert_eq!(look(b"", true), Look::Plain);
        assert_eq!(look("Ordinary text, größer".as_bytes(), true), Look::Plain);
    }

    #[test]
    fn rows_are_known_by_their_field() {
        for rows in ["{\"text\": 1}\n", "[ {\n \"id\": 1,\n\"text\": \"a\"}", "{\"meta\":{\"text\":1}}"] {
            assert_eq!(looks_like_rows(rows.as_bytes(), "meta.text"), rows.contains("meta"), "{rows}");
            assert_eq!(looks_like_rows(rows.as_bytes(), "text"), rows.contains("\"text\""), "{rows}");
        }
        for text in ["", "{", "[", "{ not json }", "[1, 2]", "{\"id\": 1}\n\"text\"", "Text"] {
            assert!(!looks_like_rows(text.as_bytes(), "text"), "{text}");
        }
    }
}
