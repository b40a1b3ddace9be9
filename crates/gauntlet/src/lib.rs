//! Judging miners: whose update goes into the model, and who is paid what.
//!
//! Everything here is a pure function of public inputs: the payloads, the parameters at the window's start, the
//! evaluation data that a beacon drew after sealing, and the agreed ratings of the window before. The model is reached
//! through the [`Model`] trait. Honest judges with the same numerics come to the same verdict, bit for bit.
//!
//! The road of one judgement is [`judge`]: the door ([`check_payload`], [`find_copies`]), contribution by one gradient
//! for everybody ([`measure`]), admission, rating ([`Rating`]), selection, confirmation at the full step; and from the
//! book of ratings the weights ([`weights`]).

mod admission;
mod book;
mod confirmation;
mod contribution;
mod copies;
mod door;
mod judge;
mod model;
mod rating;
mod selection;
mod verdict;
mod weights;

pub use admission::admitted;
pub use book::{Book, MinerRecord};
pub use confirmation::{Confirmation, confirm};
pub use contribution::{Contribution, Measurement, Nats, measure};
pub use copies::find_copies;
pub use door::{DoorFailure, Expectation, check_payload};
pub use judge::{Entry, JudgeError, Submission, WindowInput, judge, merge_rule};
pub use model::{Model, ModelError};
pub use rating::Rating;
pub use selection::select;
pub use verdict::{MinerVerdict, Standing, Verdict};
pub use weights::weights;
