//! What every chain promises a node: one suite for all implementations of `Chain`, `Commitments` and `Bank`.

use std::sync::Arc;
use templar_base::{Alpha, AtFault, BlockNumber, Keypair, Netuid, Rao, Uid};
use templar_chain::{Bank, Call, Chain, ChainError, Commitments, Event, Topic};

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// Asserts the contract on `chain`, which makes blocks meanwhile, with epochs of 10 blocks, weights that are set at once,
/// and `//Alice` (the owner) and `//Bob` funded with 1000 TAO or more each. Nobody else may use the two keys.
pub async fn keeps_the_contract<C: Chain + Commitments + Bank>(chain: Arc<C>, netuid: Netuid) {
    let (alice, bob, validator, miner) = (key("Alice"), key("Bob"), key("validator"), key("miner"));
    let genesis = chain.header(BlockNumber(0)).await.unwrap();
    assert_eq!(genesis.number, BlockNumber(0));

    // Heads come in order, without gaps, and are linked by their hashes.
    let mut heads = chain.subscribe_heads().await.unwrap();
    let mut previous = heads.next().await.unwrap();
    for _ in 0..5 {
        let next = heads.next().await.unwrap();
        assert_eq!((next.number, next.parent), (previous.number.plus(1), previous.hash));
        assert_eq!(chain.header(next.number).await.unwrap(), next);
        previous = next;
    }

    // Money moves once.
    let before = chain.account(&bob.public()).await.unwrap();
    let amount = Rao::from_whole(7);
    let receipt = chain.submit(&alice, Call::Transfer { to: bob.public(), amount }).await.unwrap();
    let after = chain.account(&bob.public()).await.unwrap();
    assert_eq!(after.balance.as_rao() - before.balance.as_rao(), amount.as_rao());
    assert_eq!(chain.account(&alice.public()).await.unwrap().nonce, 1);
    let events = chain.events(receipt.block, receipt.block).await.unwrap();
    let transferred = Event::Transferred { from: alice.public(), to: bob.public(), amount };
    assert!(events.iter().any(|record| record.event == transferred && record.block == receipt.block));

    // Several calls of one key at once all count.
    let calls = (0..4).map(|_| chain.submit(&alice, Call::Transfer { to: bob.public(), amount: Rao::from_rao(1) }));
    for outcome in join_all(calls.collect()).await {
        outcome.unwrap();
    }
    assert_eq!(chain.account(&bob.public()).await.unwrap().balance.as_rao() - after.balance.as_rao(), 4);

    // Slots, stake, permits, weights.
    let cost = chain.registration_cost(netuid).await.unwrap();
    let register = |hotkey: &Keypair, max_price| Call::Register { netuid, hotkey: hotkey.public(), max_price };
    let error = chain.submit(&bob, register(&validator, Some(Rao::from_rao(cost.as_rao() - 1)))).await.unwrap_err();
    assert_eq!(error.chain_name().unwrap(), "RegistrationPriceLimitExceeded");
    chain.submit(&bob, register(&validator, Some(cost))).await.unwrap();
    let registered = chain.submit(&bob, register(&miner, None)).await.unwrap();
    let staked = Rao::from_whole(50);
    let hotkey = validator.public();
    chain.submit(&bob, Call::AddStake { hotkey, netuid, amount: staked }).await.unwrap();
    // The fee and the price it moves cost a little.
    assert!(chain.stake(&hotkey, &bob.public()).await.unwrap().as_rao() > staked.as_rao() / 100 * 99);
    let too_much = Call::AddStake { hotkey, netuid, amount: Rao::from_rao(u64::MAX) };
    let error = chain.submit(&bob, too_much).await.unwrap_err();
    assert_eq!(error.chain_name().unwrap(), "NotEnoughBalanceToStake");
    assert!(!error.is_retryable());
    while !chain.metagraph(netuid, None).await.unwrap().neurons[0].permit {
        heads.next().await.unwrap();
    }
    let weights = Call::SetWeights { netuid, uids: vec![Uid(1)], values: vec![9], version_key: 0 };
    let set = chain.submit(&validator, weights).await.unwrap();
    let metagraph = chain.metagraph(netuid, Some(set.block)).await.unwrap();
    let neuron = metagraph.neuron(&hotkey).unwrap();
    assert_eq!((neuron.uid, neuron.coldkey, neuron.last_update), (Uid(0), bob.public(), set.block));
    assert_eq!(neuron.weights, Some(vec![(Uid(1), 65535)]));
    assert_eq!(metagraph.validators().count(), 1);
    let earlier = chain.metagraph(netuid, Some(BlockNumber(registered.block.0 - 1))).await.unwrap();
    assert_eq!(earlier.neurons.len(), 1);
    while chain.metagraph(netuid, None).await.unwrap().neurons[1].emission == Alpha::ZERO {
        heads.next().await.unwrap();
    }

    // Commitments.
    let commit = |topic, index, text: &str| Call::Commit { netuid, topic, index, data: text.as_bytes().to_vec() };
    let sealed = chain.submit(&miner, commit(Topic::Sealed, 2, "digest")).await.unwrap();
    let error = chain.submit(&miner, commit(Topic::Sealed, 2, "other")).await.unwrap_err();
    assert_eq!(error.chain_name().unwrap(), "CommitmentExists");
    chain.submit(&miner, commit(Topic::Bucket, 0, "there")).await.unwrap();
    let found = chain.commitments(netuid, Topic::Sealed, 2).await.unwrap();
    assert_eq!((found.len(), found[0].block, found[0].data.as_slice()), (1, sealed.block, &b"digest"[..]));
    assert_eq!(chain.bucket_commitments(netuid).await.unwrap()[0].data, b"there");
    // Of keys that are asked for, each once, whether they have such a record or none.
    let asked = [validator.public(), miner.public(), key("stranger").public(), miner.public()];
    assert_eq!(chain.commitments_of(netuid, Topic::Sealed, 2, &asked).await.unwrap(), found);
    assert_eq!(chain.commitments_of(netuid, Topic::Sealed, 2, &asked[2..3]).await.unwrap(), []);
    assert_eq!(chain.commitments_of(netuid, Topic::Vote, 2, &asked).await.unwrap(), []);

    // What does not exist is named.
    let head = chain.head().await.unwrap();
    let future = chain.header(head.number.plus(1_000)).await;
    assert!(matches!(future, Err(ChainError::NoSuchBlock { .. })));
    assert!(matches!(chain.hyperparameters(Netuid(9)).await, Err(ChainError::NoSuchSubnet { .. })));
    assert!(matches!(chain.events(BlockNumber(1), BlockNumber(100_000)).await, Err(ChainError::NoSuchBlock { .. })));
    let stranger = chain.submit(&key("stranger"), commit(Topic::Vote, 0, "x")).await;
    assert!(matches!(stranger, Err(ChainError::NotQueued { .. })));
    assert_eq!(chain.hyperparameters(netuid).await.unwrap().tempo, 10);
}

async fn join_all<F: Future + Send>(futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}
