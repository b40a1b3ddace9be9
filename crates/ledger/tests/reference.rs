//! The rules against figures that were computed elsewhere: by a chain's runtime, by a model, by real numbers.

use templar_ledger::vectors::{CheckReport, FileKind, VectorError, check};

fn report(name: &str) -> CheckReport {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    check(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn epochs_are_those_of_the_runtime_bit_for_bit() {
    let report = report("yuma_classic_runtime.json");
    assert_eq!((report.kind, report.cases), (FileKind::RuntimeEpochs, 15));
    assert_eq!(report.differences, []);
    assert!(report.figures > 1_000, "{}", report.figures);
}

#[test]
fn epochs_are_those_of_the_model() {
    let report = report("yuma_model.json");
    assert_eq!((report.kind, report.cases), (FileKind::ModelEpochs, 20));
    assert_eq!(report.differences, []);
}

#[test]
fn published_runs_of_yuma_3_come_out() {
    let report = report("yuma3_published.json");
    assert_eq!((report.kind, report.cases), (FileKind::PublishedEpochs, 3));
    assert_eq!(report.differences, []);
}

#[test]
fn prices_emission_and_swaps_are_within_two_rao() {
    let report = report("pool_and_burn.json");
    assert_eq!(report.kind, FileKind::Figures);
    assert!(report.is_within_tolerance(), "{:#?}", report.differences);
    assert!(report.cases >= 35, "{}", report.cases);
}

#[test]
fn a_wrong_figure_is_found_and_a_malformed_file_is_named() {
    let path = format!("{}/tests/vectors/yuma_model.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let wrong = text.replacen("\"consensus\": [\n3761,", "\"consensus\": [\n3762,", 1);
    let report = check(&wrong).unwrap();
    assert_eq!((report.differences.len(), report.is_within_tolerance()), (1, false));
    assert_eq!(report.differences[0].figure, "consensus[0]");

    assert!(matches!(check("{"), Err(VectorError::NotJson(_))));
    assert_eq!(check("{\"weights\": 1}"), Err(VectorError::UnknownKind));
    assert_eq!(check("[]"), Err(VectorError::UnknownKind));
    let missing = check(r#"{"cases": [{"expect": {}, "n": 1}]}"#).unwrap_err();
    assert_eq!(missing.to_string(), "cases[0].stake_rao is missing; add it to the file");
    let far = r#"{"cases": [{"expect": {}, "stake_rao": [1], "validator_permit": [true], "weights": [[[7, 1]]]}]}"#;
    assert!(check(far).unwrap_err().to_string().contains("cases[0].weights[0][0][0] is 7, but must be an uid under 1"));
    let odd = r#"{"cases": [{"expect": {}, "stake_rao": [-1], "validator_permit": [true], "weights": [[]]}]}"#;
    assert!(matches!(check(odd), Err(VectorError::Malformed { .. })));
}
