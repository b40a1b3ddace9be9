//! The rule for object keys, one for all backends.
//!
//! A key is made of segments separated by `/`, like `window/000042/payload`. The rule is narrower than S3's, so that
//! every key is at once a legal file path, a URL path without escapes, and sorts the same everywhere: by its bytes.

use crate::BucketError;
use crate::error::shorten;

/// Longest key in bytes: well under S3's 1024 and the 4096 of a path with its root folder.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest segment in bytes: under the 255 of common file systems.
pub const MAX_SEGMENT_BYTES: usize = 200;
/// Most segments of a key; it bounds the depth of a folder walk.
pub const MAX_SEGMENTS: usize = 16;

/// Checks that `key` can name an object in every backend.
///
/// Allowed are ASCII letters, digits and `-_.=+` in segments of 1 to 200 bytes that do not begin with a dot (so that
/// neither `..` nor a hidden file can be named), at most 16 segments and 512 bytes, no leading or trailing slash.
pub fn check_key(key: &str) -> Result<(), BucketError> {
    let invalid = |reason| Err(BucketError::InvalidKey { key: shorten(key), reason });
    if key.is_empty() {
        return invalid("it is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return invalid("it is longer than 512 bytes");
    }
    let mut segments = 0;
    for segment in key.split('/') {
        segments += 1;
        if segment.is_empty() {
            return invalid("it has an empty segment");
        }
        if segment.len() > MAX_SEGMENT_BYTES {
            return invalid("it has a segment longer than 200 bytes");
        }
        if segment.starts_with('.') {
            return invalid("it has a segment that begins with a dot");
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte);
        if !segment.bytes().all(allowed) {
            return invalid("it has a character other than ASCII letters, digits and -_.=+");
        }
    }
    if segments > MAX_SEGMENTS {
        return invalid("it has more than 16 segments");
    }
    Ok(())
}

/// Checks a prefix for a listing: empty, or a key (whole segments), with or without one slash at its end. Returns it
/// with the slash, or empty.
pub(crate) fn folder_prefix(prefix: &str) -> Result<String, BucketError> {
    if prefix.is_empty() {
        return Ok(String::new());
    }
    let folder = prefix.strip_suffix('/').unwrap_or(prefix);
    check_key(folder)?;
    Ok(format!("{folder}/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_keys_pass_and_dangerous_ones_do_not() {
        for key in ["genesis.json", "window/000042/payload", "checkpoint/7/model-00001-of-00002.safetensors", "a=b+c"] {
            check_key(key).unwrap();
        }
        let long_segment = "x".repeat(201);
        let long_key = ["y".repeat(180), "y".repeat(180), "y".repeat(180)].join("/");
        let deep = ["d"; 17].join("/");
        for key in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".staging/x",
            "a/.b",
            "a b",
            "a\\b",
            "a\0",
            "é",
            "a%2e",
            &long_segment,
            &long_key,
            &deep,
        ] {
            assert!(check_key(key).is_err(), "{key:?} passed");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_checked_key_stays_below_its_root(key in ".{0,40}") {
            if check_key(&key).is_ok() {
                let path = std::path::Path::new(&key);
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
