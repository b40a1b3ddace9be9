//! Validators that are idle put the run's tasks to the model.

use crate::network::{Plan, World};
use std::fmt::Write;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use templar_base::Window;
use templar_chain::NodeChain;
use templar_evaluation::{Benchmark, Mean, Selection, Style};
use templar_node::JournalEntry;
use templar_record::{
    EvaluationStanding, Figure, PublicRecord, fetch_checkpoint, fetch_evaluations, read_window, write_model_files,
};

const ASKED: Window = Window(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// Questions with choices, and questions with one answer.
fn tasks() -> Vec<(&'static str, String)> {
    let (mut choices, mut endings) = (String::new(), String::new());
    for number in 0..24 {
        let context =
            format!("the {} was near the river, and number {number}", ["fox", "child", "old man"][number % 3]);
        let label = number % 2;
        writeln!(
            choices,
            "{{\"context\": {context:?}, \"choices\": [\" slept.\", \" ran home\"], \"label\": {label}}}"
        )
        .unwrap();
        writeln!(endings, "{{\"context\": {context:?}, \"choices\": [\" the end\"]}}").unwrap();
    }
    vec![("choices", choices), ("endings", endings)]
}

fn has_evaluated(world: &mut World, name: &str) -> bool {
    let node = world.nodes.get_mut(name).unwrap();
    node.read_journal();
    node.entries.iter().any(|entry| matches!(entry, JournalEntry::Evaluated { window, .. } if *window == ASKED))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_validators_publish_what_the_benchmark_finds_on_the_fetched_checkpoint() {
    let mut world = World::new(Plan { tasks: tasks(), ..Plan::new("evaluating", 2, 2) }).await;
    // All validators stand at the start of the window, and nothing is to be judged yet.
    let idle = world.run.phases.apply(Window(2)).plus(2);
    world.run_to(idle).await;
    let begun = Instant::now();
    for name in ["validator-0", "validator-1"] {
        while !has_evaluated(&mut world, name) {
            assert!(begun.elapsed() < PATIENCE, "{name} does not evaluate\n{}", world.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.run_through(ASKED).await;
    let story = world.story();
    for (name, node) in &world.nodes {
        assert_eq!(node.skipped(), [], "{name}\n{story}");
    }

    let chain: std::sync::Arc<dyn NodeChain> = std::sync::Arc::new(world.chain.clone());
    let mut record = PublicRecord::new(chain, world.run.genesis.netuid);
    record.local_buckets = true;
    let view = read_window((&world.run, &record), ASKED, world.head()).await.unwrap();
    assert_eq!(view.evaluations.len(), 2, "{story}");
    assert!(view.evaluations.iter().all(|own| own.standing == EvaluationStanding::Leading), "{:?}", view.evaluations);
    let published = &view.evaluation().unwrap().result;
    let own = fetch_evaluations(&world.run, &record, world.nodes["validator-0"].hotkey.public()).await.unwrap();
    assert_eq!(own.results().collect::<Vec<_>>(), [published]);

    // What anybody does to check it.
    let folder = tempfile::tempdir().unwrap();
    let fetched = fetch_checkpoint(&world.run, &record, ASKED, &folder.path().join("scratch")).await.unwrap();
    assert_eq!(fetched.outer.hash(), published.state);
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let end = world.data.assignments.corpus().end_of_text();
    write_model_files(&world.run.genesis.model, &fetched.outer, &fetched.tokenizer, end, &model).unwrap();
    let rule = world.run.genesis.evaluation.as_ref().unwrap();
    let files = rule.tasks.iter().map(|task| world.questions().join(task.file_name())).collect();
    let selection = Selection { files, style: Style::Completion, ..Selection::default() };
    let (threads, pass_tokens, results) = (2, 64, folder.path().join("results"));
    let benchmark = Benchmark { model, selection, threads, pass_tokens, results };
    let report = benchmark.run(&AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(report.numerics, published.numerics);
    let figure = |mean: Mean| Figure { value: mean.value, stderr: mean.stderr };
    for (published, again) in published.tasks.iter().zip(&report.tasks) {
        let metrics = &again.metrics;
        assert_eq!(published.count, again.questions as u64);
        assert_eq!(published.acc, figure(metrics.acc), "{}", published.name);
        assert_eq!(published.acc_norm, metrics.acc_norm.map(figure), "{}", published.name);
        assert_eq!(published.perplexity, metrics.perplexity.map(figure), "{}", published.name);
        assert_eq!(published.bits_per_byte, figure(metrics.bits_per_byte), "{}", published.name);
    }
    assert_eq!(published.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["choices", "endings"]);
    assert!(published.tasks[1].perplexity.is_some() && published.tasks[0].acc_norm.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_without_the_questions_judges_all_the_same_and_says_what_is_missing() {
    let mut world = World::new(Plan { tasks: tasks(), ..Plan::new("without-questions", 1, 2) }).await;
    world.kill("validator-0").await;
    let rule = world.run.genesis.evaluation.clone().unwrap();
    std::fs::write(world.questions().join(rule.tasks[0].file_name()), "{}").unwrap();
    world.start("validator-0").await;
    world.run_through(Window(3)).await;
    let story = world.story();
    let node = &world.nodes["validator-0"];
    let said = node.warnings().find(|warning| warning.contains("the run's tasks are not put to the model"));
    assert!(said.is_some_and(|said| said.contains("has the hash")), "{story}");
    assert!(!node.entries.iter().any(|entry| matches!(entry, JournalEntry::Evaluated { .. })), "{story}");
    assert!(node.applied().values().any(|(selected, _)| !selected.is_empty()), "{story}");
}
