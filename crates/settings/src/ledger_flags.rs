//! The flags of a new ledger's first block.

use clap::Args;
use templar_base::PublicKey;

/// The first block of a new ledger.
#[derive(Debug, Args)]
pub struct GenesisFlags {
    /// Rules of a new ledger: local (1 s blocks), mainnet-like (12 s blocks), or a file of `templar ledger init`
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,
    /// Address that owns the subnet and gets the first 10,000 TAO; the wallet's coldkey by default
    #[arg(long, value_name = "SS58")]
    pub owner: Option<PublicKey>,
    /// Further addresses that start with 10,000 TAO
    #[arg(long, value_name = "SS58", num_args = 1..)]
    pub fund: Vec<PublicKey>,
    /// Give ownership and funds to the well-known key //Alice, which anyone can sign for
    #[arg(long, conflicts_with = "owner")]
    pub development: bool,
}
