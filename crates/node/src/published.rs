//! Which checkpoints the validators publish, and how they stand to what most of the stake applied.

use crate::checkpoint::{fetch_manifest, majority_before};
use crate::{NodeError, PublicRecord, Run};
use std::time::Duration;
use templar_base::{Alpha, PublicKey, StateHash, Uid, Window};
use templar_ledger::ChainError;
use tokio::task::JoinSet;

/// How long one bucket may take to answer: a list is looked at by somebody who waits.
const OFFER_DEADLINE: Duration = Duration::from_secs(20);

/// The checkpoint at the start of one window.
#[derive(Debug)]
pub struct PublishedCheckpoint {
    /// The window whose start it is.
    pub window: Window,
    /// The state hash that most of the stake applied; none where there is no such majority (yet).
    pub agreed: Option<StateHash>,
    /// What each validator of that time has, by uid.
    pub offers: Vec<Offer>,
}

/// What one validator's bucket has.
#[derive(Debug)]
pub struct Offer {
    /// The validator's slot at that time.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its stake at that time.
    pub stake: Alpha,
    /// Its manifest, or why there is none that can be used.
    pub checkpoint: Result<OfferedCheckpoint, NodeError>,
}

/// What a signed manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedCheckpoint {
    /// State hash of the parameters.
    pub state: StateHash,
    /// Size of all files.
    pub bytes: u64,
}

/// The checkpoints of the windows that are kept, newest first. At most `limit` windows are looked at.
pub async fn published_checkpoints(
    run: &Run,
    record: &PublicRecord,
    limit: usize,
) -> Result<Vec<PublishedCheckpoint>, NodeError> {
    let head = record.chain.head().await?.number;
    let Some(current) = run.phases.window_of(head) else { return Ok(Vec::new()) };
    let oldest = run.phases.oldest_kept(current);
    let mut published = Vec::new();
    let mut candidate = run.phases.checkpoint_at_or_before(current);
    while let Some(window) = candidate.filter(|window| *window >= oldest && published.len() < limit) {
        match published_at(run, record, window).await {
            Ok(checkpoint) => published.push(checkpoint),
            // The ledger keeps less history than the run keeps windows: older ones are not to be had either.
            Err(NodeError::Chain(ChainError::Pruned { .. })) => break,
            Err(error) => return Err(error),
        }
        candidate = window.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Ok(published)
}

async fn published_at(run: &Run, record: &PublicRecord, window: Window) -> Result<PublishedCheckpoint, NodeError> {
    let agreed = majority_before(run, record, window).await?.map(|majority| majority.applied.state);
    // Checkpoints begin with window 1, so that there is a window before.
    let electors = record.electors(&run.phases, window.previous().unwrap_or_default()).await?;
    let mut tasks = JoinSet::new();
    for elector in electors {
        let (run, record) = (run.clone(), record.clone());
        tasks.spawn(async move {
            let asked = fetch_manifest(&run, &record, window, elector.hotkey);
            let late = NodeError::Deadline { what: "an answer of the bucket", seconds: OFFER_DEADLINE.as_secs() };
            let manifest = tokio::time::timeout(OFFER_DEADLINE, asked).await.unwrap_or(Err(late));
            let checkpoint = manifest.map(|manifest| {
                // The manifest's numbers were added up when it was read.
                let bytes = manifest.total_bytes().unwrap_or(u64::MAX);
                OfferedCheckpoint { state: manifest.state, bytes }
            });
            Offer { uid: elector.uid, hotkey: elector.hotkey, stake: Alpha(elector.stake), checkpoint }
        });
    }
    let mut offers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        offers.push(joined.map_err(|_| NodeError::WorkerGone)?);
    }
    offers.sort_by_key(|offer| offer.uid);
    Ok(PublishedCheckpoint { window, agreed, offers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{self, agreed_state, fetch_latest_checkpoint};
    use crate::{CheckpointFile, CheckpointManifest, Network};
    use parity_scale_codec::Encode;
    use std::sync::Arc;
    use templar_base::*;
    use templar_bucket::{Bucket, BucketLocation};
    use templar_corpus::{Corpus, CorpusBuilder, Source};
    use templar_engine::{NumericsId, initial_parameters, preset};
    use templar_gradient::{OuterState, state_hash};
    use templar_ledger::{Call, Chain, LocalChain, Profile, Topic};
    use templar_round::{Applied, ObjectKey, Signed};

    const SUBNET: Netuid = Netuid(3);
    const SEED: [u8; 32] = [7; 32];
    const AT: Window = Window(3);

    fn run(name: &str) -> Run {
        let folder = std::env::temp_dir().join(format!("templar-published-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let text = Source::Synthetic { seed: 3, bytes: 200_000 };
        CorpusBuilder::new().source(text, "synthetic", "made here").vocab_size(320).build(&folder, |_| {}).unwrap();
        let corpus = Corpus::open(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let model = preset("nano", 320).unwrap();
        let first_state = state_hash(&initial_parameters(&model, SEED));
        let genesis = Genesis {
            version: GENESIS_VERSION,
            name: "published".to_owned(),
            ledger: Default::default(),
            netuid: SUBNET,
            clock: WindowClock { start_block: BlockNumber(0), blocks_per_window: 26 },
            budget: WindowBudget {
                seal_blocks: 5,
                reveal_blocks: 4,
                judge_blocks: 9,
                apply_blocks: 11,
                retention_windows: 8,
                checkpoint_windows: 3,
            },
            numerics: NumericsId::STRICT.to_string(),
            first_parameters: FirstParameters::Seed(ContentHash::new(SEED)),
            first_state,
            data: DataRule {
                tokenizer: corpus.tokenizer().hash(),
                manifest: corpus.manifest_hash(),
                sequence_length: 32,
                sequences_per_batch: 2,
                batches_per_window: 2,
                slots: 4,
                documents: Default::default(),
            },
            model,
            inner: InnerOptimiser {
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: 0.1,
                clip_norm: 1.0,
                hidden_matrices: Default::default(),
                schedule: InnerSchedule {
                    peak: 4e-3,
                    warm_up_windows: 1,
                    decay_from_window: 200,
                    decay_to_window: 1000,
                    final_share: 0.1,
                },
            },
            outer: OuterRule {
                error_feedback_decay: 0.95,
                tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: 64 }],
                alpha: 1.0,
                final_alpha: 0.65,
                decay_from_window: 200,
                decay_to_window: 1000,
                scale_clip: 4,
                merge: Default::default(),
                domain: Default::default(),
                values: Default::default(),
                step: Default::default(),
            },
            judging: JudgingRule {
                evaluation_sequences: 8,
                evaluation_parts: 4,
                selected: 15,
                newcomer_places: 2,
                newcomer_windows: 8,
                admission_share: 0.4,
                confirmation_share: 0.5,
                copy_agreement: 0.25,
                rating_process_noise: 0.02,
                held_out_sequences: 4,
            },
            economics: Economics {
                averaged_windows: 4,
                unselected_share: 0.15,
                ramp_windows: 2,
                weights_every_windows: 1,
            },
        };
        Run::new(genesis, Arc::new(corpus)).unwrap()
    }

    /// Three validators of equal stake at the start of window 3: two applied `good`, the third applied `bad`.
    async fn validators(run: &Run, name: &str, good: StateHash, bad: StateHash) -> (PublicRecord, Vec<Network>) {
        let owner = Keypair::from_uri("//owner").unwrap();
        let mut profile = Profile::local(owner.public(), &[]);
        profile.block_emission = Rao(0);
        let chain = LocalChain::in_memory(&profile).unwrap();
        let submitting = chain.with_block_on_submit();
        let mut networks = Vec::new();
        for number in 0..3 {
            let key = Keypair::from_uri(&format!("//{name}//{number}")).unwrap();
            let hotkey = key.public();
            let location = BucketLocation::memory(&format!("{name}-{number}")).unwrap();
            let bucket = Bucket::open_writer(&location, None).unwrap();
            let amount = Rao(500 * RAO_PER_TAO);
            for call in [
                Call::Register { netuid: SUBNET, hotkey, max_price: None },
                Call::AddStake { hotkey, netuid: SUBNET, amount },
            ] {
                submitting.submit(&owner, call).await.unwrap();
            }
            let mut network = Network::new(Arc::new(submitting.clone()), SUBNET, key, bucket);
            network.local_buckets = true;
            network.announce_bucket().await.unwrap();
            networks.push(network);
        }
        let head = chain.head().await.unwrap().number;
        chain.advance(run.phases.start(AT).0 - head.0).unwrap();
        for (network, state) in networks.iter().zip([good, good, bad]) {
            let applied = Applied { aggregate: None, state };
            network.commit(Topic::Applied, AT.0 - 1, applied.encode()).await.unwrap();
        }
        let mut record = PublicRecord::new(Arc::new(chain), SUBNET);
        record.local_buckets = true;
        (record, networks)
    }

    #[tokio::test]
    async fn a_reader_sees_who_offers_the_agreed_state_and_fetches_only_that() {
        let mut run = run("list");
        // A run with a momentum, which is part of the state: the stranger has another one and the same parameters.
        Arc::make_mut(&mut run.genesis).outer.step = StepRule::Nesterov { momentum: 0.9 };
        let (params, momentum) = (vec![0.5; run.layout.parameters()], vec![0.125; run.layout.parameters()]);
        let agreed = OuterState { params, momentum };
        let strange = OuterState { momentum: vec![0.25; run.layout.parameters()], ..agreed.clone() };
        let good = agreed.hash();
        let (record, networks) = validators(&run, "list", good, strange.hash()).await;
        checkpoint::publish(&run, &networks[1], AT, agreed.clone()).await.unwrap();
        checkpoint::publish(&run, &networks[2], AT, strange).await.unwrap();

        let published = published_checkpoints(&run, &record, 9).await.unwrap();
        assert_eq!(published.len(), 1);
        assert_eq!((published[0].window, published[0].agreed), (AT, Some(good)));
        let offered =
            |uid: usize| published[0].offers[uid].checkpoint.as_ref().ok().map(|offered| offered.state == good);
        assert_eq!([offered(0), offered(1), offered(2)], [None, Some(true), Some(false)]);
        assert_eq!(agreed_state(&run, &record, AT).await.unwrap(), Some(good));
        assert!(matches!(agreed_state(&run, &record, Window(4)).await, Err(NodeError::NotYet { .. })));

        let scratch = std::env::temp_dir().join(format!("templar-published-scratch-list-{}", std::process::id()));
        let (window, files) = fetch_latest_checkpoint(&run, &record, AT, &scratch).await.unwrap();
        assert_eq!(window, AT);
        let values = |name: &str| {
            let (_, bytes) = files.iter().find(|(other, _)| other == name).unwrap();
            run.parameters_of(bytes).unwrap()
        };
        let (params, momentum) = (values("model.safetensors"), values(checkpoint::MOMENTUM_FILE));
        assert_eq!(OuterState { params, momentum }, agreed);
    }

    #[tokio::test]
    async fn a_manifest_puts_no_file_of_its_own_into_the_folder_and_cannot_overflow() {
        let run = run("hostile");
        let params = vec![0.5; run.layout.parameters()];
        let good = state_hash(&params);
        let (record, networks) = validators(&run, "hostile", good, good).await;
        let hostile = &networks[0];
        checkpoint::publish(&run, hostile, AT, OuterState::new(params)).await.unwrap();
        let honest = fetch_manifest(&run, &record, AT, hostile.hotkey.public()).await.unwrap();
        let key = ObjectKey::CheckpointManifest(AT).to_string();
        let publish = async |manifest: CheckpointManifest| {
            let signed = Signed::new(manifest, run.id, AT, "checkpoint", &hostile.hotkey).unwrap();
            hostile.bucket.put(&key, signed.to_bytes().unwrap().into()).await.unwrap();
        };

        let mut manifest = honest.clone();
        let evil = |bytes| CheckpointFile { name: "../../evil".to_owned(), bytes, hash: ContentHash::default() };
        // In the bucket files are named by their place in the manifest.
        let tokenizer = manifest.files.iter_mut().find(|file| file.name == "tokenizer.json").unwrap();
        *tokenizer = evil(0);
        publish(manifest).await;
        let scratch = std::env::temp_dir().join(format!("templar-published-scratch-hostile-{}", std::process::id()));
        let (_, files) = fetch_latest_checkpoint(&run, &record, AT, &scratch).await.unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"]);

        let mut manifest = honest;
        manifest.files.extend([evil(u64::MAX), evil(2)]);
        assert_eq!(manifest.total_bytes(), None);
        publish(manifest).await;
        let refused = fetch_manifest(&run, &record, AT, hostile.hotkey.public()).await;
        assert!(matches!(refused, Err(NodeError::NotAgreed { .. })));
    }
}
