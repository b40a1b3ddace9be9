//! The ledger's genesis: every constant of the rules, fixed once and named by its hash.

use crate::governance::GovernanceRule;
use crate::rule_set::{RuleSet, RuleSetName};
use crate::s425;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockHash, Netuid, PublicKey, RAO_PER_TAO, Rao};
use templar_chain::YumaRule;
use templar_chain::access::AccessTerms;

/// The most TAO that can ever be issued, in rao: 21 million.
pub const MAX_ISSUANCE_RAO: u64 = s425::TOTAL_SUPPLY;

/// A profile that cannot rule a ledger; the operator is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    pub rule_set: RuleSetName,
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
    /// Bytes of commitments that a hotkey may write per tempo (each costs 32 bytes more than its data).
    pub commitment_bytes_per_tempo: u32,
    /// Blocks after which a commitment other than a bucket's is dropped.
    pub commitment_retention_blocks: u64,
    /// Blocks for which headers, receipts, events and metagraphs are kept.
    pub history_blocks: u64,
    /// How the token's holders decide, and what they may decide.
    pub governance: GovernanceRule,
    /// The first terms of access.
    pub access: AccessTerms,
}

impl Profile {
    /// A network on one machine: one-second blocks, tempo 10, cheap slots, no waiting.
    ///
    /// `owner` and each key of `funded` begin with 10 000 TAO.
    pub fn local(owner: PublicKey, funded: &[PublicKey]) -> Self {
        let mut initial_balances: Vec<(PublicKey, Rao)> = Vec::new();
        for key in std::iter::once(&owner).chain(funded) {
            if !initial_balances.iter().any(|(known, _)| known == key) {
                initial_balances.push((*key, Rao(10_000 * RAO_PER_TAO)));
            }
        }
        Self {
            name: "local".to_owned(),
            salt: 0,
            rule_set: RuleSetName::S425,
            netuid: Netuid(3),
            owner,
            block_time_ms: 1_000,
            tempo: 10,
            max_uids: 1024,
            // Miners hold stake and never set weights: they must not count as validators that say nothing for long.
            yuma: YumaRule { activity_cutoff_blocks: 200, ..s425::YUMA },
            // So much that the stakes of a network on one machine hardly move the price.
            pool: PoolRule {
                tao: Rao(1_000_000 * RAO_PER_TAO),
                alpha: Alpha(1_000_000 * RAO_PER_TAO),
                fee_rate: s425::FEE_RATE,
                least_reserve: s425::LEAST_RESERVE,
            },
            commit_reveal: true,
            initial_balances,
            registration_price: RegistrationPrice {
                initial: Rao(RAO_PER_TAO / 10),
                minimum: Rao(500_000),
                maximum: Rao(100 * RAO_PER_TAO),
                half_life_blocks: 0,
                rise_per_mille: 1_000,
            },
            immunity_blocks: 100,
            min_non_immune: 0,
            weights_rate_limit_blocks: 5,
            weights_version: 0,
            weights_stake_threshold: Alpha(RAO_PER_TAO),
            minimum_stake: Rao(s425::MINIMUM_STAKE),
            block_emission: Rao(s425::BLOCK_EMISSION),
            commitment_bytes_per_tempo: 8 * 1024,
            commitment_retention_blocks: 2_000,
            history_blocks: 4_096,
            governance: GovernanceRule::local(),
            access: AccessTerms::local(),
        }
    }

    /// The chain's own pace and prices: 12-second blocks, tempo 360, 256 slots.
    pub fn mainnet_like(owner: PublicKey, initial_balances: Vec<(PublicKey, Rao)>) -> Self {
        Self {
            name: "mainnet-like".to_owned(),
            block_time_ms: 12_000,
            tempo: s425::TEMPO,
            yuma: s425::YUMA,
            max_uids: s425::MAX_UIDS,
            pool: PoolRule {
                tao: Rao(s425::LOCK_MINIMUM),
                alpha: Alpha(s425::LOCK_MINIMUM),
                fee_rate: s425::FEE_RATE,
                least_reserve: s425::LEAST_RESERVE,
            },
            commit_reveal: true,
            initial_balances,
            registration_price: RegistrationPrice {
                initial: Rao(s425::BURN_INITIAL),
                minimum: Rao(s425::BURN_MINIMUM),
                maximum: Rao(s425::BURN_MAXIMUM),
                half_life_blocks: s425::BURN_HALF_LIFE_BLOCKS,
                rise_per_mille: s425::BURN_RISE_PER_MILLE,
            },
            immunity_blocks: s425::IMMUNITY_BLOCKS,
            min_non_immune: s425::MIN_NON_IMMUNE,
            weights_rate_limit_blocks: s425::WEIGHTS_RATE_LIMIT_BLOCKS,
            weights_stake_threshold: Alpha(s425::STAKE_THRESHOLD),
            commitment_bytes_per_tempo: s425::COMMITMENT_BYTES_PER_TEMPO,
            commitment_retention_blocks: 50_400,
            history_blocks: 50_400,
            governance: GovernanceRule::mainnet_like(),
            access: AccessTerms::mainnet_like(),
            ..Self::local(owner, &[])
        }
    }

    /// The rules that the ledger goes by.
    pub fn rules(&self) -> &'static dyn RuleSet {
        self.rule_set.rules()
    }

    /// The hash that names the chain: BLAKE3 over the SCALE encoding.
    pub fn genesis_hash(&self) -> BlockHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"templar ledger genesis 1");
        hasher.update(&self.encode());
        BlockHash::new(*hasher.finalize().as_bytes())
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
            ("pool.tao", self.pool.tao.0, self.pool.least_reserve, MAX_ISSUANCE_RAO, "the least reserve or more"),
            ("pool.alpha", self.pool.alpha.0, self.pool.least_reserve, MAX_ISSUANCE_RAO, "the least reserve or more"),
            ("pool.least_reserve", self.pool.least_reserve, 1, RAO_PER_TAO, "1 to 1000000000"),
            ("pool.fee_rate", u64::from(self.pool.fee_rate), 0, 6_553, "6553 at most"),
            ("block_time_ms", self.block_time_ms, 10, 3_600_000, "10 to 3600000"),
            ("half_life_blocks", u64::from(price.half_life_blocks), 0, 10_000_000, "10000000 at most"),
            ("rise_per_mille", u64::from(price.rise_per_mille), 1_000, 10_000, "1000 to 10000"),
            ("history_blocks", self.history_blocks, templar_chain::MAX_MORTALITY_BLOCKS, 10_000_000, "256 to 10000000"),
            ("commitment_retention_blocks", self.commitment_retention_blocks, 1, 10_000_000, "1 to 10000000"),
            ("commitment_bytes_per_tempo", u64::from(self.commitment_bytes_per_tempo), 64, 1 << 20, "64 to 1048576"),
            ("minimum_stake", self.minimum_stake.0, 1, MAX_ISSUANCE_RAO, "1 or more"),
            ("block_emission", self.block_emission.0, 0, 1_000 * RAO_PER_TAO, "1000 TAO at most"),
            ("name length", self.name.len() as u64, 1, 64, "1 to 64 bytes"),
        ];
        for (field, value, low, high, wanted) in bounds.into_iter().chain(self.governance.bounds_of_profile()) {
            if value < low || value > high {
                return Err(ProfileError::OutOfBounds { field, value, wanted });
            }
        }
        if let Some((field, value, wanted)) = self.access.fault() {
            return Err(ProfileError::OutOfBounds { field, value, wanted });
        }
        if price.minimum > price.initial || price.initial > price.maximum {
            let value = price.initial.0;
            return Err(ProfileError::OutOfBounds { field: "registration price", value, wanted: "minimum to maximum" });
        }
        let mut keys = std::collections::BTreeSet::new();
        let mut issued = self.pool.tao.0;
        for (key, balance) in &self.initial_balances {
            if !keys.insert(*key) {
                return Err(ProfileError::DuplicateBalance(*key));
            }
            issued = issued
                .checked_add(balance.0)
                .filter(|sum| *sum <= MAX_ISSUANCE_RAO)
                .ok_or(ProfileError::TooMuchIssued)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_sound_and_differ_by_hash() {
        let owner = PublicKey::new([1; 32]);
        let (local, mainnet) = (Profile::local(owner, &[owner]), Profile::mainnet_like(owner, vec![]));
        local.check().unwrap();
        mainnet.check().unwrap();
        assert_ne!(local.genesis_hash(), mainnet.genesis_hash());
        assert_ne!(local.genesis_hash(), Profile { salt: 1, ..local.clone() }.genesis_hash());
        assert!(Profile { tempo: 0, ..local.clone() }.check().is_err());
        let twice = vec![(owner, Rao(1)), (owner, Rao(1))];
        assert_eq!(
            Profile { initial_balances: twice, ..local.clone() }.check(),
            Err(ProfileError::DuplicateBalance(owner))
        );
        let rich = vec![(owner, Rao(MAX_ISSUANCE_RAO)), (PublicKey::new([2; 32]), Rao(1))];
        assert_eq!(Profile { initial_balances: rich, ..local }.check(), Err(ProfileError::TooMuchIssued));
    }
}
