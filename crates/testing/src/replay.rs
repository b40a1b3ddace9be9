//! Decoders of foreign bytes against the files of their corpora, while the allocator counts.

use std::path::Path;

use crate::peak_bytes_of;

/// A decoder, and the most memory in bytes that it may take: a fixed part, and a part for each byte of its input.
pub struct Decoder {
    /// The name of its corpus.
    pub name: &'static str,
    /// Decodes these bytes and checks what came out.
    pub decode: fn(&[u8]),
    /// Most bytes for any input.
    pub most_bytes: usize,
    /// Further bytes for each byte of the input.
    pub most_bytes_per_byte: usize,
}

/// Whether what a search begins with is of the present formats: each file below `tests/corpus/` of the crate in `root` against the
/// bytes that are due. `RENEW_SEEDS=1` writes them again.
pub fn check_seeds(root: &str, seeds: Vec<(&'static str, Vec<u8>)>) {
    for (name, bytes) in seeds {
        let path = Path::new(root).join("tests/corpus").join(name);
        if std::env::var_os("RENEW_SEEDS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(found == bytes, "{name} is of another format: run this test with RENEW_SEEDS=1");
    }
}

/// Decodes every file of `tests/corpus/<name>/` of the crate in `root`, whole and cut short. Call it from the only test
/// of a program that declares the [`CountingAllocator`](crate::CountingAllocator): what another test allocates would be
/// counted as well.
pub fn replay(root: &str, decoders: &[Decoder]) {
    for decoder in decoders {
        let folder = Path::new(root).join("tests/corpus").join(decoder.name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} has no file", folder.display());
        // What is created once belongs to no input.
        (decoder.decode)(&[]);
        for path in paths {
            let bytes = std::fs::read(&path).unwrap();
            let lengths = [bytes.len(), bytes.len().saturating_sub(1), bytes.len() / 2, bytes.len() / 3];
            for length in lengths {
                let used = peak_bytes_of(|| (decoder.decode)(&bytes[..length]));
                let most = decoder.most_bytes + length * decoder.most_bytes_per_byte;
                assert!(used <= most, "{}: {used} bytes over {most} for {length} of {}", decoder.name, path.display());
            }
        }
    }
}
