//! What `templar up` shows of a network that `templar-localnet` runs: a screen on a terminal, lines elsewhere.

pub mod report;
pub mod screen;
mod screen_chart;
mod screen_nodes;
mod screen_text;
