//! A content that is not what this program writes is rejected by the object that differs.

use super::*;
use templar_base::{BlockHash, CorpusHashes, Netuid};
use templar_engine::preset;

fn header(number: u64) -> BlockHeader {
    BlockHeader {
        number: BlockNumber(number),
        hash: Default::default(),
        parent: Default::default(),
        time_ms: 1_000 * number,
        state_root: Default::default(),
        beacon: Default::default(),
    }
}

fn metagraph(block: u64) -> Metagraph {
    let (block, netuid) = (BlockNumber(block), Netuid(3));
    Metagraph { block, netuid, tempo: 100, emission_rule: "s425".to_owned(), neurons: Vec::new() }
}

fn content() -> Content {
    let hash = ContentHash::of(b"x");
    let hashes = CorpusHashes { tokenizer: hash, manifest: hash };
    let genesis = Genesis::small(preset("nano", 512).unwrap(), hashes);
    let gap = Gap { what: "windows 0 to 4".to_owned(), why: "<script>\u{1b}[2J".to_owned() };
    let facts = PackedFacts {
        run: genesis.run_id(),
        made_by: "a test".to_owned(),
        head: BlockNumber(900),
        first: Some(Window(5)),
        last: Some(Window(5)),
        with_objects: true,
        gaps: vec![gap],
    };
    let rules = Hyperparameters {
        netuid: Netuid(3),
        genesis: BlockHash::default(),
        block_time_ms: 1_000,
        tempo: 100,
        max_uids: 8,
        max_validators: 4,
        immunity_blocks: 0,
        weights_rate_limit_blocks: 0,
        weights_version: 0,
        weights_stake_threshold: Default::default(),
        commit_reveal: false,
        minimum_stake: Default::default(),
        commitment_bytes_per_tempo: 0,
        commitment_retention_blocks: 0,
        history_blocks: 0,
    };
    let ledger = LedgerPart {
        head: header(900),
        metagraph: metagraph(900),
        hyperparameters: rules,
        settings: SettingChanges { at: BlockNumber(900), changes: Vec::new() },
        last_reports: Vec::new(),
        buckets: Vec::new(),
        market: None,
        candles: Vec::new(),
        epochs: Vec::new(),
        proposals: None,
        history: BTreeMap::new(),
    };
    let owner = PublicKey::new([7; 32]);
    let listed = Listed { key: "window/0000000005/evidence/3".to_owned(), bytes: 12 };
    Content {
        genesis,
        facts,
        ledger,
        lists: BTreeMap::from([(owner, vec![listed])]),
        blocks: BTreeMap::from([(BlockNumber(800), BlockPart { header: header(800), metagraph: None })]),
        windows: BTreeMap::from([(Window(5), WindowPart::default())]),
        objects: BTreeMap::from([(owner, BTreeMap::from([("window/0000000005/verdict".to_owned(), "v".into())]))]),
    }
}

/// Reads the entries after a change.
fn read(change: impl FnOnce(&mut BTreeMap<String, Bytes>)) -> Result<PackedRecord, PackedError> {
    let mut entries = content().entries();
    change(&mut entries.0);
    let mut file = Vec::new();
    Entries::write(&entries.content(), &mut file).unwrap();
    PackedRecord::from_bytes(&file)
}

fn with(name: &str, text: impl Into<Bytes>) -> Result<PackedRecord, PackedError> {
    read(|entries| drop(entries.insert(name.to_owned(), text.into())))
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let record = PackedRecord::new(content()).unwrap();
    let again = PackedRecord::from_bytes(&record.to_bytes().unwrap()).unwrap();
    assert_eq!((again.root(), &again.content), (record.root(), &record.content));
    assert_eq!((again.windows(), again.objects()), (1, (1, 1)));
    let names: Vec<String> = again.index().into_iter().map(|(name, ..)| name).collect();
    assert!(names.contains(&"window/00000000000000000005.json".to_owned()), "{names:?}");
}

#[test]
fn what_is_not_in_the_one_form_is_rejected_by_its_name() {
    let form = |name: &str, text: String| match with(name, text) {
        Err(PackedError::Form { name: told }) => assert_eq!(told, name),
        other => panic!("{name}: {other:?}"),
    };
    let json = |name: &str| String::from_utf8(content().entries().0[name].to_vec()).unwrap();
    form(FACTS, format!(" {}", json(FACTS)));
    form(FACTS, json(FACTS).replace("{\"run\"", "{\"other\":1,\"run\""));
    form(LISTS, "{}\n".to_owned());
    form("window/5.json", json("window/00000000000000000005.json"));
    form(
        "window/00000000000000000006.json",
        "{\"sealed\":[],\"votes\":[],\"vote_seals\":[],\"reports\":[]}".to_owned(),
    );
}

#[test]
fn what_lacks_or_contradicts_is_rejected_by_its_name() {
    for name in [GENESIS, FACTS, LEDGER, LISTS] {
        let error = read(|entries| drop(entries.remove(name))).unwrap_err();
        assert!(matches!(error, PackedError::Missing { name: told } if told == name), "{name}: {error}");
        assert!(with(name, "nonsense").is_err(), "{name}");
    }
    for name in ["other.json", "window/x.json", "window/+5.json", "block/5", "object/nobody/key", "object/x", "a/b"] {
        let error = with(name, "{}").unwrap_err();
        assert!(matches!(&error, PackedError::Unexpected { name: told } if told == name), "{name}: {error}");
    }
    let of_other = json(&BlockPart { header: header(7), metagraph: None });
    let error = with("block/00000000000000000008.json", of_other).unwrap_err();
    assert!(matches!(error, PackedError::OtherBlock { .. }), "{error}");
    let mut other = content();
    other.facts.run = RunId::new([9; 32]);
    let error = with(FACTS, json(&other.facts)).unwrap_err();
    assert!(matches!(error, PackedError::OtherRun { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_in_the_file_is_an_error_and_no_guess() {
    use templar_chain::{Bank, Chain, ChainError, Commitments, Topic};
    let record = PackedRecord::new(content()).unwrap();
    let chain = record.chain();
    assert_eq!(chain.head().await.unwrap().number, BlockNumber(900));
    assert_eq!(chain.header(BlockNumber(800)).await.unwrap().number, BlockNumber(800));
    let pruned = chain.header(BlockNumber(799)).await.unwrap_err();
    assert_eq!(pruned, ChainError::Pruned { block: BlockNumber(799), oldest: BlockNumber(800) });
    assert!(matches!(chain.header(BlockNumber(901)).await, Err(ChainError::NoSuchBlock { .. })));
    assert!(matches!(chain.totals().await, Err(ChainError::NotRecorded { .. })));
    let votes = chain.commitments(Netuid(3), Topic::Vote, 4).await.unwrap_err().to_string();
    assert!(votes.contains("commitments of window 4"), "{votes}");
    let owner = PublicKey::new([7; 32]);
    let bucket = record.record().reader(owner).await.unwrap();
    assert_eq!(bucket.get("window/0000000005/verdict", 10).await.unwrap(), "v");
    assert!(bucket.get("window/0000000005/evidence/3", 10).await.is_err(), "listed, and not in the file");
    let listed = bucket.list("window/0000000005", None, 10).await.unwrap().objects;
    let keys: Vec<&str> = listed.iter().map(|own| own.key.as_str()).collect();
    assert_eq!(keys, ["window/0000000005/evidence/3", "window/0000000005/verdict"]);
    assert!(record.record().reader(PublicKey::new([8; 32])).await.is_err());
}
