//! The trained model as a service, with OpenAI's API.
//!
//! A [`Gateway`] answers `/v1/models`, `/v1/chat/completions` and `/v1/completions` over the model that it was last
//! given ([`Gateway::serve`]): that of a folder ([`Served::open`]), or the newest agreed checkpoint of a run
//! ([`Follower`]). One thread writes all texts together; requests come and go between two tokens. Who may ask is said
//! by the [`Admission`]: everybody, or holders of prepaid accounts ([`Billing`]) by keys that the gateway knows as hashes
//! only ([`KeyStore`]). An [`Operation`] is all of it, as `templar gateway` runs it.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//! use templar_gateway::{Admission, Gateway, GatewayOptions, Identity, Served};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("first");
//! let model = Served::open(path, Identity::of_folder(path), 2)?;
//! let gateway = Gateway::start("127.0.0.1:8000".parse()?, GatewayOptions::default(), Admission::Open).await?;
//! gateway.serve(Arc::new(model));
//! println!("http://{}/v1", gateway.address());
//! gateway.stop().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod billing;
mod body;
mod charges;
mod client;
mod connection;
mod conversation;
mod error;
mod fields;
mod follow;
mod holder;
mod keys;
mod metrics;
mod operation;
mod origins;
mod request;
mod routes;
mod scheduler;
mod served;
mod server;
mod unsupported;
mod writing;

pub use billing::{Billing, PayLedger};
pub use error::ApiError;
pub use follow::{FollowError, Follower};
pub use holder::{HolderError, PrepaidFacts, RemoteGateway};
pub use keys::{KeyGrant, KeyHash, KeyStore, KeysError, MAX_KEYS, new_key};
pub use metrics::GatewayMetrics;
pub use operation::{Operation, OperationError, Running, Serving, Source};
pub use origins::{Origin, OriginError};
pub use routes::Admission;
pub use scheduler::SchedulerOptions;
pub use served::{Identity, Served, ServedError};
pub use server::{Gateway, GatewayOptions};
