//! The frame that payloads and aggregates share: header, segment table with a BLAKE3 leaf each, root, segments.
//!
//! ```text
//! header                         self-describing, of the object's own
//! segment count                  u32
//! per segment: length, leaf      u32, 32 bytes
//! root                           32 bytes: BLAKE3 of all bytes above, under the object's own context
//! segments                       one after the other
//! ```
//! The root covers the leaves, and they the segments: it names the content, and a segment fetched alone can be
//! checked against the head.

use rayon::prelude::*;
use std::ops::Range;
use templar_base::ContentHash;

/// Bytes of one row of the segment table.
pub(crate) const SEGMENT_ROW_BYTES: usize = 4 + 32;

/// Bytes of the frame besides header, table rows and segments.
pub(crate) const FRAME_BYTES: usize = 4 + 32;

/// Bytes that are not an object's frame; whoever made them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Over the size bound; nothing was parsed.
    #[error("object is {actual} bytes, over the limit of {limit} for this model; its author is at fault")]
    TooLarge {
        /// Length in bytes.
        actual: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// The bytes end within a field.
    #[error("object ends at byte {length}, inside its head; fetch it again, or its author is at fault")]
    Truncated {
        /// Length in bytes.
        length: usize,
    },
    /// Another kind of object.
    #[error("object starts with {found:02x?}, not with the mark of a {expected}")]
    WrongMagic {
        /// The first bytes.
        found: [u8; 4],
        /// What was expected.
        expected: &'static str,
    },
    /// A version that this build does not know.
    #[error("object has format version {found}, this build reads version {known}; upgrade the older side")]
    UnknownVersion {
        /// The object's version.
        found: u16,
        /// The version that this build reads.
        known: u16,
    },
    /// A segment count that is not the layout's.
    #[error("object has {found} segments where the model has {expected}; its author is at fault")]
    SegmentCount {
        /// The object's count.
        found: u32,
        /// The layout's count.
        expected: usize,
    },
    /// A segment longer than its content can be.
    #[error("segment {segment} is {actual} bytes, over the limit of {limit}; its author is at fault")]
    SegmentTooLarge {
        /// The segment.
        segment: usize,
        /// Length in bytes.
        actual: u32,
        /// The bound in bytes.
        limit: usize,
    },
    /// The lengths in the table do not add up to the object's.
    #[error(
        "object is {actual} bytes where its segment table says {expected}; fetch it again, or its author is at fault"
    )]
    WrongLength {
        /// Length in bytes.
        actual: usize,
        /// Length by the table.
        expected: usize,
    },
    /// The root is not that of the head.
    #[error("the object's root does not match its head; fetch it again, or its author is at fault")]
    RootMismatch,
    /// A segment's leaf is not that of its bytes.
    #[error("segment {segment} does not match its leaf; fetch it again, or its author is at fault")]
    LeafMismatch {
        /// The segment.
        segment: usize,
    },
}

/// The contexts under which an object's root and leaves are hashed, so that no other hash can be taken for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameKind {
    pub name: &'static str,
    pub magic: [u8; 4],
    pub version: u16,
    pub root_context: &'static str,
    pub leaf_context: &'static str,
}

impl FrameKind {
    /// The start of a header of this kind.
    pub fn header(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out
    }

    /// Reads and checks the start of a header.
    pub fn expect(&self, reader: &mut Reader<'_>) -> Result<(), FrameError> {
        let found = reader.array()?;
        if found != self.magic {
            return Err(FrameError::WrongMagic { found, expected: self.name });
        }
        let found = reader.u16()?;
        if found != self.version {
            return Err(FrameError::UnknownVersion { found, known: self.version });
        }
        Ok(())
    }

    /// Appends table, root and segments to a header.
    pub fn seal<S: AsRef<[u8]> + Sync>(&self, header: Vec<u8>, segments: &[S]) -> Sealed {
        let leaves: Vec<[u8; 32]> =
            segments.par_iter().map(|segment| blake3::derive_key(self.leaf_context, segment.as_ref())).collect();
        let body: usize = segments.iter().map(|segment| segment.as_ref().len()).sum();
        let mut out = header;
        out.reserve(FRAME_BYTES + SEGMENT_ROW_BYTES * segments.len() + body);
        out.extend_from_slice(&(segments.len() as u32).to_le_bytes());
        for (segment, leaf) in segments.iter().zip(&leaves) {
            out.extend_from_slice(&(segment.as_ref().len() as u32).to_le_bytes());
            out.extend_from_slice(leaf);
        }
        let root = blake3::derive_key(self.root_context, &out);
        out.extend_from_slice(&root);
        let mut places = Vec::with_capacity(segments.len());
        for segment in segments {
            let start = out.len();
            out.extend_from_slice(segment.as_ref());
            places.push(start..out.len());
        }
        Sealed { root: ContentHash::new(root), bytes: out, segments: places }
    }

    /// Reads the table behind a header and cuts the segments; their leaves are still unchecked.
    /// `limit` gives a segment's longest length in bytes.
    pub fn open(
        &self,
        reader: Reader<'_>,
        expected: usize,
        limit: impl Fn(usize) -> usize,
    ) -> Result<Opened, FrameError> {
        let mut reader = reader;
        let found = reader.u32()?;
        if found as usize != expected {
            return Err(FrameError::SegmentCount { found, expected });
        }
        let mut table = Reader::new(reader.take(expected.saturating_mul(SEGMENT_ROW_BYTES))?);
        let head = reader.consumed();
        if reader.array()? != blake3::derive_key(self.root_context, head) {
            return Err(FrameError::RootMismatch);
        }
        let root = blake3::derive_key(self.root_context, head);
        let mut rows = Vec::with_capacity(expected);
        let mut total = reader.position;
        for segment in 0..expected {
            let length = table.u32()?;
            let limit = limit(segment);
            if length as usize > limit {
                return Err(FrameError::SegmentTooLarge { segment, actual: length, limit });
            }
            total = total.saturating_add(length as usize);
            rows.push((length as usize, table.array()?));
        }
        if total != reader.bytes.len() {
            return Err(FrameError::WrongLength { actual: reader.bytes.len(), expected: total });
        }
        let mut start = reader.position;
        let place = |(length, leaf)| {
            let range = start..start + length;
            start = range.end;
            (range, leaf)
        };
        Ok(Opened { root: ContentHash::new(root), segments: rows.into_iter().map(place).collect() })
    }

    /// Checks a segment's bytes against its leaf.
    pub fn check_leaf(&self, segment: usize, bytes: &[u8], leaf: &[u8; 32]) -> Result<(), FrameError> {
        if &blake3::derive_key(self.leaf_context, bytes) == leaf {
            Ok(())
        } else {
            Err(FrameError::LeafMismatch { segment })
        }
    }
}

/// A whole object.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub root: ContentHash,
    pub bytes: Vec<u8>,
    /// Where each segment is in the bytes.
    pub segments: Vec<Range<usize>>,
}

/// An object whose head is sound.
#[derive(Debug)]
pub(crate) struct Opened {
    pub root: ContentHash,
    /// Where each segment is in the object's bytes, which were checked to reach so far, and its leaf.
    pub segments: Vec<(Range<usize>, [u8; 32])>,
}

/// Reads little-endian fields from the front of a slice; never past its end.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn consumed(&self) -> &'a [u8] {
        &self.bytes[..self.position]
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let taken =
            self.bytes[self.position..].get(..count).ok_or(FrameError::Truncated { length: self.bytes.len() })?;
        self.position += count;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
