//! Headers and blocks with their certificates, as a ledger serves them.

use crate::{
    AuthorityKey, Block, BlockHeader, Certificate, CertificateError, ChainKey, Header, chain_name, early_beacon,
    transactions_root,
};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, BlockNumber, ContentHash};

/// Who signs a chain, as a ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The authority's key.
    pub key: AuthorityKey,
    /// Hash of the document with all rules, which with the key gives the chain's name.
    pub document: ContentHash,
}

impl Authority {
    /// The key to check the chain `chain` with; none where this is not that chain's authority.
    pub fn key_of(&self, chain: BlockHash) -> Option<ChainKey> {
        let is_named = chain_name(&self.key, &self.document) == chain;
        if is_named { ChainKey::new(chain, &self.key).ok() } else { None }
    }
}

/// A header with what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SignedHeader {
    /// The header.
    pub header: Header,
    /// Its certificate; none at block 0, which follows from the chain's name.
    pub certificate: Option<Certificate>,
}

impl SignedHeader {
    /// The block as nodes see it, if the chain's authority signed it.
    pub fn verify(&self, key: &ChainKey) -> Result<BlockHeader, CertificateError> {
        key.verify_signed(self)?;
        Ok((&self.header).into())
    }
}

/// A block with what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedBlock {
    /// The block.
    pub block: Block,
    /// Its certificate; none at block 0.
    pub certificate: Option<Certificate>,
}

impl SignedBlock {
    /// Checks that the transactions are those of the header, and that the chain's authority signed that. Whether they
    /// keep the rules is for a replay to find out.
    pub fn verify(&self, key: &ChainKey) -> Result<(), CertificateError> {
        let header = &self.block.header;
        if header.transactions_root != transactions_root(&self.block.transactions) {
            return Err(CertificateError::OtherBlock { block: header.number });
        }
        key.verify_signed(&SignedHeader { header: header.clone(), certificate: self.certificate.clone() })
    }
}

impl Header {
    /// Whether this is the first header of the chain, as far as its name says: all but the digests of the first state,
    /// which whoever knows the rules computes. The next header names this one by its hash.
    pub(crate) fn follows_from(&self, chain: &BlockHash) -> bool {
        let fixed = Self {
            number: BlockNumber(0),
            parent: *chain,
            view: 0,
            time_ms: 0,
            seeds: Vec::new(),
            beacon: early_beacon(chain, BlockNumber(0)),
            transactions_root: transactions_root(&[]),
            state_root: self.state_root,
            records_root: self.records_root,
            extra: Vec::new(),
        };
        *self == fixed
    }
}
