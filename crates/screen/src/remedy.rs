//! What helps where a ledger rejects something.

use templar_chain::{ChainError, Refusal};

/// The command that helps; none where none does.
pub fn remedy(error: &ChainError) -> Option<String> {
    let ChainError::Refused { refusal } = error else {
        return match error {
            ChainError::Undecided { .. } => Some("check whether it counted: `templar token balance`".to_owned()),
            _ => None,
        };
    };
    Some(match refusal {
        Refusal::InsufficientBalance { .. } | Refusal::NotEnoughBalanceToStake { .. } => {
            "see the balance with `templar token balance`; another wallet can send more with `templar token transfer`"
                .to_owned()
        }
        Refusal::NotEnoughStakeToWithdraw { .. } => {
            "see what is staked with `templar token balance`; `templar token unstake all` takes everything".to_owned()
        }
        Refusal::HotKeyAccountNotExists { .. } => {
            "give the hotkey a slot with `templar token register`, or see who has one: `templar token metagraph`"
                .to_owned()
        }
        Refusal::NonAssociatedColdKey { .. } => "name the wallet that owns the hotkey with --wallet".to_owned(),
        Refusal::RegistrationPriceLimitExceeded { price, .. } => {
            format!("raise the limit: templar token register --max-price {price}")
        }
        Refusal::Pool(_) => "trade less, or allow more with --slippage or --partial".to_owned(),
        Refusal::Governance(_) => "see the proposals with `templar governance list`".to_owned(),
        Refusal::Access(_) => "see the terms and your account with `templar access show`".to_owned(),
        Refusal::InsufficientAlpha { .. } => {
            "see what is staked with `templar token balance`; `templar token stake` buys more".to_owned()
        }
        Refusal::HotKeyAlreadyRegisteredInSubNet { .. } => "see its slot with `templar token metagraph`".to_owned(),
        _ => return None,
    })
}
