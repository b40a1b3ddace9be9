//! Objects with a mark and a version, the rest in SCALE.

use parity_scale_codec::{Decode, Encode};

/// Bytes that are not an object of the kind; whoever made them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodingError {
    /// Another kind of object.
    #[error("these bytes do not start as {expected} does")]
    Mark {
        /// What was expected.
        expected: &'static str,
    },
    /// Another version of the format.
    #[error("{what} has format version {found}, this build reads version {known}; upgrade the older side")]
    Version {
        /// The kind of object.
        what: &'static str,
        /// The object's version.
        found: u16,
        /// The version of this build.
        known: u16,
    },
    /// The rest is not of the form, or longer.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// The kind of object.
        what: &'static str,
        /// Where it breaks the form.
        reason: String,
    },
}

/// A kind of object.
pub(crate) struct Kind {
    pub what: &'static str,
    pub mark: [u8; 4],
    pub version: u16,
}

impl Kind {
    /// The object's bytes.
    pub(crate) fn encode(&self, content: &impl Encode) -> Vec<u8> {
        let mut out = self.mark.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        content.encode_to(&mut out);
        out
    }

    /// Parses an object. Total; allocates a small multiple of the bytes' length at most.
    pub(crate) fn decode<T: Decode>(&self, bytes: &[u8]) -> Result<T, CodingError> {
        let what = self.what;
        let Some(([mark @ .., low, high], mut rest)) = bytes.split_first_chunk::<6>() else {
            return Err(CodingError::Mark { expected: what });
        };
        if mark != self.mark.as_slice() {
            return Err(CodingError::Mark { expected: what });
        }
        let found = u16::from_le_bytes([*low, *high]);
        if found != self.version {
            return Err(CodingError::Version { what, found, known: self.version });
        }
        let content = T::decode(&mut rest).map_err(|error| self.malformed(error))?;
        if !rest.is_empty() {
            return Err(self.malformed(format!("{} bytes too many", rest.len())));
        }
        Ok(content)
    }

    pub(crate) fn malformed(&self, reason: impl ToString) -> CodingError {
        CodingError::Malformed { what: self.what, reason: reason.to_string() }
    }
}
