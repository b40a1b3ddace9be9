//! The run's tasks put to the model by an idle validator: a slice at a time on its computing thread, while that has nothing
//! else to do, and the results into its bucket. It is no part of the protocol, and all that is waits for a slice at most.

use crate::context::Context;
use crate::{JournalEntry, NodeError, NodeOptions, TaskLine};
use std::sync::Arc;
use std::time::Instant;
use templar_base::{ContentHash, EvaluationRule, StateHash, Window};
use templar_engine::Engine;
use templar_evaluation::{Mean, RunTasks, Sitting, TaskFigures};
use templar_record::{
    EVALUATION_PURPOSE, EvaluationResult, Evaluations, Figure, RecordError, TaskResult, fetch_evaluations,
};
use templar_round::{ObjectKey, Signed};
use tokio::sync::mpsc;

/// Results that wait to be published: one comes every few windows.
const QUEUE: usize = 4;

/// The model at a window's start, whose tasks are under way.
struct UnderWay {
    window: Window,
    state: StateHash,
    sitting: Sitting,
    begun: Instant,
}

/// Puts the tasks to the model.
pub(crate) struct Evaluator {
    context: Arc<Context>,
    rule: EvaluationRule,
    tasks: Arc<RunTasks>,
    results: mpsc::Sender<EvaluationResult>,
    /// What was begun last, also if it is done or was dropped.
    last: Option<(Window, StateHash)>,
    under_way: Option<UnderWay>,
}

impl Evaluator {
    /// Reads the tasks, if the run has some and this engine can score texts; otherwise says so and does nothing.
    pub(crate) fn open(
        context: &Arc<Context>,
        options: &NodeOptions,
        engine: &mut dyn Engine,
    ) -> Option<(Self, mpsc::Receiver<EvaluationResult>)> {
        let rule = context.run.genesis.evaluation.clone()?;
        let not = |why: String| context.journal.warn(format!("the run's tasks are not put to the model: {why}"));
        if let Err(error) = engine.scorer() {
            not(error.to_string());
            return None;
        }
        let tokenizer = context.data.assignments.corpus().tokenizer();
        let tasks = RunTasks::read(&rule, &options.questions, (&context.run.genesis.model, tokenizer), options.threads);
        let tasks = match tasks {
            Ok(tasks) => Arc::new(tasks),
            Err(error) => {
                not(format!("{error}; {}", error.remedy()));
                return None;
            }
        };
        let (results, receiver) = mpsc::channel(QUEUE);
        Some((Self { context: Arc::clone(context), rule, tasks, results, last: None, under_way: None }, receiver))
    }

    /// Whether there is something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// The parameters are those of the start of `window`: what is under way of others is dropped.
    pub(crate) fn moved_to(&mut self, window: Window, state: StateHash) {
        if self.last == Some((window, state)) {
            return;
        }
        if let Some(UnderWay { window, sitting, .. }) = self.under_way.take() {
            let (scored, answers) = sitting.progress();
            self.context.journal.add(&JournalEntry::EvaluationDropped { window, scored, answers });
        }
        if self.rule.is_due(window) {
            self.last = Some((window, state));
            let sitting = Sitting::begin(Arc::clone(&self.tasks));
            self.under_way = Some(UnderWay { window, state, sitting, begun: Instant::now() });
        }
    }

    /// Does a slice with the parameters in the engine, which are those of [`Self::moved_to`].
    pub(crate) fn advance(&mut self, engine: &mut dyn Engine) {
        let Some(mut own) = self.under_way.take() else { return };
        match own.sitting.advance(engine) {
            Ok(None) => self.under_way = Some(own),
            Ok(Some(figures)) => self.finish(&own, figures, engine.numerics().to_string()),
            Err(error) => self.context.journal.warn(format!("window {}: the tasks are given up: {error}", own.window)),
        }
    }

    fn finish(&self, own: &UnderWay, figures: Vec<TaskFigures>, numerics: String) {
        let tasks: Vec<TaskResult> =
            figures.into_iter().zip(&self.rule.tasks).map(|(own, task)| result_of(own, task.questions)).collect();
        let line = |task: &TaskResult| TaskLine { name: task.name.clone(), acc: task.acc.value };
        let (lines, milliseconds) = (tasks.iter().map(line).collect(), own.begun.elapsed().as_millis() as u64);
        self.context.journal.add(&JournalEntry::Evaluated { window: own.window, tasks: lines, milliseconds });
        let (run, window, state) = (self.context.run.id, own.window, own.state);
        // Where the queue is full the bucket has been away for several evaluations.
        if self.results.try_send(EvaluationResult { run, window, state, numerics, tasks }).is_err() {
            self.context
                .journal
                .warn(format!("the evaluation of window {window} is not published: the bucket is away"));
        }
    }
}

fn result_of(own: TaskFigures, questions: ContentHash) -> TaskResult {
    let figure = |mean: Mean| Figure { value: mean.value, stderr: mean.stderr.filter(|error| error.is_finite()) };
    let TaskFigures { name, questions: count, metrics } = own;
    TaskResult {
        name,
        questions,
        count: count as u64,
        acc: figure(metrics.acc),
        acc_norm: metrics.acc_norm.map(figure),
        // The document has no sign for what is too large for a number.
        perplexity: metrics.perplexity.map(figure).filter(|figure| figure.value.is_finite()),
        bits_per_byte: figure(metrics.bits_per_byte),
    }
}

/// Publishes results as they come.
pub(crate) async fn publish(context: Arc<Context>, mut results: mpsc::Receiver<EvaluationResult>) {
    while let Some(result) = results.recv().await {
        let window = result.window;
        if let Err(error) = publish_one(&context, result).await {
            context.journal.warn(format!("the evaluation of window {window} is not published: {error}"));
        }
    }
}

async fn publish_one(context: &Context, result: EvaluationResult) -> Result<(), NodeError> {
    let (run, network) = (&context.run, &context.network);
    let mut kept = match fetch_evaluations(run, &network.record, network.hotkey.public()).await {
        Ok(kept) => kept,
        // What is there is none of this node's: of another run in the same bucket, or damaged.
        Err(RecordError::Evaluations { .. } | RecordError::Signed(_)) => Evaluations::default(),
        Err(error) => return Err(error.into()),
    };
    let window = result.window;
    kept.add(Signed::new(result, run.id, window, EVALUATION_PURPOSE, &network.hotkey)?);
    network.bucket.put(&ObjectKey::Evaluations.to_string(), kept.to_bytes()?.into()).await?;
    Ok(())
}
