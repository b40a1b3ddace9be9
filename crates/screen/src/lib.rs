//! What a person sees on a terminal: the page of a network, which is redrawn a few times a second, and plain text.
//!
//! [`Screen`] owns the terminal while it is shown. What is on the page is a function of the
//! [`View`](templar_localnet::View) alone: title with a gauge, the curve of held-out losses, a row for each node, totals
//! and notes, as many as the terminal has room for.
//!
//! Plain text comes from typed facts, never from a command's arguments: each public module words one subject, such as
//! [`governance`] or [`market`], over [`table()`], [`facts_table`], [`column_chart`] and the colours of [`Paint`].
//! [`Progress`] shows how far a piece of work is, [`Failure`] how it failed; both streams outlive their readers
//! ([`print_line`], [`say`]). [`ask_hidden`] reads a password. [`arguments`] reads the words of a command line, within [`bounds`]. Text of files and peers
//! passes [`printable`] or [`printable_text`], and [`Paint::shown`] is the last door before a terminal.
//!
//! ```no_run
//! use templar_localnet::Watch;
//! use templar_screen::Screen;
//!
//! # fn main() -> Result<(), templar_screen::ScreenError> {
//! let mut screen = Screen::open(true)?;
//! let mut watch = Watch::new([("miner-0".to_owned(), "up/nodes/miner-0".into())]);
//! watch.news();
//! screen.draw(&watch.view(&[]))?;
//! # Ok(())
//! # }
//! ```

pub mod access;
pub mod account;
pub mod arguments;
pub mod audit;
pub mod benchmark;
pub mod bounds;
mod chart;
pub mod checkpoints;
mod columns;
pub mod corpus;
pub mod explanation;
mod failure;
pub mod findings;
pub mod governance;
mod hidden;
pub mod ledger;
pub mod log;
pub mod market;
pub mod model;
pub mod network;
pub mod node;
mod nodes;
mod page;
mod printable;
mod progress;
pub mod record;
pub mod reference;
pub mod remedy;
pub mod run;
pub mod slots;
pub mod standing;
mod streams;
mod table;
mod terminal;
mod text;
pub mod training;
pub mod wallets;

pub use columns::column_chart;
pub use failure::{Failure, FailureKind};
pub use hidden::ask_hidden;
pub use printable::{printable, printable_text};
pub use progress::Progress;
pub use streams::{
    Diagnostics, Printed, UnreadError, check_output, is_output_lost, missing_output, print_line, print_piece, say,
};
pub use table::{Paint, count, facts_table, is_colour_wanted, size, table};
pub use terminal::{Key, Screen, ScreenError};
pub use text::duration;
