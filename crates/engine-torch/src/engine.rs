//! The engine over the ranks.

use crate::exchange::Exchange;
use crate::options::Deadlines;
use crate::ranks::{Launch, Ranks};
use crate::requests::{Pace, name_of, put_batches, put_delta, same_of, sum_of};
use crate::{MAX_RANKS, TORCH_VERSION, TorchError, TorchOptions};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use templar_base::ModelConfig;
use templar_engine::{
    Batch, Buffer, Engine, EngineError, MemoryNeeds, NumericsId, OpenRequest, OptimiserConfig, ParamLayout, Scorer,
    SparseDelta, StepReport,
};

/// The program that the ranks run.
const WORKER: &str = include_str!("worker.py");

/// Bytes a second that a copy moves at least; measured are some gigabytes.
const SLOWEST_COPY: usize = 20 << 20;

/// A model in PyTorch, cut over one or several processes.
pub struct TorchEngine {
    config: ModelConfig,
    layout: ParamLayout,
    device: String,
    numerics: NumericsId,
    // Before the exchange, whose files the ranks map.
    ranks: Ranks,
    exchange: Exchange,
    step: u64,
    deadlines: Deadlines,
    pace: Pace,
}

impl TorchEngine {
    /// Starts the ranks and makes the model, with all parameters zero. `kind` is `auto`, `cuda` or `cpu`.
    pub fn open(options: &TorchOptions, kind: &str, request: OpenRequest) -> Result<Self, EngineError> {
        let OpenRequest { config, optimiser, threads } = request;
        config.check()?;
        optimiser.check()?;
        if !(1..=MAX_RANKS).contains(&options.ranks) {
            return Err(TorchError::RankCount(options.ranks).into());
        }
        MemoryNeeds::check_parameters("the model", &config).map_err(EngineError::Memory)?;
        let layout = ParamLayout::new(&config);
        let exchange = Exchange::create(options.scratch.as_deref(), layout.total())?;
        let script = exchange.folder().join("worker.py");
        let unwritten = |source| TorchError::Exchange { path: script.clone(), source };
        std::fs::write(&script, WORKER).map_err(unwritten)?;
        let launch = Launch {
            python: options.python.clone(),
            script: script.clone(),
            folder: exchange.folder().to_owned(),
            ranks: options.ranks,
            threads: threads / options.ranks,
            deadlines: options.deadlines,
        };
        let (mut ranks, hello) = Ranks::start(&launch)?;
        if !hello.torch.starts_with(TORCH_VERSION) {
            tracing::warn!("PyTorch {} was not tried with this engine, {TORCH_VERSION} was", hello.torch);
        }
        let opening = opening(&config, &optimiser, options, kind, &exchange);
        let answers = ranks.ask("opening the model", options.deadlines.open, opening)?;
        let (total, held) = (same_of(&answers, "parameters"), sum_of(&answers, "held"));
        if total != Some(layout.total() as f64) || held != Some(layout.total() as u64) {
            let what = format!("the ranks hold {held:?} of {total:?} parameters, and the model has {}", layout.total());
            return Err(ranks.broken(0, "opening the model", what).into());
        }
        let name = answers[0].get("device").and_then(Value::as_str).unwrap_or(kind);
        let device = describe(&hello.torch, name, options, launch.threads);
        let (numerics, deadlines) = (options.precision.numerics(), options.deadlines);
        Ok(Self { config, layout, device, numerics, ranks, exchange, step: 0, deadlines, pace: Pace::default() })
    }

    /// The process ids of the ranks, for tests that end one.
    pub fn process_ids(&self) -> Vec<u32> {
        self.ranks.process_ids()
    }

    fn check_range(&self, what: Buffer, start: usize, len: usize) -> Result<(), EngineError> {
        let total = self.layout.total();
        match start.checked_add(len) {
            Some(end) if end <= total => Ok(()),
            _ => Err(EngineError::Range { what, start, len, total }),
        }
    }

    /// A request that moves this number of bytes, whose numbers called `name` must add up to `expected` over the ranks.
    fn copy(
        &mut self,
        doing: &'static str,
        bytes: usize,
        request: Value,
        (name, expected): (&str, usize),
    ) -> Result<(), TorchError> {
        let deadline = self.deadlines.least + Duration::from_secs((bytes / SLOWEST_COPY) as u64);
        let answers = self.ranks.ask(doing, deadline, request)?;
        match sum_of(&answers, name) {
            Some(sum) if sum == expected as u64 => Ok(()),
            sum => Err(self.ranks.broken(0, doing, format!("the ranks {name} {sum:?} of {expected} values"))),
        }
    }

    /// A pass of the model over some batches.
    fn pass(
        &mut self,
        doing: &'static str,
        command: &'static str,
        batches: &[Batch],
        more: Value,
    ) -> Result<Vec<Value>, TorchError> {
        let tokens = batches.iter().map(|batch| batch.tokens.len()).sum();
        let (file, places) = put_batches(&self.exchange, batches)?;
        let mut request = json!({"do": command, "tokens": file.path, "batches": places});
        if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
            request.extend(more);
        }
        let deadline = self.pace.deadline(command, tokens, self.deadlines.first, self.deadlines.least);
        let begun = Instant::now();
        let answers = self.ranks.ask(doing, deadline, request)?;
        self.pace.note(command, tokens, begun);
        Ok(answers)
    }

    /// Two values for each input of rows that have inputs and then targets: the target's loss, and 1 where it is the
    /// likeliest token; first all losses.
    pub(crate) fn fill_scores(&mut self, rows: &Batch, length: usize) -> Result<Vec<f32>, TorchError> {
        let mut scores = vec![0.0; 2 * rows.sequences * length];
        let mut file = self.exchange.zeros("scores", scores.len())?;
        let doing = "scoring texts";
        let answers = self.pass(doing, "score", std::slice::from_ref(rows), json!({"file": file.path}))?;
        if sum_of(&answers, "sequences") != Some(rows.sequences as u64) {
            return Err(self.ranks.broken(0, doing, "the ranks scored another number of texts".to_owned()));
        }
        file.read(&mut scores)?;
        Ok(scores)
    }

    /// Number of targets of all batches that count; an error if there is none.
    fn counted_targets(&self, batches: &[Batch]) -> Result<usize, EngineError> {
        let counted = batches.iter().map(|batch| batch.check(self.config.vocab_size)).sum::<Result<usize, _>>()?;
        if counted == 0 { Err(EngineError::Empty("the set of targets")) } else { Ok(counted) }
    }

    fn losses(&mut self, delta: Option<SparseDelta>, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        batch.check(self.config.vocab_size)?;
        let delta = delta.map(|delta| put_delta(&self.exchange, delta)).transpose()?;
        let more = json!({"delta": delta.as_ref().map(|(_, delta)| delta)});
        let answers = self.pass("evaluating", "evaluate", std::slice::from_ref(batch), more)?;
        // What is not finite has no number in JSON.
        let number = |loss: &Value| loss.as_f64().map_or(f32::NAN, |loss| loss as f32);
        let lists = answers.iter().filter_map(|answer| answer.get("losses")?.as_array());
        let losses: Vec<f32> = lists.flatten().map(number).collect();
        if losses.len() != batch.sequences {
            let what = format!("the ranks gave {} losses for {} sequences", losses.len(), batch.sequences);
            return Err(self.ranks.broken(0, "evaluating", what).into());
        }
        Ok(losses)
    }

    fn same(&mut self, answers: &[Value], name: &str, doing: &'static str) -> Result<f64, TorchError> {
        match same_of(answers, name) {
            Some(number) => Ok(number),
            None => Err(self.ranks.broken(0, doing, format!("the ranks do not agree on `{name}`"))),
        }
    }
}

/// The request that makes the model.
fn opening(
    config: &ModelConfig,
    optimiser: &OptimiserConfig,
    options: &TorchOptions,
    kind: &str,
    exchange: &Exchange,
) -> Value {
    let clip_norm = optimiser.clip_norm.is_finite().then_some(optimiser.clip_norm);
    json!({
        "do": "open",
        "config": config,
        "optimiser": {
            "beta1": optimiser.beta1,
            "beta2": optimiser.beta2,
            "epsilon": optimiser.epsilon,
            "weight_decay": optimiser.weight_decay,
            "clip_norm": clip_norm,
            "hidden_matrices": optimiser.hidden_matrices,
        },
        "device": kind,
        "precision": options.precision.name(),
        "compile": options.compiles,
        "rows": options.rows.max(1),
        // A new name each time: ranks that find an old file would wait for dead ones.
        "store": format!("file://{}", exchange.folder().join("store").display()),
    })
}

fn describe(torch: &str, name: &str, options: &TorchOptions, threads: usize) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let threads = threads.max(1);
    let TorchOptions { ranks, precision, .. } = options;
    format!(
        "PyTorch {torch}, {name}, {}, {ranks} rank{}, {threads} thread{} each",
        precision.name(),
        plural(*ranks),
        plural(threads)
    )
}

impl Engine for TorchEngine {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    fn numerics(&self) -> NumericsId {
        self.numerics
    }

    fn device(&self) -> &str {
        &self.device
    }

    fn read(&mut self, what: Buffer, start: usize, out: &mut [f32]) -> Result<(), EngineError> {
        self.check_range(what, start, out.len())?;
        let (file, most) = (self.exchange.window_path(), self.exchange.window_values());
        let mut start = start;
        for part in out.chunks_mut(most) {
            let count = part.len();
            let request = json!({"do": "read", "what": name_of(what), "start": start, "count": count, "file": file});
            self.copy("reading", 4 * count, request, ("copied", count))?;
            self.exchange.take(part)?;
            start += count;
        }
        Ok(())
    }

    fn write(&mut self, what: Buffer, start: usize, values: &[f32]) -> Result<(), EngineError> {
        self.check_range(what, start, values.len())?;
        let (file, most) = (self.exchange.window_path(), self.exchange.window_values());
        let mut start = start;
        for part in values.chunks(most) {
            let count = part.len();
            self.exchange.put(part)?;
            let request = json!({"do": "write", "what": name_of(what), "start": start, "count": count, "file": file});
            self.copy("writing", 4 * count, request, ("copied", count))?;
            start += count;
        }
        Ok(())
    }

    fn add(&mut self, delta: SparseDelta) -> Result<(), EngineError> {
        delta.check(self.layout.total())?;
        let count = delta.indices.len();
        let (_file, delta) = put_delta(&self.exchange, delta)?;
        Ok(self.copy("adding", 8 * count, json!({"do": "add", "delta": delta}), ("added", count))?)
    }

    fn train_step(&mut self, micro_batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError> {
        if !learning_rate.is_finite() {
            return Err(EngineError::NotFinite("the learning rate"));
        }
        let tokens = self.counted_targets(micro_batches)?;
        let doing = "training a step";
        let answers = self.pass(doing, "train", micro_batches, json!({"learning_rate": learning_rate}))?;
        match answers[0].get("not_finite").and_then(Value::as_str) {
            Some("the loss") => return Err(EngineError::NotFinite("the loss")),
            Some(_) => return Err(EngineError::NotFinite("the gradient")),
            None => {}
        }
        let (loss, norm) = (self.same(&answers, "loss", doing)?, self.same(&answers, "gradient_norm", doing)?);
        if self.same(&answers, "tokens", doing)? != tokens as f64 {
            return Err(self.ranks.broken(0, doing, "it counted other targets".to_owned()).into());
        }
        self.step += 1;
        Ok(StepReport { loss: loss as f32, gradient_norm: norm as f32, tokens })
    }

    fn optimiser_step(&self) -> u64 {
        self.step
    }

    fn set_optimiser_step(&mut self, step: u64) -> Result<(), EngineError> {
        self.ranks.ask(
            "setting the optimiser's step",
            self.deadlines.least,
            json!({"do": "set_step", "step": step}),
        )?;
        self.step = step;
        Ok(())
    }

    fn reset_optimiser(&mut self) -> Result<(), EngineError> {
        self.ranks.ask("resetting the optimiser", self.deadlines.least, json!({"do": "reset"}))?;
        self.step = 0;
        Ok(())
    }

    fn gradient(&mut self, batch: &Batch) -> Result<f32, EngineError> {
        let batches = std::slice::from_ref(batch);
        self.counted_targets(batches)?;
        let doing = "computing a gradient";
        let answers = self.pass(doing, "gradient", batches, json!({}))?;
        match answers.iter().all(|answer| answer.get("loss").is_some_and(Value::is_null)) {
            true => Ok(f32::NAN),
            false => Ok(self.same(&answers, "loss", doing)? as f32),
        }
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        self.losses(None, batch)
    }

    fn evaluate_with(&mut self, delta: SparseDelta, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        delta.check(self.layout.total())?;
        self.losses(Some(delta), batch)
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        batch.check(self.config.vocab_size)?;
        let rows = batch.sequences * batch.length;
        let mut logits = vec![0.0; rows * self.config.vocab_size];
        let mut file = self.exchange.zeros("logits", logits.len())?;
        let doing = "computing logits";
        let answers = self.pass(doing, "logits", std::slice::from_ref(batch), json!({"file": file.path}))?;
        if sum_of(&answers, "rows") != Some(rows as u64) {
            return Err(self.ranks.broken(0, doing, "the ranks filled another number of rows".to_owned()).into());
        }
        file.read(&mut logits)?;
        Ok(logits)
    }

    fn scorer(&mut self) -> Result<&mut dyn Scorer, EngineError> {
        Ok(self)
    }

    fn lost(&self) -> Option<&str> {
        self.ranks.gone()
    }

    fn set_recomputing(&mut self, is_recomputing: bool) -> Result<(), EngineError> {
        let request = json!({"do": "recompute", "recompute": is_recomputing});
        self.ranks.ask("setting recomputation", self.deadlines.least, request)?;
        Ok(())
    }
}
