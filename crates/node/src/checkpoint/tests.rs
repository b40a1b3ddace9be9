//! What a validator publishes, read through the public record.

use super::{upload, write_draft};
use crate::{Data, Network};
use parity_scale_codec::Encode;
use std::sync::Arc;
use templar_base::*;
use templar_bucket::{Bucket, BucketLocation};
use templar_chain::{Call, Chain, Topic};
use templar_corpus::{Corpus, CorpusBuilder, Source};
use templar_engine::{NumericsId, initial_parameters, preset};
use templar_gauntlet::Ratings;
use templar_gradient::{OuterState, state_hash};
use templar_ledger::{LocalChain, Profile};
use templar_record::{
    CheckpointFile, CheckpointManifest, PublicRecord, RecordError, Rules, RunState, agreed_state,
    fetch_latest_checkpoint, fetch_latest_state, fetch_manifest, published_checkpoints,
};
use templar_round::{Applied, ObjectKey, Signed};

const SUBNET: Netuid = Netuid(3);
const SEED: [u8; 32] = [7; 32];
const AT: Window = Window(3);

async fn publish(run: &Rules, data: &Data, network: &Network, window: Window, outer: OuterState) {
    let own_folder = tempfile::tempdir().unwrap();
    let state = RunState { window, outer, ratings: Ratings::default() };
    let draft = write_draft(run, data, own_folder.path(), &state).unwrap();
    upload(run, network, window, &draft).await.unwrap();
}

fn run(name: &str) -> (Rules, Data) {
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
            hold_blocks: None,
            judge_blocks: 9,
            open_blocks: 11,
            apply_blocks: 13,
            retention_windows: 8,
            checkpoint_windows: 3,
        },
        numerics: NumericsId::STRICT.to_string(),
        open_numerics: Vec::new(),
        first_parameters: FirstParameters::Seed(ContentHash::new(SEED)),
        first_state,
        parent: None,
        data: DataRule {
            tokenizer: corpus.tokenizer().hash(),
            manifest: corpus.manifest_hash(),
            sequence_length: 32,
            sequences_per_batch: 2,
            batches_per_window: 2,
            span_sequences: 1_000,
            span_windows: 64,
            evaluation_percent: 2,
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
                ..InnerSchedule::default()
            },
        },
        outer: OuterRule {
            error_feedback_decay: 0.95,
            error_feedback_values: Default::default(),
            tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: 64 }],
            alpha: 1.0,
            final_alpha: 0.65,
            decay_from_window: 200,
            decay_to_window: 1000,
            scales: ScaleRule::Clipped { times: 4 },
            merge: Default::default(),
            domain: Default::default(),
            values: Default::default(),
            step: Default::default(),
        },
        judging: JudgingRule {
            pool: 64,
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
        economics: Economics { ramp_windows: 2, weights_every_windows: 1 },
        electors: None,
        audit: Default::default(),
        evaluation: None,
    };
    let run = Rules::new(genesis).unwrap();
    let data = Data::new(&run, Arc::new(corpus)).unwrap();
    (run, data)
}

/// Three validators of equal stake at the start of window 3: two applied `good`, the third applied `bad`.
async fn validators(run: &Rules, name: &str, good: StateHash, bad: StateHash) -> (PublicRecord, Vec<Network>) {
    let owner = Keypair::from_uri("//owner").unwrap();
    let mut profile = Profile::local(owner.public(), &[]);
    profile.block_emission = Rao::ZERO;
    let chain = LocalChain::in_memory(&profile).unwrap();
    let submitting = chain.with_block_on_submit();
    let mut networks = Vec::new();
    for number in 0..3 {
        let key = Keypair::from_uri(&format!("//{name}//{number}")).unwrap();
        let hotkey = key.public();
        let location = BucketLocation::memory(&format!("{name}-{number}")).unwrap();
        let bucket = Bucket::open_writer(&location, None).unwrap();
        let amount = Rao::from_whole(500);
        for call in [
            Call::Register { netuid: SUBNET, hotkey, max_price: None },
            Call::AddStake { hotkey, netuid: SUBNET, amount },
        ] {
            submitting.submit(&owner, call).await.unwrap();
        }
        let mut network = Network::new(Arc::new(submitting.clone()), SUBNET, key, bucket);
        network.record.local_buckets = true;
        network.announce_bucket().await.unwrap();
        networks.push(network);
    }
    let head = chain.head().await.unwrap().number;
    chain.advance(run.phases.start(AT).0 - head.0).unwrap();
    for (network, state) in networks.iter().zip([good, good, bad]) {
        let applied = Applied { aggregate: None, state, record: Ratings::default().root() };
        network.commit(Topic::Applied, AT.0 - 1, applied.encode()).await.unwrap();
    }
    let mut record = PublicRecord::new(Arc::new(chain), SUBNET);
    record.local_buckets = true;
    (record, networks)
}

#[tokio::test]
async fn a_reader_sees_who_offers_the_agreed_state_and_fetches_only_that() {
    let (mut run, data) = run("list");
    // A run with a momentum, which is part of the state: the stranger has another one and the same parameters.
    Arc::make_mut(&mut run.genesis).outer.step = StepRule::Nesterov { momentum: 0.9 };
    let (params, momentum) = (vec![0.5; run.layout.parameters()], vec![0.125; run.layout.parameters()]);
    let agreed = OuterState { params, momentum };
    let strange = OuterState { momentum: vec![0.25; run.layout.parameters()], ..agreed.clone() };
    let good = agreed.hash();
    let (record, networks) = validators(&run, "list", good, strange.hash()).await;
    publish(&run, &data, &networks[1], AT, agreed.clone()).await;
    publish(&run, &data, &networks[2], AT, strange).await;

    let published = published_checkpoints(&run, &record, 9).await.unwrap();
    assert_eq!(published.len(), 1);
    assert_eq!((published[0].window, published[0].agreed), (AT, Some(good)));
    let offered = |uid: usize| published[0].offers[uid].checkpoint.as_ref().ok().map(|offered| offered.state == good);
    assert_eq!([offered(0), offered(1), offered(2)], [None, Some(true), Some(false)]);
    assert_eq!(agreed_state(&run, &record, AT).await.unwrap(), Some(good));
    assert!(matches!(agreed_state(&run, &record, Window(4)).await, Err(RecordError::NotYet { .. })));

    let scratch = std::env::temp_dir().join(format!("templar-published-scratch-list-{}", std::process::id()));
    let fetched = fetch_latest_checkpoint(&run, &record, AT, &scratch).await.unwrap();
    assert_eq!((fetched.window, fetched.outer), (AT, agreed));
    assert_eq!(fetched.tokenizer, data.assignments.corpus().tokenizer().to_json());
    let state = fetch_latest_state(&run, &record, AT, &scratch).await.unwrap();
    assert_eq!((state.window, state.ratings), (AT, Ratings::default()));
}

#[tokio::test]
async fn a_manifest_puts_no_file_of_its_own_into_the_folder_and_cannot_overflow() {
    let (run, data) = run("hostile");
    let params = vec![0.5; run.layout.parameters()];
    let good = state_hash(&params);
    let (record, networks) = validators(&run, "hostile", good, good).await;
    let hostile = &networks[0];
    publish(&run, &data, hostile, AT, OuterState::new(params)).await;
    let honest = fetch_manifest(&run, &record, AT, hostile.hotkey.public()).await.unwrap();
    let key = ObjectKey::CheckpointManifest(AT).to_string();
    let publish_manifest = async |manifest: CheckpointManifest| {
        let signed = Signed::new(manifest, run.id, AT, "checkpoint", &hostile.hotkey).unwrap();
        hostile.bucket.put(&key, signed.to_bytes().unwrap().into()).await.unwrap();
    };

    let evil = |bytes| CheckpointFile { name: "../../evil".to_owned(), bytes, hash: ContentHash::default() };
    // In the bucket files are named by their place in the manifest.
    let mut manifest = honest.clone();
    let config = manifest.files.iter_mut().find(|file| file.name == "config.json").unwrap();
    *config = evil(0);
    publish_manifest(manifest).await;
    let scratch = std::env::temp_dir().join(format!("templar-published-scratch-hostile-{}", std::process::id()));
    let fetched = fetch_latest_checkpoint(&run, &record, AT, &scratch).await.unwrap();
    // Only the agreed values and the tokenizer of the genesis are taken; nothing has a name of the peer's.
    assert_eq!((fetched.outer.hash(), ContentHash::of(&fetched.tokenizer)), (good, run.genesis.data.tokenizer));

    let mut manifest = honest.clone();
    let tokenizer = manifest.files.iter_mut().find(|file| file.name == "tokenizer.json").unwrap();
    *tokenizer = evil(0);
    publish_manifest(manifest).await;
    let without = fetch_latest_checkpoint(&run, &record, AT, &scratch).await;
    assert!(matches!(without, Err(RecordError::NotAgreed { what: "the tokenizer in the checkpoint", .. })));

    let mut manifest = honest;
    manifest.files.extend([evil(u64::MAX), evil(2)]);
    assert_eq!(manifest.total_bytes(), None);
    publish_manifest(manifest).await;
    let refused = fetch_manifest(&run, &record, AT, hostile.hotkey.public()).await;
    assert!(matches!(refused, Err(RecordError::NotAgreed { .. })));
}
