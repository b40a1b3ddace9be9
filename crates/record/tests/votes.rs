//! The votes of electors are asked for by their keys, which a chain behind a network has to prove: what it lists of itself
//! decides nothing.

use async_trait::async_trait;
use parity_scale_codec::Encode;
use std::sync::Arc;
use templar_base::{BlockNumber, ContentHash, Findings, Keypair, Netuid, PublicKey, Rao, RunId, Uid, Window};
use templar_chain::{
    BlockHeader, Call, Chain, ChainError, CommitmentRecord, Commitments, HeadStream, Hyperparameters,
    IndexedCommitment, Metagraph, Receipt, Topic,
};
use templar_ledger::{LocalChain, Profile};
use templar_record::PublicRecord;
use templar_round::{Elector, Vote, VoteSeal};

const NETUID: Netuid = Netuid(3);
const WINDOW: Window = Window(2);

/// A chain whose lists leave out everything.
struct Forgetful(LocalChain);

#[async_trait]
impl Chain for Forgetful {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        self.0.head().await
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        self.0.header(block).await
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        self.0.subscribe_heads().await
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.0.metagraph(netuid, at).await
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.0.hyperparameters(netuid).await
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError> {
        self.0.submit(signer, call).await
    }
}

#[async_trait]
impl Commitments for Forgetful {
    async fn commitments(&self, _: Netuid, _: Topic, _: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        Ok(Vec::new())
    }

    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        self.0.last_reports(netuid).await
    }

    async fn commitments_of(
        &self,
        netuid: Netuid,
        topic: Topic,
        index: u64,
        hotkeys: &[PublicKey],
    ) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.0.commitments_of(netuid, topic, index, hotkeys).await
    }
}

#[tokio::test]
async fn a_list_that_leaves_a_vote_out_leaves_no_vote_out() {
    let key = |name: &str| Keypair::from_uri(&format!("//{name}")).unwrap();
    let owner = key("Alice");
    let chain = LocalChain::in_memory(&Profile::local(owner.public(), &[])).unwrap().with_block_on_submit();
    let (one, stranger) = (key("one"), key("stranger"));
    let hotkey = one.public();
    let register = Call::Register { netuid: NETUID, hotkey, max_price: None };
    let stake = Call::AddStake { hotkey, netuid: NETUID, amount: Rao::from_whole(50) };
    for call in [register, stake] {
        chain.submit(&owner, call).await.unwrap();
    }
    chain.advance(20).unwrap();
    let vote = Vote::new(Findings::default(), ContentHash::default()).unwrap();
    let seal = VoteSeal::of(RunId::default(), WINDOW, hotkey, &vote);
    let call = Call::Commit { netuid: NETUID, topic: Topic::VoteSeal, index: WINDOW.0, data: seal.encode() };
    chain.submit(&one, call).await.unwrap();

    let record = PublicRecord::new(Arc::new(Forgetful(chain)), NETUID);
    let elector = |uid: u16, key: &Keypair| Elector { uid: Uid(uid), hotkey: key.public(), stake: 1 };
    let (_, seals) = record.vote_seals(WINDOW, &[elector(0, &one), elector(1, &stranger)]).await.unwrap();
    assert_eq!(seals.iter().map(|seal| seal.hotkey).collect::<Vec<_>>(), [hotkey]);
    let (_, none) = record.vote_seals(WINDOW, &[elector(1, &stranger)]).await.unwrap();
    assert!(none.is_empty());
}
