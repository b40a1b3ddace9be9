//! What a path leads to that is no model, in the words of what it is.

use std::path::Path;

/// What a file is that does not begin as a GGUF file, and what to give instead; none for a GGUF file, and for what is not
/// known.
pub(crate) fn instead_of_gguf(path: &Path, bytes: &[u8]) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let starts = |marks: &[&[u8]]| marks.iter().any(|mark| bytes.starts_with(mark));
    // A length of eight bytes, and a header of JSON.
    let is_safetensors = bytes.get(8..10).is_some_and(|start| start == b"{\"") && bytes.get(6..8) == Some(&[0, 0]);
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let what = match () {
        () if starts(&[b"GGUF"]) => return None,
        () if bytes.is_empty() => "empty: fetch it again".to_owned(),
        () if is_safetensors || text.starts_with(b"{") => {
            format!("one file of a model in a folder: give the folder, {}", folder.display())
        }
        () if starts(&[b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"]) => {
            "packed: unpack it first".to_owned()
        }
        () if starts(&[b"PK\x03\x04", b"\x80\x02"]) => {
            "a zip archive, or pickled by PyTorch: unpack it, or save the model as safetensors".to_owned()
        }
        () if starts(&[b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggjt"]) => {
            "of a format before GGUF: convert the model again with llama.cpp".to_owned()
        }
        () if text.starts_with(b"<") => {
            "a web page: what was downloaded is an answer of the server, not the file".to_owned()
        }
        () => return None,
    };
    Some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_model_are_named() {
        let what = |bytes: &[u8]| instead_of_gguf(Path::new("m/x.bin"), bytes).unwrap_or_default();
        assert!(what(b"").contains("fetch it again"));
        assert!(what(b"\x40\0\0\0\0\0\0\0{\"a\": 1}").contains("give the folder, m"));
        assert!(what(b" {\"vocab_size\": 1}").contains("give the folder, m"));
        assert!(instead_of_gguf(Path::new("x.json"), b"{").unwrap().ends_with("give the folder, ."));
        assert!(what(b"\x1f\x8b\x08").contains("unpack it"));
        assert!(what(b"PK\x03\x04").contains("pickled"));
        assert!(what(b"tjgg\x03\0\0\0").contains("before GGUF"));
        assert!(what(b"<!DOCTYPE html>").contains("web page"));
        assert_eq!((what(b"GGUF\x03"), what(b"something")), (String::new(), String::new()));
    }
}
