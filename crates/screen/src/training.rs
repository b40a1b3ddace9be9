//! A training of one model, as lines.

use crate::table::{Paint, count};
use crate::text::duration;
use std::path::Path;
use templar_model::{Ended, Record};

/// The beginning of a training.
pub fn start(paint: Paint, record: &Record, parameters: usize) -> String {
    let plan = &record.plan;
    let tokens = count(u64::from(plan.batch) * u64::from(plan.sequence_length));
    let resumed = match record.step {
        0 => String::new(),
        step => format!(", resumed after step {}", count(step)),
    };
    let name = paint.bold(&plan.preset);
    format!("{name}: {} parameters, {tokens} tokens per step{resumed}", count(parameters as u64))
}

/// A loss on held-out text.
pub fn held_out(paint: Paint, record: &Record, loss: f32) -> String {
    let time = paint.dim(&duration(record.seconds));
    format!("step {:>7}  held-out loss {}  {time}", count(record.step), paint.bold(&format!("{loss:.4}")))
}

/// What a model in training writes: one line, whatever it is.
pub fn sample(paint: Paint, record: &Record, text: &str) -> String {
    let shown = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("step {:>7}  {}", count(record.step), paint.dim(&format!("sample: {shown}")))
}

/// The end of a training whose model is in `out`.
pub fn summary(paint: Paint, record: &Record, ended: Ended, out: &Path) -> String {
    let loss = |loss: Option<f32>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    let out = out.display();
    let next = match ended {
        Ended::Interrupted => "the same command with --resume continues".to_owned(),
        Ended::Limit(_) => format!("next: templar model generate {out} --prompt \"The\""),
    };
    format!(
        "held-out loss {} -> {} after {} steps, {} tokens in {} ({} tokens/s)\nsaved in {out}; {next}",
        loss(record.first_held_out_loss),
        paint.bold(&loss(record.last_held_out_loss)),
        count(record.step),
        count(record.tokens),
        duration(record.seconds),
        count(record.speed() as u64),
    )
}
