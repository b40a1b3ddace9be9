use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use templar_base::{CorpusHashes, EvaluationRule, Genesis, Keypair, ModelConfig};

static RUN: LazyLock<Rules> = LazyLock::new(|| {
    let small = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
    let task = |name: &str| EvaluationTask { name: name.to_owned(), questions: ContentHash::of(b"q"), bytes: 1_000 };
    let evaluation = Some(EvaluationRule { every_windows: 3, tasks: vec![task("a"), task("b")] });
    Rules::new(Genesis { evaluation, ..small }).unwrap()
});

fn author() -> Keypair {
    Keypair::from_uri("//validator").unwrap()
}

fn result(window: u64) -> EvaluationResult {
    let figure = |value| Figure { value, stderr: Some(0.1) };
    let task = |task: &EvaluationTask| TaskResult {
        name: task.name.clone(),
        questions: task.questions,
        count: 20,
        acc: figure(1.0 / 3.0),
        acc_norm: Some(figure(0.1 + 0.2)),
        perplexity: None,
        bits_per_byte: Figure { value: 1.5, stderr: None },
    };
    let tasks = RUN.genesis.evaluation.as_ref().unwrap().tasks.iter().map(task).collect();
    let (state, numerics) = (StateHash::new([1; 32]), RUN.genesis.numerics.clone());
    EvaluationResult { run: RUN.id, window: Window(window), state, numerics, tasks }
}

fn signed(result: EvaluationResult) -> Signed<EvaluationResult> {
    let window = result.window;
    Signed::new(result, RUN.id, window, EVALUATION_PURPOSE, &author()).unwrap()
}

fn read(bytes: &[u8]) -> Result<Evaluations, RecordError> {
    Evaluations::from_bytes(bytes, &RUN, author().public())
}

#[test]
fn the_last_results_are_kept_and_a_window_has_one() {
    let mut kept = Evaluations::default();
    for window in (1..=KEPT_EVALUATIONS as u64 + 5).rev() {
        kept.add(signed(result(3 * window)));
    }
    let again = EvaluationResult { state: StateHash::new([2; 32]), ..result(30) };
    kept.add(signed(again.clone()));
    let bytes = kept.to_bytes().unwrap();
    let back = read(&bytes).unwrap();
    assert_eq!(back, kept);
    assert_eq!(back.results().count(), KEPT_EVALUATIONS);
    assert_eq!(back.results().next().unwrap().window, Window(3 * 6));
    assert!(back.results().any(|own| *own == again));
    // Of as many tasks as there may be, with long names and digits, they fit.
    assert!((bytes.len() as u64) * 8 < MAX_EVALUATIONS_BYTES, "{} bytes", bytes.len());
}

#[test]
fn what_no_validator_of_the_run_writes_is_rejected() {
    let object = |results: &[Signed<EvaluationResult>]| serde_json::to_vec(results).unwrap();
    assert!(read(&object(&[signed(result(3)), signed(result(6))])).is_ok());
    assert!(read(b"[]").unwrap().results().next().is_none());
    let changed = |change: &dyn Fn(&mut EvaluationResult)| {
        let mut own = result(3);
        change(&mut own);
        read(&object(&[signed(own)]))
    };
    let changes: [&dyn Fn(&mut EvaluationResult); 12] = [
        &|own| own.run = RunId::new([9; 32]),
        &|own| own.window = Window(4),
        &|own| own.window = Window(0),
        &|own| own.numerics = "other".to_owned(),
        &|own| own.tasks.truncate(1),
        &|own| own.tasks.swap(0, 1),
        &|own| own.tasks[0].questions = ContentHash::default(),
        &|own| own.tasks[0].count = 0,
        &|own| own.tasks[0].acc.value = 1.5,
        &|own| own.tasks[1].acc_norm = Some(Figure { value: -0.1, stderr: None }),
        &|own| own.tasks[1].acc.stderr = Some(-1.0),
        &|own| own.tasks[1].bits_per_byte.value = f64::INFINITY,
    ];
    for (number, change) in changes.iter().enumerate() {
        assert!(changed(change).is_err(), "change {number}");
    }
    // Of another author, with other figures than were signed, out of order, twice, too many.
    assert!(Evaluations::from_bytes(&object(&[signed(result(3))]), &RUN, PublicKey::new([1; 32])).is_err());
    let mut forged = signed(result(3));
    forged.body.tasks[0].acc.value = 0.9;
    assert!(matches!(read(&object(&[forged])), Err(RecordError::Signed(SignedError::Signature))));
    assert!(read(&object(&[signed(result(6)), signed(result(3))])).is_err());
    assert!(read(&object(&[signed(result(3)), signed(result(3))])).is_err());
    let many: Vec<_> = (1..=KEPT_EVALUATIONS as u64 + 1).map(|window| signed(result(3 * window))).collect();
    assert!(read(&object(&many)).unwrap_err().to_string().contains("there are too many"));
    assert!(read(&vec![b' '; MAX_EVALUATIONS_BYTES as usize + 1]).unwrap_err().to_string().contains("too many bytes"));
    // A run that has no tasks has no results.
    let without = Rules::new(Genesis { evaluation: None, ..Genesis::clone(&RUN.genesis) }).unwrap();
    assert!(Evaluations::from_bytes(&object(&[signed(result(3))]), &without, author().public()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&[signed(result(3))]).unwrap();
        let whole = read(&bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // White space and letters of the same meaning aside, nothing else has this signature.
        if let Ok(other) = read(&bytes) {
            prop_assert_eq!(other, whole);
        }
    }
}

fn view(uid: u16, stake: u64, result: EvaluationResult) -> EvaluationView {
    let (hotkey, stake_rao) = (PublicKey::new([uid as u8; 32]), Alpha::from_rao(stake));
    EvaluationView { uid: Uid(uid), hotkey, stake_rao, standing: EvaluationStanding::Differs, result }
}

#[test]
fn who_disagrees_is_marked_by_stake() {
    use EvaluationStanding::{Differs, Leading, OtherState};
    let mut other = result(3);
    other.tasks[0].acc.value = 0.5;
    let elsewhere = EvaluationResult { state: StateHash::new([7; 32]), ..result(3) };
    let mut views =
        [view(0, 10, result(3)), view(1, 15, other.clone()), view(2, 10, result(3)), view(3, 99, elsewhere)];
    let standings = |views: &[EvaluationView]| views.iter().map(|view| view.standing).collect::<Vec<_>>();
    compare(&mut views, Some(StateHash::new([1; 32])));
    assert_eq!(standings(&views), [Leading, Differs, Leading, OtherState]);
    // Where nobody knows the state, the most stake decides of what it says.
    compare(&mut views, None);
    assert_eq!(standings(&views), [Differs, Differs, Differs, Leading]);
    let mut even = [view(0, 10, other), view(1, 10, result(3))];
    compare(&mut even, None);
    assert_eq!(standings(&even), [Leading, Differs]);
}
