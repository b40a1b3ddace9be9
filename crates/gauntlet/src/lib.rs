//! Judging miners: whose update goes into the model, and who is paid what.
//!
//! Everything here is a pure function of public inputs: the payloads, the parameters at the window's start, the
//! evaluation data that a beacon drew after sealing, and the agreed ratings of the window before. The model is reached
//! through the [`Model`] trait. Honest judges with the same numerics come to the same verdict, bit for bit.
//!
//! The road of one judgement is [`judge`]: the admission checks ([`check_payload`], [`find_copies`]), contribution by one
//! gradient for everybody ([`measure`]), admission, selection, newcomers one at a time, the step that brings most, once more the
//! contributions along that step, confirmation, the probe of a few on their own text; then the ratings ([`Rating`]) and from them the weights ([`weights`]).

mod admission;
mod admission_checks;
mod case;
mod confirmation;
mod contribution;
mod copies;
mod findings;
mod gathering;
mod held;
mod judge;
mod judgement;
mod model;
mod newcomers;
mod pool;
mod probe;
mod rating;
mod ratings;
mod repeats;
mod right_votes;
mod selection;
mod settlement;
mod trials;
mod verdict;
mod weights;

pub use admission::{Rated, Threshold};
pub use admission_checks::{Expectation, Rejection, check_payload};
pub use confirmation::{Candidate, Confirmation, Promise, confirm};
pub use contribution::{Candidates, Contribution, MeasureError, MeasuredAt, Measurement, measure, measure_candidates};
pub use copies::find_copies;
pub use gathering::{gathered_share, lacking_weight};
pub use held::LoneChecks;
pub use judge::{Entry, JudgeError, Submission, WindowInput, judge, merge_rule};
pub use model::{Model, ModelError};
pub use pool::{Ranking, pool};
pub use probe::{PROBE_SEQUENCES, own_text_batches};
pub use rating::Rating;
pub use ratings::{Doubt, MinerRecord, OwnTextSum, Ratings};
pub use repeats::{COMPARED_MERGES, COMPARED_WINDOWS, EarlierPayload, EarlierPayloads};
pub use right_votes::{Compared, JudgeStanding, OpenWindow, RightVotes};
pub use selection::select;
pub use settlement::Settlement;
pub use templar_base::Nats;
pub use verdict::{MinerVerdict, Standing, Verdict};
pub use weights::weights;
