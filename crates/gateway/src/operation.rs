//! A gateway in operation: its model or its run, its accounts, until it is asked to stop.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use templar_base::Window;
use templar_disk::{DiskError, Folder};

use crate::{
    Admission, Billing, Follower, Gateway, GatewayMetrics, GatewayOptions, Identity, KeyStore, KeysError, Served,
};

/// How often what was served is brought to the ledger.
const SETTLE_EVERY: Duration = Duration::from_secs(10);
/// The file in a gateway's folder that says what it serves and where.
const SERVING_FILE: &str = "serving.json";

/// What a gateway serves, where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The base of the API, such as `http://127.0.0.1:8000/v1`.
    pub address: String,
    /// The model's name there.
    pub model: String,
    /// Which parameters these are.
    pub fingerprint: String,
    /// The window whose start it is, where it comes from a run.
    pub window: Option<Window>,
    /// Whether it asks for no keys.
    pub is_open: bool,
}

/// Where the models come from.
pub enum Source {
    /// One model, for good.
    Model(Box<Served>),
    /// The checkpoints of a run, as they come.
    Run(Box<Follower>),
}

/// Everything that a gateway's process needs.
pub struct Operation {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its bounds.
    pub options: GatewayOptions,
    /// Its own folder, for its keys and for [`Serving`].
    pub folder: PathBuf,
    /// What it serves.
    pub source: Source,
    /// Who pays; none serves everybody.
    pub billing: Option<Billing>,
}

/// A gateway that listens.
pub struct Running {
    gateway: Gateway,
    folder: PathBuf,
    source: Source,
    billing: Option<Arc<Billing>>,
}

/// Why a gateway cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// It cannot listen, or start its thread.
    #[error(transparent)]
    Start(#[from] std::io::Error),
    /// Its keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Its folder cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Serving {
    /// What the gateway with this folder serves; none before its first model.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&Folder::new(folder).read(SERVING_FILE).ok()??).ok()
    }

    /// Forgets what an earlier process served.
    pub fn forget(folder: &Path) -> Result<(), DiskError> {
        Folder::new(folder).remove_file(SERVING_FILE)
    }

    fn new(gateway: &Gateway, identity: &Identity, is_open: bool) -> Self {
        let Identity { name: model, fingerprint, window } = identity.clone();
        Self { address: format!("http://{}/v1", gateway.address()), model, fingerprint, window, is_open }
    }
}

impl Operation {
    /// Listens. There is no model before [`Running::run`].
    pub async fn start(self) -> Result<Running, OperationError> {
        let Self { address, options, folder, source, billing } = self;
        Serving::forget(&folder)?;
        let billing = billing.map(Arc::new);
        let admission = match &billing {
            None => Admission::Open,
            Some(billing) => {
                let keys = Arc::new(KeyStore::open(&folder.join("keys.json"))?);
                Admission::Prepaid { billing: Arc::clone(billing), keys }
            }
        };
        let gateway = Gateway::start(address, options, admission).await?;
        Ok(Running { gateway, folder, source, billing })
    }
}

impl Running {
    /// Its metrics.
    pub fn metrics(&self) -> GatewayMetrics {
        self.gateway.metrics()
    }

    /// Serves until `stop` ends. Each model that is served from now on is told to `tell`, and written into the folder.
    pub async fn run(
        self,
        mut tell: impl FnMut(&Serving),
        stop: impl Future<Output = ()>,
    ) -> Result<(), OperationError> {
        let Self { gateway, folder, source, billing } = self;
        let serve = |model: Arc<Served>| {
            let serving = Serving::new(&gateway, &model.identity, billing.is_none());
            gateway.serve(model);
            // Whoever looks there sees an older model; the service is as it should be.
            if let Err(error) = write(&folder, &serving) {
                tracing::warn!("cannot write what is served: {error}");
            }
            tell(&serving);
        };
        tokio::select! {
            () = stop => {}
            () = models(source, serve) => {}
            () = settle(billing.as_deref()) => {}
        }
        gateway.stop().await;
        Ok(Serving::forget(&folder)?)
    }
}

fn write(folder: &Path, serving: &Serving) -> Result<(), DiskError> {
    let text = serde_json::to_vec(serving).unwrap_or_default();
    Folder::new(folder).write(SERVING_FILE, &[&text])
}

/// Gives the models to `serve` as they come. Never ends.
async fn models(source: Source, mut serve: impl FnMut(Arc<Served>)) {
    match source {
        Source::Model(model) => {
            serve(Arc::new(*model));
            pending().await
        }
        Source::Run(follower) => {
            let kept = follower.kept().map(Arc::new);
            let window = kept.as_ref().and_then(|model| model.identity.window);
            if let Some(kept) = kept {
                serve(kept);
            }
            follower.follow(window, serve).await;
        }
    }
}

/// Brings what was served to the ledger from time to time. Never ends.
async fn settle(billing: Option<&Billing>) {
    match billing {
        Some(billing) => billing.settle_always(SETTLE_EVERY).await,
        None => pending().await,
    }
}
