//! What buckets and the server do, through their public interfaces. One program: linking one for each file took minutes.

mod contract;
mod faults;
mod load;
mod metrics;
mod operations;
mod own_store;
mod server;
