//! `templar up`: a whole local network as processes of this very program, and one calm screen over it.
//!
//! [`folder`] says where everything lies, [`setup`] makes what is missing (text, keys, ledger, slots, genesis),
//! [`plan`] chooses the run's rules for this machine ([`rule`] those of the outer step by name), [`children`] starts
//! the processes and restarts what dies, [`watch`] turns their journals into windows, and [`report`] and [`screen`]
//! show them.

pub mod children;
pub mod folder;
pub mod plan;
pub mod report;
pub mod rule;
pub mod screen;
mod screen_chart;
mod screen_nodes;
mod screen_text;
pub mod setup;
pub mod watch;
