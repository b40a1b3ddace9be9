//! The pages: HTML that is whole without a script. Each view is a function of the snapshot.

mod evaluation;
mod evidence;
mod governance;
mod market;
mod miner;
mod miners;
mod parts;
mod run;
mod try_it;
mod window;
mod words;

pub(crate) use evidence::evidence;
pub(crate) use governance::governance;
pub(crate) use market::market;
pub(crate) use miner::miner;
pub(crate) use miners::{miners, ordered};
pub(crate) use parts::Page;
pub(crate) use run::{run, windows};
pub(crate) use try_it::try_it;
pub(crate) use window::window;

use crate::markup::Markup;

/// A page that says what is wrong with a request.
pub(crate) fn problem(status: u16, what: &str) -> String {
    let title = format!("{status}: {what}");
    let back = Markup::tag("p", &[], Markup::link("/", "Go to the run"));
    parts::document(&title, None, Markup::with_text("h1", &title).then(back), Markup::default())
}
