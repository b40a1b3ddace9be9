//! A training of one model, as lines.

use crate::table::{Paint, count};
use crate::text::duration;
use serde_json::{Value, json};
use std::path::Path;
use templar_model::{Ended, Record, TrainingEvent, folder_of};

/// The beginning of a training, for programs.
pub fn start_facts(record: &Record, parameters: usize) -> Value {
    let plan = &record.plan;
    json!({
        "event": "start", "preset": plan.preset, "parameters": parameters, "corpus": plan.corpus,
        "step": record.step, "plan": plan, "limits": record.limits,
    })
}

/// What happens in a training whose model is in `out`, for programs; none for what they need not know.
pub fn facts(record: &Record, event: &TrainingEvent, prompt: &str, out: &Path) -> Option<Value> {
    let step = record.step;
    Some(match event {
        TrainingEvent::Measuring => return None,
        TrainingEvent::Step(done) => json!({
            "event": "step", "step": step, "loss": done.loss.unwrap_or(f32::NAN), "gradient_norm": done.gradient_norm,
            "learning_rate": done.learning_rate, "tokens": record.tokens, "seconds": record.seconds,
            "tokens_per_second": record.speed(),
        }),
        TrainingEvent::HeldOut(loss) => {
            json!({"event": "held_out", "step": step, "loss": loss, "tokens": record.tokens})
        }
        TrainingEvent::Sample(text) => json!({"event": "sample", "step": step, "prompt": prompt, "text": text}),
        TrainingEvent::Saved => json!({"event": "checkpoint", "step": step, "folder": out}),
    })
}

/// The end of a training whose model is in `out`, for programs.
pub fn summary_facts(record: &Record, ended: Ended, out: &Path) -> Value {
    json!({
        "event": "summary",
        "stopped": ended.name(),
        "steps": record.step,
        "tokens": record.tokens,
        "seconds": record.seconds,
        "tokens_per_second": record.speed(),
        "first_held_out_loss": record.first_held_out_loss,
        "last_held_out_loss": record.last_held_out_loss,
        "folder": out,
        "history": folder_of(out),
    })
}

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
