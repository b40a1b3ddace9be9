//! Evidence of an audit that holds.

use crate::table::Paint;
use templar_node::Proof;

/// What evidence proves, and what it takes from the ledger.
pub fn proof_text(proof: &Proof, paint: Paint) -> String {
    let mut text = format!("{}: {}\n\nif the ledger shows that\n", paint.red("fraud is proven"), proof.fault);
    proof.on_the_ledger.iter().for_each(|fact| text += &format!("  {fact}\n"));
    text
}
