//! Market data of the subnet's token: candles, epochs, orders and quotes.

mod slippage;

pub use slippage::Slippage;

use crate::ChainError;
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use templar_base::{Alpha, BlockNumber, Netuid, Rao};

/// How long a candle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
pub enum Interval {
    /// One minute.
    #[serde(rename = "1m")]
    Minute,
    /// One hour.
    #[serde(rename = "1h")]
    Hour,
    /// One day.
    #[serde(rename = "1d")]
    Day,
}

impl Interval {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Its length, in milliseconds.
    pub const fn milliseconds(self) -> u64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// Candles that are kept: a day of minutes, two months of hours, four years of days.
    pub const fn kept(self) -> usize {
        match self {
            Self::Minute => 1_440,
            Self::Hour => 1_440,
            Self::Day => 1_461,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        })
    }
}

impl FromStr for Interval {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|interval| interval.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no interval: use 1m, 1h or 1d"))
    }
}

/// The trades of one interval. Prices are TAO for one token, in rao.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Candle {
    /// When the interval began, in milliseconds since 1970, by the block authority's clock.
    pub start_ms: u64,
    /// Price before the first trade.
    pub open: Rao,
    /// Highest price.
    pub high: Rao,
    /// Lowest price.
    pub low: Rao,
    /// Price after the last trade.
    pub close: Rao,
    /// TAO that changed hands.
    pub volume: Rao,
    /// Number of trades.
    pub trades: u32,
}

/// What an epoch brought into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct EpochRecord {
    /// The block at which it ended.
    pub block: BlockNumber,
    /// The owner's part.
    pub owner: Alpha,
    /// The miners' part.
    pub miners: Alpha,
    /// The validators' part.
    pub validators: Alpha,
}

/// The market at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketSummary {
    /// The newest block.
    pub block: BlockNumber,
    /// TAO for one token, in rao.
    pub price: Rao,
    /// TAO in the pool.
    pub pool_tao: Rao,
    /// Tokens in the pool.
    pub pool_alpha: Alpha,
    /// Tokens outside of the pool: what holders, purses and the treasury have.
    pub circulating: Alpha,
    /// Price times all tokens, in the pool and out of it.
    pub capitalisation: Rao,
    /// Price times all tokens that can ever be.
    pub fully_diluted: Rao,
    /// Coldkeys that hold any.
    pub holders: u64,
    /// TAO that changed hands in the last 24 hours of candles.
    pub volume_day: Rao,
    /// Price 24 hours ago, or at the oldest candle since; none without any.
    pub price_day_ago: Option<Rao>,
    /// TAO issued so far.
    pub tao_issued: Rao,
    /// TAO destroyed so far.
    pub tao_burned: Rao,
}

/// What somebody would trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Tokens for so much TAO.
    Buy(Rao),
    /// So many tokens for TAO.
    Sell(Alpha),
}

/// What an order would bring if it were carried out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The block after which it holds.
    pub block: BlockNumber,
    /// TAO paid or received.
    pub tao: Rao,
    /// Tokens received or paid.
    pub alpha: Alpha,
    /// The pool's fee, in the unit of what is paid, which includes it.
    pub fee: u64,
    /// Price of a token before.
    pub price_before: Rao,
    /// Price of a token after.
    pub price_after: Rao,
}

/// `amount` tokens at `price`, in rao; the most that fits where it is more.
pub fn worth(amount: Alpha, price: Rao) -> Rao {
    let product = u128::from(amount.as_rao()) * u128::from(price.as_rao()) / u128::from(templar_base::RAO_PER_TAO);
    Rao::from_rao(u64::try_from(product).unwrap_or(u64::MAX))
}

/// A chain with a market of the subnet's token.
#[async_trait]
pub trait Market: Send + Sync {
    /// The market at a glance.
    async fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError>;

    /// What an order would bring now; a refusal where the pool cannot fill it.
    async fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ChainError>;

    /// The newest candles, the oldest first, at most `limit`.
    async fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError>;

    /// The newest epochs, the oldest first; at most `limit` and [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    async fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError>;
}
