//! What blocks do to the ledger's state, and what is refused.

mod damage;
mod economy;
mod floods;
mod hostile;
mod lasting;
mod pay;
mod rules;
mod signed;
#[path = "../support/mod.rs"]
mod support;
