//! A validator with stake that does not do what the rules say.

use super::World;
use templar_base::{ContentHash, Finding, Findings, Keypair, Mark, Share, StateHash, Uid, Window};
use templar_bucket::Bucket;
use templar_chain::{Call, Topic};
use templar_round::{Applied, ObjectKey, Vote, VoteSeal};

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
    /// Whether it only guesses: see [`Rogue::guess`].
    pub guesses: bool,
}

impl Rogue {
    pub fn mischief(window: Window) -> Mischief {
        ALL[window.0 as usize % ALL.len()]
    }

    /// What somebody votes who has not judged: to merge everybody, with any numbers.
    fn guess(world: &World, window: Window) -> Vote {
        let finding = |uid: Uid| {
            let part = -3.6 + 0.6 * f64::from((uid.0 * 7 + window.0 as u16 * 3) % 13);
            Finding { uid, mark: Mark::Selected, is_sure: true, share: Some(Share::new(part, 0.2)) }
        };
        let findings = Findings { miners: world.miners().into_iter().map(finding).collect(), ..Findings::default() };
        Vote::new(findings, ContentHash::of(b"no verdict")).unwrap()
    }

    fn own_vote(&self, world: &World, window: Window) -> Option<Vote> {
        if self.guesses { Some(Self::guess(world, window)) } else { Self::vote_of(window) }
    }

    /// While the others seal their votes.
    pub fn seal_vote(&self, world: &World, window: Window) {
        if self.guesses {
            // Like the others, so that it is not known by that.
            let call = Call::CommitWeights { netuid: world.run.genesis.netuid, hash: [window.0 as u8; 32] };
            world.chain.inner.enqueue(&self.hotkey, call).unwrap();
        }
        if let Some(vote) = self.own_vote(world, window) {
            let seal = VoteSeal::of(world.run.id, window, self.hotkey.public(), &vote);
            world.commit(&self.hotkey, Topic::VoteSeal, window, World::encoded(&seal));
        }
    }

    /// When seals no longer count.
    pub fn vote(&self, world: &World, window: Window) {
        let bytes = match Self::mischief(window) {
            Mischief::Malformed if !self.guesses => vec![255; 100],
            _ => match self.own_vote(world, window) {
                Some(vote) => World::encoded(&vote),
                None => return,
            },
        };
        world.commit(&self.hotkey, Topic::Vote, window, bytes);
    }

    fn vote_of(window: Window) -> Option<Vote> {
        let uids = match Self::mischief(window) {
            Mischief::Everybody => 0..12,
            Mischief::Nobody => 0..0,
            Mischief::Malformed | Mischief::RottenAggregate | Mischief::Silent => return None,
        };
        let share = Some(Share::new(4.0, 0.0));
        let finding = |uid| Finding { uid: Uid(uid), mark: Mark::Selected, is_sure: true, share };
        let findings = Findings { miners: uids.map(finding).collect(), ..Findings::default() };
        Some(Vote::new(findings, ContentHash::of(b"no verdict")).unwrap())
    }

    /// As soon as others have reported.
    pub async fn report(&self, world: &World, window: Window) {
        if self.guesses {
            return;
        }
        let (state, record) = (StateHash::new([9; 32]), ContentHash::of(b"no ratings"));
        let applied = match Self::mischief(window) {
            Mischief::Everybody => {
                World::encoded(&Applied { aggregate: Some(ContentHash::of(b"mine")), state, record })
            }
            Mischief::Nobody => World::encoded(&Applied { aggregate: None, state, record }),
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
