//! The ledger's genesis: every constant of the rules, fixed once and named by its hash.

use super::governance_rule::GovernanceRule;
use super::load_rule::LoadRule;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockHash, ContentHash, Netuid, PublicKey, RAO_PER_TAO, Rao};
use templar_chain::access::AccessTerms;
use templar_chain::{Authority, AuthorityKey, MAX_MORTALITY_BLOCKS, YumaRule, chain_name};

/// The most TAO that can ever be issued, in rao: 21 million.
pub const MAX_ISSUANCE_RAO: u64 = 21_000_000 * RAO_PER_TAO;

/// A profile that cannot rule a ledger; the operator is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A field outside its bounds.
    #[error("ledger profile: {field} is {value}, but must be {wanted}; correct the profile")]
    OutOfBounds {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        wanted: &'static str,
    },
    /// The initial balances are more than can be issued.
    #[error("ledger profile: the initial balances exceed 21 million TAO; lower them")]
    TooMuchIssued,
    /// A key holds two initial balances.
    #[error("ledger profile: {0} appears twice among the initial balances; merge the two")]
    DuplicateBalance(PublicKey),
}

/// Which rules a ledger goes by: the chain's change, and a ledger stays with those of its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum RuleSet {
    /// Bittensor's at spec version 425.
    #[default]
    S425,
}

/// How the price of a slot moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct RegistrationPrice {
    /// Price at genesis.
    pub initial: Rao,
    /// The price never falls under this.
    pub minimum: Rao,
    /// The price never rises over this.
    pub maximum: Rao,
    /// Blocks in which the price halves without registrations; 0 keeps it still.
    pub half_life_blocks: u32,
    /// What each registration multiplies the price by, in thousandths: 1000 keeps it, 1260 is the chain's.
    pub rise_per_mille: u32,
}

/// The subnet's pool at genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct PoolRule {
    /// Reserve of TAO; issued at genesis beside the balances.
    pub tao: Rao,
    /// Reserve of the subnet's token; issued at genesis.
    pub alpha: Alpha,
    /// What a trade costs, in 1/65535.
    pub fee_rate: u16,
    /// No reserve falls under this by a trade, in the smallest unit.
    pub least_reserve: u64,
}

/// The genesis of a ledger. Two ledgers with equal profiles are the same chain: the hash is in every transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Profile {
    /// Name for people, such as `local`.
    pub name: String,
    /// Sets networks with otherwise equal profiles apart.
    pub salt: u64,
    /// The rules that it goes by.
    pub rule_set: RuleSet,
    /// The one subnet of the ledger; 0 is the root and cannot be it.
    pub netuid: Netuid,
    /// Coldkey of the subnet's owner: its slots are never pruned and always hold a permit.
    pub owner: PublicKey,
    /// Time between blocks, in milliseconds.
    pub block_time_ms: u64,
    /// Blocks from epoch to epoch.
    pub tempo: u32,
    /// Slots of the subnet.
    pub max_uids: u16,
    /// Yuma consensus.
    pub yuma: YumaRule,
    /// The market of the subnet's token.
    pub pool: PoolRule,
    /// Whether weights are committed an epoch before they are revealed.
    pub commit_reveal: bool,
    /// Balances at block 0.
    pub initial_balances: Vec<(PublicKey, Rao)>,
    /// Price of a slot.
    pub registration_price: RegistrationPrice,
    /// Blocks during which a new slot is protected from pruning.
    pub immunity_blocks: u64,
    /// So many slots without immunity are left in peace before immune ones are pruned (the chain: 10).
    pub min_non_immune: u16,
    /// Blocks between two weight settings of one validator.
    pub weights_rate_limit_blocks: u64,
    /// Version key that weights must carry at least.
    pub weights_version: u64,
    /// Stake on a hotkey from which on it counts and may set weights.
    pub weights_stake_threshold: Alpha,
    /// Stake positions under this are refused.
    pub minimum_stake: Rao,
    /// Issued per block before any halving.
    pub block_emission: Rao,
    /// Bytes of commitments that a hotkey may write per tempo (each costs 256 bytes more than its data).
    pub commitment_bytes_per_tempo: u32,
    /// Blocks after which a commitment other than a bucket's is dropped.
    pub commitment_retention_blocks: u64,
    /// Blocks for which headers, receipts, events and metagraphs are kept.
    pub history_blocks: u64,
    /// How the token's holders decide, and what they may decide.
    pub governance: GovernanceRule,
    /// The first terms of access.
    pub access: AccessTerms,
    /// What transactions cost, and how much of them a block holds.
    #[serde(default)]
    pub load: LoadRule,
    /// The key that signs the blocks. A profile without one (all zeros) is a draft: the ledger that is made from it draws
    /// a secret and names its own, before there is a block 0 and a name of the chain.
    #[serde(default, skip_serializing_if = "is_draft")]
    pub authority_key: AuthorityKey,
}

fn is_draft(key: &AuthorityKey) -> bool {
    !key.is_named()
}

impl Profile {
    /// The hash that names the chain: over the authority's key, and the BLAKE3 hash of the SCALE encoding.
    pub fn genesis_hash(&self) -> BlockHash {
        let authority = self.authority();
        chain_name(&authority.key, &authority.document)
    }

    /// Who signs the chain, in a form that gives its name.
    pub fn authority(&self) -> Authority {
        Authority { key: self.authority_key, document: ContentHash::of(&self.encode()) }
    }

    /// The same rules, with blocks signed by the authority whose secret is `secret`: another chain.
    pub fn with_authority(self, secret: &[u8; 32]) -> Self {
        Self { authority_key: AuthorityKey::of_seed(secret), ..self }
    }

    /// The same rules, where these keys too begin with the balance that [`Profile::local`] gives; those that have one
    /// keep it.
    pub fn with_funds(mut self, keys: &[PublicKey]) -> Self {
        let funded = Self::local(self.owner, keys).initial_balances;
        for (key, balance) in funded.into_iter().filter(|(key, _)| keys.contains(key)) {
            if self.initial_balances.iter().all(|(known, _)| *known != key) {
                self.initial_balances.push((key, balance));
            }
        }
        self
    }

    /// Checks the bounds that the rules rely on.
    pub fn check(&self) -> Result<(), ProfileError> {
        let price = &self.registration_price;
        let bounds = [
            ("tempo", u64::from(self.tempo), 1, 1_000_000, "1 to 1000000"),
            ("max_uids", u64::from(self.max_uids), 1, 4_096, "1 to 4096"),
            ("netuid", u64::from(self.netuid.0), 1, u64::from(u16::MAX), "1 or more"),
            ("yuma.max_validators", u64::from(self.yuma.max_validators), 1, 4_096, "1 to 4096"),
            ("yuma.bonds_moving_average", self.yuma.bonds_moving_average, 0, 1_000_000, "1000000 at most"),
            (
                "pool.tao",
                self.pool.tao.as_rao(),
                self.pool.least_reserve,
                MAX_ISSUANCE_RAO,
                "the least reserve or more",
            ),
            (
                "pool.alpha",
                self.pool.alpha.as_rao(),
                self.pool.least_reserve,
                MAX_ISSUANCE_RAO,
                "the least reserve or more",
            ),
            ("pool.least_reserve", self.pool.least_reserve, 1, RAO_PER_TAO, "1 to 1000000000"),
            ("pool.fee_rate", u64::from(self.pool.fee_rate), 0, 6_553, "6553 at most"),
            ("block_time_ms", self.block_time_ms, 10, 3_600_000, "10 to 3600000"),
            ("half_life_blocks", u64::from(price.half_life_blocks), 0, 10_000_000, "10000000 at most"),
            ("rise_per_mille", u64::from(price.rise_per_mille), 1_000, 10_000, "1000 to 10000"),
            ("history_blocks", self.history_blocks, MAX_MORTALITY_BLOCKS, 10_000_000, "256 to 10000000"),
            ("commitment_retention_blocks", self.commitment_retention_blocks, 1, 10_000_000, "1 to 10000000"),
            ("commitment_bytes_per_tempo", u64::from(self.commitment_bytes_per_tempo), 256, 1 << 20, "256 to 1048576"),
            ("minimum_stake", self.minimum_stake.as_rao(), 1, MAX_ISSUANCE_RAO, "1 or more"),
            ("block_emission", self.block_emission.as_rao(), 0, 1_000 * RAO_PER_TAO, "1000 TAO at most"),
            ("name length", self.name.len() as u64, 1, 64, "1 to 64 bytes"),
        ];
        let bounds = bounds.into_iter().chain(self.governance.bounds_of_profile()).chain(self.load.bounds_of_profile());
        for (field, value, low, high, wanted) in bounds {
            if value < low || value > high {
                return Err(ProfileError::OutOfBounds { field, value, wanted });
            }
        }
        if let Some((field, value, wanted)) = self.access.fault() {
            return Err(ProfileError::OutOfBounds { field, value, wanted });
        }
        if price.minimum > price.initial || price.initial > price.maximum {
            let value = price.initial.as_rao();
            return Err(ProfileError::OutOfBounds { field: "registration price", value, wanted: "minimum to maximum" });
        }
        let mut keys = std::collections::BTreeSet::new();
        let mut issued = self.pool.tao;
        for (key, balance) in &self.initial_balances {
            if !keys.insert(*key) {
                return Err(ProfileError::DuplicateBalance(*key));
            }
            issued = issued
                .checked_add(*balance)
                .ok()
                .filter(|sum| sum.as_rao() <= MAX_ISSUANCE_RAO)
                .ok_or(ProfileError::TooMuchIssued)?;
        }
        Ok(())
    }
}
