use parity_scale_codec::Encode;
use templar_base::{BlockNumber, Keypair, Rao};
use templar_chain::{Call, Transaction};
use templar_ledger::{Ledger, Profile};
#[test]
fn gen_block() {
    let owner = Keypair::from_seed([1; 32]);
    let mut ledger = Ledger::in_memory(&Profile::local(owner.public(), &[]), [1; 32]).unwrap();
    let genesis = ledger.state().genesis_hash();
    let to = Keypair::from_seed([2; 32]).public();
    for (nonce, tao) in [(0, 1), (1, 1_000_000), (2, 2)] {
        let call = Call::Transfer { to, amount: Rao::from_whole(tao) };
        ledger.queue(Transaction::sign(&owner, call, nonce, BlockNumber(9), genesis)).unwrap();
    }
    ledger.make_block(1).unwrap();
    let block = ledger.block(BlockNumber(1)).unwrap();
    assert_eq!(block.transactions.len(), 3);
    std::fs::write("tests/corpus/block/with_transactions", block.encode()).unwrap();
}
