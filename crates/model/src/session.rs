//! A training from its start, or its last checkpoint, until a limit is reached or it is asked to stop.

use crate::{History, Step, Training, TrainingError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What happens in which step besides learning.
#[derive(Debug, Clone)]
pub struct Session {
    /// Folder of the checkpoint.
    pub out: PathBuf,
    /// Checkpoint interval in steps.
    pub checkpoint_every: u64,
    /// Evaluation interval in steps.
    pub evaluate_every: u64,
    /// Sample interval in steps; none for no samples.
    pub sample_every: Option<u64>,
    /// Prompt of the samples.
    pub sample_prompt: String,
}

/// What happened; the training's record has step, tokens and time.
#[derive(Debug)]
pub enum TrainingEvent<'a> {
    /// The first evaluation starts.
    Measuring,
    /// A step was done.
    Step(&'a Step),
    /// The held-out loss was measured.
    HeldOut(f32),
    /// The model wrote this after the prompt.
    Sample(&'a str),
    /// The checkpoint was written.
    Saved,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This limit was reached: `steps`, `tokens` or `minutes`.
    Limit(&'static str),
    /// It was asked to stop.
    Interrupted,
}

impl Ended {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit(limit) => limit,
            Self::Interrupted => "interrupted",
        }
    }
}

/// What hears of a training's events; an error ends the session.
pub type Listener<'a> =
    dyn FnMut(&Training, TrainingEvent) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

impl Session {
    /// Trains until a limit of the record is reached, or `stop` is set; the state at the end is saved.
    pub fn run(
        &self,
        training: &mut Training,
        history: &mut History,
        stop: &AtomicBool,
        listener: &mut Listener<'_>,
    ) -> Result<Ended, TrainingError> {
        let mut listen =
            |training: &Training, event: TrainingEvent| listener(training, event).map_err(TrainingError::Listener);
        if training.record.first_held_out_loss.is_none() {
            listen(training, TrainingEvent::Measuring)?;
            let loss = training.evaluate()?;
            listen(training, TrainingEvent::HeldOut(loss))?;
            history.write(&Step { held_out_loss: Some(loss), ..Step::default() })?;
            // From here on the training can be resumed.
            training.save(&self.out)?;
        }
        let mut saved = training.record.step;
        let ended = loop {
            match training.progress() {
                (done, limit) if done >= 1.0 => break Ended::Limit(limit),
                _ if stop.load(Ordering::Relaxed) => break Ended::Interrupted,
                _ => {}
            }
            let mut step = logged_step(training)?;
            listen(training, TrainingEvent::Step(&step))?;
            if step.step.is_multiple_of(self.evaluate_every) || training.progress().0 >= 1.0 {
                let loss = training.evaluate()?;
                listen(training, TrainingEvent::HeldOut(loss))?;
                step.held_out_loss = Some(loss);
            }
            if self.sample_every.is_some_and(|every| step.step.is_multiple_of(every)) {
                let text = training.sample(&self.sample_prompt)?;
                listen(training, TrainingEvent::Sample(&text))?;
                step.sample = Some(text);
            }
            history.write(&step)?;
            if step.step.is_multiple_of(self.checkpoint_every) {
                save(training, history, &self.out)?;
                listen(training, TrainingEvent::Saved)?;
                saved = step.step;
            }
        };
        // The limits may be new though no step was done.
        if saved != training.record.step || ended != Ended::Interrupted {
            save(training, history, &self.out)?;
            listen(training, TrainingEvent::Saved)?;
        }
        Ok(ended)
    }
}

fn logged_step(training: &mut Training) -> Result<Step, TrainingError> {
    let learning_rate = training.learning_rate();
    let number = training.record.step + 1;
    let report = training.step().map_err(|source| TrainingError::Step { step: number, source: Box::new(source) })?;
    let record = &training.record;
    Ok(Step {
        step: record.step,
        tokens: record.tokens,
        seconds: record.seconds,
        loss: Some(report.loss),
        gradient_norm: Some(report.gradient_norm),
        learning_rate: Some(learning_rate),
        ..Step::default()
    })
}

fn save(training: &mut Training, history: &History, out: &Path) -> Result<(), TrainingError> {
    training.save(out)?;
    if let Some(kept) = history.place_of(training.record.step) {
        training.save(&kept)?;
    }
    Ok(history.prune()?)
}
