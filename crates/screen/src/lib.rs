//! The terminal page of a network: one page that is redrawn a few times a second.
//!
//! [`Screen`] owns the terminal while it is shown. What is on the page is a function of the
//! [`View`](templar_localnet::View) alone: title with a gauge, the curve of held-out losses, a row for each node, totals
//! and notes, as many as the terminal has room for.
//!
//! [`column_chart`] draws a curve into plain output.
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

mod chart;
mod columns;
mod nodes;
mod page;
mod terminal;
mod text;

pub use columns::column_chart;
pub use terminal::{Key, Screen, ScreenError};
pub use text::duration;
