//! Frames between the engine and a rank: a length (u32, little-endian) and a JSON object.

use serde_json::Value;
use std::io::{self, Read};

/// Longest request in bytes. Pipes hold at least as much, so that a rank that does not read stops no writer.
pub(crate) const MAX_REQUEST: usize = 16 << 10;
/// Longest answer in bytes: the losses of some ten thousand sequences.
pub(crate) const MAX_ANSWER: usize = 1 << 20;

/// Bytes that are not a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The pipe broke, or ended within a frame.
    #[error("its answer ended early: {0}")]
    Io(#[from] io::Error),
    /// It is longer than any frame.
    #[error("it sent a frame of {0} bytes, over the limit of {MAX_ANSWER}")]
    TooLong(usize),
    /// It is not JSON.
    #[error("it sent a frame that is not JSON: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The bytes of a request; none if it is over [`MAX_REQUEST`].
pub(crate) fn encode(request: &Value) -> Option<Vec<u8>> {
    let body = request.to_string().into_bytes();
    if body.len() > MAX_REQUEST {
        return None;
    }
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    Some(frame)
}

/// The next answer; none at the end of the stream.
pub(crate) fn read(from: &mut impl Read) -> Result<Option<Value>, FrameError> {
    let mut head = [0; 4];
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    from.read_exact(&mut head[1..])?;
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_ANSWER {
        return Err(FrameError::TooLong(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_come_back_in_order() {
        let (first, second) = (json!({"id": 1, "do": "open"}), json!({"id": 2}));
        let bytes = [encode(&first).unwrap(), encode(&second).unwrap()].concat();
        let mut stream = bytes.as_slice();
        assert_eq!(read(&mut stream).unwrap(), Some(first));
        assert_eq!(read(&mut stream).unwrap(), Some(second));
        assert_eq!(read(&mut stream).unwrap(), None);
    }

    #[test]
    fn what_is_not_a_frame_is_rejected_without_an_allocation_of_its_size() {
        assert!(matches!(read(&mut [255u8; 4].as_slice()), Err(FrameError::TooLong(_))));
        assert!(matches!(read(&mut [1u8, 0].as_slice()), Err(FrameError::Io(_))));
        assert!(matches!(read(&mut [2u8, 0, 0, 0, b'{'].as_slice()), Err(FrameError::Io(_))));
        assert!(matches!(read(&mut [1u8, 0, 0, 0, b'{'].as_slice()), Err(FrameError::Malformed(_))));
        assert!(encode(&json!("x".repeat(MAX_REQUEST))).is_none());
    }
}
