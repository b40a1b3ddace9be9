//! Profiles to start from.

use crate::rules::s425;
use crate::state::{GovernanceRule, LoadRule, PoolRule, Profile, RegistrationPrice, RuleSet};
use templar_base::{Alpha, Netuid, PublicKey, RAO_PER_TAO, Rao};
use templar_chain::access::AccessTerms;
use templar_chain::{AuthorityKey, YumaRule};

impl Profile {
    /// A network on one machine: one-second blocks, tempo 10, cheap slots, no waiting.
    ///
    /// `owner` and each key of `funded` begin with 10 000 TAO.
    pub fn local(owner: PublicKey, funded: &[PublicKey]) -> Self {
        let mut initial_balances: Vec<(PublicKey, Rao)> = Vec::new();
        for key in std::iter::once(&owner).chain(funded) {
            if !initial_balances.iter().any(|(known, _)| known == key) {
                initial_balances.push((*key, Rao::from_whole(10_000)));
            }
        }
        Self {
            name: "local".to_owned(),
            salt: 0,
            rule_set: RuleSet::S425,
            netuid: Netuid(3),
            owner,
            block_time_ms: 1_000,
            tempo: 10,
            max_uids: 1024,
            // Miners hold stake and never set weights: they must not count as validators that say nothing for long.
            yuma: YumaRule { activity_cutoff_blocks: 200, ..s425::YUMA },
            // So much that the stakes of a network on one machine hardly move the price.
            pool: PoolRule {
                tao: Rao::from_whole(1_000_000),
                alpha: Alpha::from_whole(1_000_000),
                fee_rate: s425::FEE_RATE,
                least_reserve: s425::LEAST_RESERVE,
            },
            commit_reveal: true,
            initial_balances,
            registration_price: RegistrationPrice {
                initial: Rao::from_rao(RAO_PER_TAO / 10),
                minimum: Rao::from_rao(500_000),
                maximum: Rao::from_whole(100),
                half_life_blocks: 0,
                rise_per_mille: 1_000,
            },
            immunity_blocks: 100,
            min_non_immune: 0,
            weights_rate_limit_blocks: 5,
            weights_version: 0,
            weights_stake_threshold: Alpha::from_rao(RAO_PER_TAO),
            minimum_stake: Rao::from_rao(s425::MINIMUM_STAKE),
            block_emission: Rao::from_rao(s425::BLOCK_EMISSION),
            commitment_bytes_per_tempo: 8 * 1024,
            commitment_retention_blocks: 2_000,
            history_blocks: 4_096,
            governance: GovernanceRule::local(),
            access: AccessTerms::local(),
            load: LoadRule::default(),
            authority_key: AuthorityKey::default(),
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
                tao: Rao::from_rao(s425::LOCK_MINIMUM),
                alpha: Alpha::from_rao(s425::LOCK_MINIMUM),
                fee_rate: s425::FEE_RATE,
                least_reserve: s425::LEAST_RESERVE,
            },
            commit_reveal: true,
            initial_balances,
            registration_price: RegistrationPrice {
                initial: Rao::from_rao(s425::BURN_INITIAL),
                minimum: Rao::from_rao(s425::BURN_MINIMUM),
                maximum: Rao::from_rao(s425::BURN_MAXIMUM),
                half_life_blocks: s425::BURN_HALF_LIFE_BLOCKS,
                rise_per_mille: s425::BURN_RISE_PER_MILLE,
            },
            immunity_blocks: s425::IMMUNITY_BLOCKS,
            min_non_immune: s425::MIN_NON_IMMUNE,
            weights_rate_limit_blocks: s425::WEIGHTS_RATE_LIMIT_BLOCKS,
            weights_stake_threshold: Alpha::from_rao(s425::STAKE_THRESHOLD),
            // As many commitments as the chain's 3100 bytes hold of its smallest, of 100 bytes: each costs 256 here.
            commitment_bytes_per_tempo: 8 * 1024,
            commitment_retention_blocks: 50_400,
            history_blocks: 50_400,
            governance: GovernanceRule::mainnet_like(),
            access: AccessTerms::mainnet_like(),
            ..Self::local(owner, &[])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{MAX_ISSUANCE_RAO, ProfileError};

    #[test]
    fn the_profiles_are_sound_and_differ_by_hash() {
        let owner = PublicKey::new([1; 32]);
        let (local, mainnet) = (Profile::local(owner, &[owner]), Profile::mainnet_like(owner, vec![]));
        local.check().unwrap();
        mainnet.check().unwrap();
        assert_ne!(local.genesis_hash(), mainnet.genesis_hash());
        assert_ne!(local.genesis_hash(), Profile { salt: 1, ..local.clone() }.genesis_hash());
        let [ours, theirs] = [[1; 32], [2; 32]].map(|secret| local.clone().with_authority(&secret).genesis_hash());
        assert!(ours != theirs && ours != local.genesis_hash(), "the key is in the name");
        assert!(Profile { tempo: 0, ..local.clone() }.check().is_err());
        let twice = vec![(owner, Rao::from_rao(1)), (owner, Rao::from_rao(1))];
        assert_eq!(
            Profile { initial_balances: twice, ..local.clone() }.check(),
            Err(ProfileError::DuplicateBalance(owner))
        );
        let rich = vec![(owner, Rao::from_rao(MAX_ISSUANCE_RAO)), (PublicKey::new([2; 32]), Rao::from_rao(1))];
        assert_eq!(Profile { initial_balances: rich, ..local }.check(), Err(ProfileError::TooMuchIssued));
    }
}
