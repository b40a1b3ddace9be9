//! A dashboard over a small record on a real ledger, asked over a socket as a browser and as a stranger would.

mod browser;
mod client;
mod limits;
mod pages;
mod record;
mod schema;
mod world;
