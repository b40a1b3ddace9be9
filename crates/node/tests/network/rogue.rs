//! A validator with stake that does not do what the rules say.

use super::World;
use templar_base::{ContentHash, Keypair, StateHash, StepShare, Uid, Window};
use templar_bucket::Bucket;
use templar_chain::Topic;
use templar_round::{Applied, ObjectKey, Vote};

/// What a rogue does in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Votes for every slot, and reports another aggregate and state.
    Everybody,
    /// Votes for nobody, and reports a null window.
    Nobody,
    /// Votes and reports bytes that are neither.
    Malformed,
    /// Votes as validator 0 does and reports the same, but serves other bytes as the aggregate.
    RottenAggregate,
    /// Says nothing.
    Silent,
}

const ALL: [Mischief; 5] =
    [Mischief::Everybody, Mischief::Nobody, Mischief::Malformed, Mischief::RottenAggregate, Mischief::Silent];

/// A rogue validator; another mischief each window.
pub struct Rogue {
    pub hotkey: Keypair,
    pub bucket: Bucket,
}

impl Rogue {
    pub fn mischief(window: Window) -> Mischief {
        ALL[window.0 as usize % ALL.len()]
    }

    /// While the others vote.
    pub async fn vote(&self, world: &World, window: Window) {
        let everybody: Vec<Uid> = (0..12).map(Uid).collect();
        let hash = ContentHash::of(b"no verdict");
        let vote = match Self::mischief(window) {
            Mischief::Everybody => World::encoded(&Vote::new(&everybody, &everybody, StepShare::Whole, hash).unwrap()),
            Mischief::Nobody => World::encoded(&Vote::new(&[], &[], StepShare::Whole, hash).unwrap()),
            Mischief::Malformed => vec![255; 100],
            Mischief::RottenAggregate | Mischief::Silent => return,
        };
        world.commit(&self.hotkey, Topic::Vote, window, vote);
    }

    /// As soon as others have reported.
    pub async fn report(&self, world: &World, window: Window) {
        let state = StateHash::new([9; 32]);
        let applied = match Self::mischief(window) {
            Mischief::Everybody => World::encoded(&Applied { aggregate: Some(ContentHash::of(b"mine")), state }),
            Mischief::Nobody => World::encoded(&Applied { aggregate: None, state }),
            Mischief::Malformed => vec![255; 100],
            Mischief::RottenAggregate => {
                let honest = world.nodes["validator-0"].hotkey.public();
                let netuid = world.run.genesis.netuid;
                let records =
                    world.chain.inner.with(|ledger| ledger.commitments(netuid, Topic::Applied, window.0)).unwrap();
                let Some(record) = records.iter().find(|record| record.hotkey == honest) else { return };
                record.data.clone()
            }
            Mischief::Silent => return,
        };
        let bytes = vec![66; 3000];
        self.bucket.put(&ObjectKey::Aggregate(window).to_string(), bytes.into()).await.unwrap();
        world.commit(&self.hotkey, Topic::Applied, window, applied);
    }
}
