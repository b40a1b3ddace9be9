//! One worker's window, pure: inner steps away from the shared parameters, the payload of their drift, the outcome.
//!
//! A window of a [`Trainer`] is `begin` (the data), `step` again and again, `seal` (the payload), more steps while the
//! others judge, and `apply` (what was merged), after which the worker is rebased onto the new shared parameters with the
//! drift that it has not sent. `unsend` puts a payload back that nobody merged, `forget` drops what would do harm, and
//! [`replay`] does a payload's steps once more to see whether it states what they come to. Nothing here reads a clock, a
//! file or a channel: what must survive a kill goes through the caller's [`Keep`], and the end point of the last payload
//! into the caller's [`Anchor`]. Nodes, comparisons, audits and adversaries of tests all train through this.
//!
//! Its layers can be used alone: [`Learner`] moves the parameters, [`Sender`] keeps what was not sent, and [`BatchRule`] is
//! the one way from tokens to a batch.
//!
//! ```
//! use std::sync::Arc;
//! use templar_base::{OuterRule, Window};
//! use templar_engine::{CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};
//! use templar_gradient::{Aggregate, GradientLayout, MergeRule, OuterState, OuterStep};
//! use templar_trainer::{BatchRule, MemoryAnchor, Outcome, SharedState, Trainer, Volatile, WindowData, WorkerRules};
//!
//! let config = preset("nano", 64)?;
//! let engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone()))?;
//! let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 128));
//! let rules = WorkerRules {
//!     run: Default::default(),
//!     uid: Default::default(),
//!     layout: GradientLayout::new(tensors)?,
//!     outer: serde_json::from_str::<OuterRule>(OUTER)?,
//!     numerics: engine.numerics().to_string(),
//! };
//! let shared = SharedState::new(Window(0), OuterState::new(initial_parameters(&config, [1; 32])));
//! let start = shared.state;
//! let mut trainer = Trainer::new(rules.clone(), engine, shared, Box::<MemoryAnchor>::default())?;
//!
//! let rule = BatchRule { sequence_length: 16, end_of_text: Some(0) };
//! let batches: Vec<_> = (0..3).map(|step| rule.batch((0..34).map(|i| (i + step) % 5).collect())).collect();
//! trainer.begin(WindowData { window: Window(0), text: Arc::new(batches), inner_steps: 3, learning_rate: 1e-2 })?;
//! while trainer.step()?.is_some() {}
//! let sealed = trainer.seal(Window(0), start, &mut Volatile)?;
//!
//! let aggregate = Aggregate::merge(&rules.layout, &[(&sealed.payload, 1)], MergeRule::default())?;
//! let step = OuterStep::of(&rules.outer, Window(0));
//! let outcome = Outcome { aggregate: Some(&aggregate), step: &step };
//! let applied = trainer.apply(Window(0), outcome, &mut Volatile)?;
//! assert_ne!(applied.state, start);
//! # const OUTER: &str = r#"{"error_feedback_decay": 0.95, "tensor_classes": [], "alpha": 0.7, "final_alpha": 0.7,
//! #     "decay_from_window": 0, "decay_to_window": 0, "scales": {"clipped": {"times": 4}}}"#;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod anchor;
mod batch;
mod error;
mod keep;
mod learner;
mod replay;
mod sender;
mod shared;
mod text;
mod trainer;
mod trajectory;

pub use anchor::{Anchor, AnchorError, MemoryAnchor};
pub use batch::{BatchRule, mean_loss};
pub use error::TrainerError;
pub use keep::{Keep, OwnState, Sent, Volatile};
pub use learner::{Applied, Learner};
pub use replay::{ReplayError, ReplayStart, ReplayText, Replayed, Transition, replay};
pub use sender::{Sender, drift_between};
pub use shared::{Outcome, SharedState, SharedView};
pub use text::{AssignedText, Text, WindowData};
pub use trainer::{Sealed, Trainer, WorkerRules};
pub use trajectory::worker_roots;
