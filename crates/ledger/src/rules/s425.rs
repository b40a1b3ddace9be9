//! The constants of rule set `s425`, after Bittensor's subtensor at spec version 425.
//!
//! One table for all rules: each constant bears the chain's name and where its value stands there. A profile may give
//! others where it says so; what a profile does not name is fixed here.

use templar_base::RAO_PER_TAO;
use templar_chain::{BondsRule, LiquidAlpha, YumaRule};

/// The most that is ever issued, of TAO and of alpha, in rao. `TotalSupply`, `pallets/subtensor/src/lib.rs`.
pub const TOTAL_SUPPLY: u64 = 21_000_000 * RAO_PER_TAO;
/// Issued per block before any halving, in rao. `DefaultBlockEmission`, `pallets/subtensor/src/lib.rs`.
pub const BLOCK_EMISSION: u64 = RAO_PER_TAO;
/// The owner's part of what a subnet emits, in 1/65535. `DefaultSubnetOwnerCut`, `pallets/subtensor/src/lib.rs`.
pub const OWNER_CUT: u16 = 11_796;
/// A validator's part of its stakers' dividends at most, and unless it says otherwise, in 1/65535.
/// `InitialDefaultDelegateTake`, `runtime/src/lib.rs`.
pub const DELEGATE_TAKE: u16 = 11_796;
/// Blocks between two rises of a validator's part. `InitialTxDelegateTakeRateLimit`, `runtime/src/lib.rs`.
pub const TAKE_RATE_LIMIT_BLOCKS: u64 = 216_000;
/// What TAO staked on the root counts for beside alpha, in 2^-32: 0.18. `InitialTaoWeight`, `runtime/src/lib.rs`.
pub const TAO_WEIGHT: u64 = 773_094_113;
/// Blocks from epoch to epoch. `InitialTempo`, `runtime/src/lib.rs`.
pub const TEMPO: u32 = 360;
/// Slots of a subnet. `InitialMaxAllowedUids`, `runtime/src/lib.rs`.
pub const MAX_UIDS: u16 = 256;
/// Validators with a permit, the owner apart. `InitialMaxAllowedValidators`, `runtime/src/lib.rs`.
pub const MAX_VALIDATORS: u16 = 64;
/// Blocks during which a new slot is protected. `InitialImmunityPeriod`, `runtime/src/lib.rs`.
pub const IMMUNITY_BLOCKS: u64 = 5_000;
/// So many slots without immunity are left in peace. `MinNonImmuneUids`, `pallets/subtensor/src/lib.rs`.
pub const MIN_NON_IMMUNE: u16 = 10;
/// So many of the owner's slots are never pruned. `DefaultImmuneOwnerUidsLimit`, `pallets/subtensor/src/lib.rs`.
pub const IMMUNE_OWNER_SLOTS: usize = 1;
/// Price of a slot at the start, in rao. `InitialBurn`, `runtime/src/lib.rs`.
pub const BURN_INITIAL: u64 = RAO_PER_TAO;
/// The price of a slot never falls under this, in rao. `InitialMinBurn`, `runtime/src/lib.rs`.
pub const BURN_MINIMUM: u64 = 500_000;
/// The price of a slot never rises over this, in rao. `InitialMaxBurn`, `runtime/src/lib.rs`.
pub const BURN_MAXIMUM: u64 = 100 * RAO_PER_TAO;
/// Blocks in which the price of a slot halves. `DefaultBurnHalfLife`, `pallets/subtensor/src/lib.rs`.
pub const BURN_HALF_LIFE_BLOCKS: u32 = 360;
/// What a registration multiplies the price of a slot by, in thousandths. `DefaultBurnIncreaseMult`,
/// `pallets/subtensor/src/lib.rs`.
pub const BURN_RISE_PER_MILLE: u32 = 1_260;
/// The least stake that is taken or left, in rao. `DefaultMinStake`, `pallets/subtensor/src/lib.rs`.
pub const MINIMUM_STAKE: u64 = 2_000_000;
/// Stake from which on a uid counts and may set weights, in the smallest unit. `StakeThreshold`, as set on the chain.
pub const STAKE_THRESHOLD: u64 = 1_000 * RAO_PER_TAO;
/// The majority that decides a weight, in 1/65535. `InitialKappa`, `runtime/src/lib.rs`.
pub const KAPPA: u16 = 32_767;
/// How much of a bond stays, in millionths. `InitialBondsMovingAverage`, `runtime/src/lib.rs`.
pub const BONDS_MOVING_AVERAGE: u64 = 900_000;
/// How much of a weight over the consensus is lost for bonds, in 1/65535. `InitialBondsPenalty`, `runtime/src/lib.rs`.
pub const BONDS_PENALTY: u16 = 65_535;
/// Blocks after which a silent validator is inactive. `InitialActivityCutoff`, `runtime/src/lib.rs`.
pub const ACTIVITY_CUTOFF_BLOCKS: u64 = 5_000;
/// Bounds and steepness of liquid alpha where it is on. `DefaultAlphaValues` and `DefaultAlphaSigmoidSteepness`,
/// `pallets/subtensor/src/lib.rs`.
pub const LIQUID_ALPHA: LiquidAlpha = LiquidAlpha { low: 45_875, high: 58_982, steepness: 1_000 };
/// Blocks between two weight settings of a validator. `InitialWeightsSetRateLimit`, `runtime/src/lib.rs`.
pub const WEIGHTS_RATE_LIMIT_BLOCKS: u64 = 100;
/// Weight commits of a key that wait for their reveal, at most. `MAX_UNREVEALED_COMMITS`,
/// `pallets/subtensor/src/subnets/weights.rs`.
pub const MAX_OPEN_WEIGHT_COMMITS: usize = 10;
/// Epochs from a weight commit to its reveal. `DefaultRevealPeriodEpochs`, `pallets/subtensor/src/lib.rs`.
pub const REVEAL_PERIOD_EPOCHS: u64 = 1;
/// What a trade costs, in 1/65535. `DefaultFeeRate`, `pallets/swap/src/pallet/mod.rs`.
pub const FEE_RATE: u16 = 33;
/// No reserve falls under this by a trade, in the smallest unit. `MinimumReserve`, `runtime/src/lib.rs`.
pub const LEAST_RESERVE: u64 = 1_000_000;
/// How fast the moving price follows the price in the end, in 10^-18 a block. `InitialSubnetMovingAlpha`,
/// `pallets/subtensor/src/lib.rs`.
pub const MOVING_ALPHA_E18: u64 = 3_000_000_000_000;
/// Blocks after which the moving price follows at half that pace. `InitialEmaPriceHalvingPeriod`, `runtime/src/lib.rs`.
pub const MOVING_PRICE_HALVING_BLOCKS: u64 = 201_600;
/// The least that a new subnet locks, in rao. `InitialNetworkMinLockCost`, `runtime/src/lib.rs`.
pub const LOCK_MINIMUM: u64 = 1_000 * RAO_PER_TAO;
/// Blocks in which the cost of a new subnet falls by the last one. `InitialNetworkLockReductionInterval`,
/// `runtime/src/lib.rs`.
pub const LOCK_REDUCTION_BLOCKS: u64 = 100_800;
/// Bytes of commitments of a key in a tempo. `MaxSpace`, `pallets/commitments/src/lib.rs`.
pub const COMMITMENT_BYTES_PER_TEMPO: u32 = 3_100;

/// Yuma as a new subnet has it.
pub const YUMA: YumaRule = YumaRule {
    activity_cutoff_blocks: ACTIVITY_CUTOFF_BLOCKS,
    kappa: KAPPA,
    bonds_moving_average: BONDS_MOVING_AVERAGE,
    bonds_penalty: BONDS_PENALTY,
    bonds: BondsRule::Yuma3,
    liquid_alpha: None,
    max_validators: MAX_VALIDATORS,
};
