//! A gateway's signed statement of what it has served.

use super::{AccountKey, Units};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, Keypair, PublicKey, Signature};

/// Signed ahead of every record, so that a signature for another purpose is none here.
const SIGNING_PREFIX: &[u8] = b"templar metering record 1";

/// What a gateway has served a key since its account was opened. Anybody may bring it to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct MeteringRecord {
    /// The gateway, whose signature this bears.
    pub gateway: PublicKey,
    /// The key that was served.
    pub key: PublicKey,
    /// Which account: [`AccessAccount::serial`](super::AccessAccount::serial).
    pub serial: u64,
    /// Units since it was opened, of all requests together.
    pub units: Units,
    /// The gateway's signature, for one ledger.
    pub signature: Signature,
}

impl MeteringRecord {
    /// Signs a record for the ledger called `genesis`.
    pub fn sign(gateway: &Keypair, genesis: &BlockHash, key: PublicKey, serial: u64, units: Units) -> Self {
        let signature = Signature([0; 64]);
        let unsigned = Self { gateway: gateway.public(), key, serial, units, signature };
        let signature = gateway.sign(&unsigned.signed_bytes(genesis));
        Self { signature, ..unsigned }
    }

    /// Whether the gateway signed these very fields for that ledger.
    pub fn is_authentic(&self, genesis: &BlockHash) -> bool {
        self.gateway.verify(&self.signed_bytes(genesis), &self.signature)
    }

    /// The account that it is about.
    pub fn account(&self) -> AccountKey {
        (self.gateway, self.key)
    }

    fn signed_bytes(&self, genesis: &BlockHash) -> Vec<u8> {
        let Self { gateway, key, serial, units, signature: _ } = self;
        (SIGNING_PREFIX, genesis, gateway, key, serial, units).encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_signed_and_so_is_the_ledger() {
        let gateway = Keypair::from_uri("//Gateway").unwrap();
        let genesis = BlockHash::new([1; 32]);
        let units = Units { generation: 10, compute: 0 };
        let record = MeteringRecord::sign(&gateway, &genesis, PublicKey::new([2; 32]), 3, units);
        assert!(record.is_authentic(&genesis));
        assert!(!record.is_authentic(&BlockHash::new([9; 32])));
        let more = Units { generation: 11, compute: 0 };
        assert!(!MeteringRecord { units: more, ..record.clone() }.is_authentic(&genesis));
        assert!(!MeteringRecord { serial: 4, ..record.clone() }.is_authentic(&genesis));
        assert!(!MeteringRecord { key: PublicKey::new([3; 32]), ..record }.is_authentic(&genesis));
    }
}
