//! Signed documents: JSON with the author's signature over its canonical form.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, Keypair, PublicKey, RunId, Signature, Window};

/// A document of one window with its author's signature.
///
/// The hash is that of the body alone, so that equal statements of several authors have equal hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// The statement.
    pub body: T,
    /// Who made it.
    pub author: PublicKey,
    /// Over run, window, purpose and the body's hash.
    pub signature: Signature,
}

/// A signed document that cannot be used; its author or its bucket is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// The bytes do not parse.
    #[error("the signed document does not parse: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Somebody else wrote it.
    #[error("the document is not signed by the node whose bucket holds it")]
    Author,
    /// The signature does not hold.
    #[error("the document's signature does not hold for this run, window and purpose")]
    Signature,
}

fn message(run: RunId, window: Window, purpose: &str, hash: ContentHash) -> Vec<u8> {
    let purpose = purpose.as_bytes();
    [b"templar document v1".as_slice(), run.as_bytes(), &window.0.to_le_bytes(), hash.as_bytes(), purpose].concat()
}

/// Hash of a document's canonical form.
fn body_hash<T: Serialize>(body: &T) -> Result<ContentHash, serde_json::Error> {
    Ok(ContentHash::of(&serde_json::to_vec(body)?))
}

impl<T: Serialize + DeserializeOwned> Signed<T> {
    /// Signs `body` for one run, window and purpose.
    pub fn new(body: T, run: RunId, window: Window, purpose: &str, author: &Keypair) -> Result<Self, SignedError> {
        let signature = author.sign(&message(run, window, purpose, body_hash(&body)?));
        Ok(Self { body, author: author.public(), signature })
    }

    /// Hash of the body.
    pub fn hash(&self) -> Result<ContentHash, SignedError> {
        Ok(body_hash(&self.body)?)
    }

    /// The object for the bucket.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SignedError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads a document that `author` must have signed. The caller bounds the size.
    pub fn from_bytes(
        bytes: &[u8],
        run: RunId,
        window: Window,
        purpose: &str,
        author: PublicKey,
    ) -> Result<Self, SignedError> {
        let signed: Self = serde_json::from_slice(bytes)?;
        signed.check(run, window, purpose, author)?;
        Ok(signed)
    }

    /// Checks that `author` signed it for this run, window and purpose.
    pub fn check(&self, run: RunId, window: Window, purpose: &str, author: PublicKey) -> Result<(), SignedError> {
        if self.author != author {
            return Err(SignedError::Author);
        }
        match author.verify(&message(run, window, purpose, self.hash()?), &self.signature) {
            true => Ok(()),
            false => Err(SignedError::Signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_for_its_author_run_window_and_purpose_only() {
        let (author, other) = (Keypair::from_uri("//a").unwrap(), Keypair::from_uri("//b").unwrap());
        let (run, window) = (RunId::new([1; 32]), Window(3));
        let signed = Signed::new(vec![1u32, 2], run, window, "verdict", &author).unwrap();
        let bytes = signed.to_bytes().unwrap();
        let read = |run, window, purpose, author| Signed::<Vec<u32>>::from_bytes(&bytes, run, window, purpose, author);
        assert_eq!(read(run, window, "verdict", author.public()).unwrap(), signed);
        assert!(read(RunId::new([2; 32]), window, "verdict", author.public()).is_err());
        assert!(read(run, Window(4), "verdict", author.public()).is_err());
        assert!(read(run, window, "audit", author.public()).is_err());
        assert!(read(run, window, "verdict", other.public()).is_err());
    }

    /// A parser that is one unit off in the last place once made true verdicts look forged.
    #[test]
    fn numbers_of_a_signed_document_come_back_to_the_bit() {
        let (author, run, window) = (Keypair::from_uri("//a").unwrap(), RunId::new([1; 32]), Window(3));
        let numbers: Vec<f64> = (1..2000u32).map(|i| f64::from(i).sqrt() * 1.147_450_558_020_432e-4).collect();
        let bytes = Signed::new(numbers.clone(), run, window, "verdict", &author).unwrap().to_bytes().unwrap();
        let read = Signed::<Vec<f64>>::from_bytes(&bytes, run, window, "verdict", author.public()).unwrap();
        assert!(read.body.iter().zip(&numbers).all(|(read, written)| read.to_bits() == written.to_bits()));
    }
}
