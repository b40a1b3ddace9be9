//! Who pays: what a request may cost is set aside before it is served, what it took is charged before its answer ends,
//! and the sums are brought to the ledger from time to time.
//!
//! The meter ([`Meter`]) has all of it on disk before a call returns, and the ledger charges by sums since the account
//! was opened: a gateway that is killed anywhere charges a request once or not at all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use templar_base::{BlockHash, Keypair, Netuid, PublicKey};
use templar_chain::access::{Access, AccessAccountView, AccessTerms, Service, Units};
use templar_chain::{Chain, ChainError};
use templar_ledger::{Meter, MeterError, RequestId};
use tokio::time::{sleep, timeout};

use crate::ApiError;
use crate::charges::Charges;

/// How long the ledger may take to answer.
const LEDGER_DEADLINE: Duration = Duration::from_secs(10);
/// How long a settlement may take: it waits for a block.
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);
/// An account is read again this often where a settlement came between.
const READS: usize = 3;

/// A ledger with prepaid accounts.
pub trait PayLedger: Chain + Access {}

impl<T: Chain + Access + ?Sized> PayLedger for T {}

/// The accounts of a gateway: its meter, and the ledger that it settles on.
pub struct Billing {
    meter: Meter,
    ledger: Arc<dyn PayLedger>,
    netuid: Netuid,
    gateway: PublicKey,
    genesis: BlockHash,
    charges: Charges,
}

/// What was set aside for a request. Dropped without a charge, it is given back.
pub(crate) struct Reservation {
    billing: Arc<Billing>,
    id: RequestId,
    terms: AccessTerms,
    is_finished: bool,
}

impl Billing {
    /// Opens the meter at `path` of the gateway whose key this is, on the ledger called `genesis`. What a kill has left
    /// open is given back: nobody got the end of those answers.
    pub fn open(
        path: &Path,
        key: Keypair,
        ledger: Arc<dyn PayLedger>,
        (genesis, netuid): (BlockHash, Netuid),
    ) -> Result<Self, MeterError> {
        let gateway = key.public();
        let meter = Meter::open(path, key, genesis)?;
        for (request, ..) in meter.unfinished()? {
            meter.release(request)?;
        }
        Ok(Self { meter, ledger, netuid, gateway, genesis, charges: Charges::default() })
    }

    /// The gateway's address.
    pub fn gateway(&self) -> PublicKey {
        self.gateway
    }

    /// The ledger's first block, which names it.
    pub fn genesis(&self) -> BlockHash {
        self.genesis
    }

    /// The subnet whose token pays.
    pub fn netuid(&self) -> Netuid {
        self.netuid
    }

    /// What was charged and settled since the start.
    pub(crate) fn charges(&self) -> &Charges {
        &self.charges
    }

    /// Brings what was charged to the ledger every `interval`; outages are waited for. Never ends.
    pub async fn settle_always(&self, interval: Duration) {
        let mut is_failing = false;
        loop {
            sleep(interval).await;
            let error = match timeout(SETTLE_DEADLINE, self.settle()).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the ledger does not answer".to_owned()),
            };
            if let Some(error) = error.as_ref().filter(|_| !is_failing) {
                tracing::warn!("cannot settle what was served, it is tried again: {error}");
            }
            is_failing = error.is_some();
            if is_failing {
                self.charges.failed();
            }
        }
    }

    /// Brings what was charged to the ledger; returns how many accounts were settled.
    pub async fn settle(&self) -> Result<usize, MeterError> {
        let charged = self.charges.units();
        let settled = self.meter.settle(self.ledger.as_ref(), self.netuid).await?;
        self.charges.settled(charged);
        Ok(settled)
    }

    /// The account of `key` at this gateway, if there is one.
    pub(crate) async fn account(&self, key: &PublicKey) -> Result<Option<AccessAccountView>, ApiError> {
        asked(self.ledger.access_account(self.netuid, &self.gateway, key)).await
    }

    async fn terms(&self) -> Result<AccessTerms, ApiError> {
        Ok(asked(self.ledger.access_overview(self.netuid)).await?.terms)
    }

    /// Sets aside the most that a request of `key` may take, in tokens read and written.
    pub(crate) async fn reserve(self: &Arc<Self>, key: &PublicKey, most: u64) -> Result<Reservation, ApiError> {
        let mut id = RequestId([0; 16]);
        getrandom::fill(&mut id.0).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
        let terms = self.terms().await?;
        for _ in 0..READS {
            let account = self.account(key).await?.ok_or_else(no_account)?;
            let (billing, asked) = (Arc::clone(self), terms.clone());
            let reserve = move || billing.meter.reserve(id, &account, &asked, (Service::Generation, most));
            match on_disk(reserve).await {
                Ok(()) => return Ok(Reservation { billing: Arc::clone(self), id, terms, is_finished: false }),
                Err(MeterFailure::Meter(MeterError::OldView)) => {}
                Err(MeterFailure::Meter(error @ (MeterError::NotEnough { .. } | MeterError::Closing(_)))) => {
                    return Err(ApiError::quota(format!("You exceeded your current quota: {error}.")));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(ApiError::unavailable("The account is being settled.", Duration::from_secs(1)))
    }
}

impl Reservation {
    /// Charges what the request took.
    pub(crate) async fn charge(mut self, units: u64) -> Result<(), ApiError> {
        self.is_finished = true;
        let (billing, id) = (Arc::clone(&self.billing), self.id);
        on_disk(move || billing.meter.charge(id, units).map(drop)).await?;
        let price = self.terms.cost_in_thousandths(Units::of(Service::Generation, units));
        self.billing.charges.charged(units, price);
        Ok(())
    }

    /// Gives it back: nothing was served.
    pub(crate) async fn release(mut self) -> Result<(), ApiError> {
        self.is_finished = true;
        let (billing, id) = (Arc::clone(&self.billing), self.id);
        Ok(on_disk(move || billing.meter.release(id)).await?)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let (billing, id) = (Arc::clone(&self.billing), self.id);
        let release = move || {
            if let Err(error) = billing.meter.release(id) {
                tracing::warn!("cannot give a reservation back, the next start does: {error}");
            }
        };
        // The disk may be slow; without a runtime the process ends, and the next start gives it back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(release);
        }
    }
}

/// The meter failed, or the thread that asked it.
#[derive(Debug)]
enum MeterFailure {
    Meter(MeterError),
    Thread,
}

impl From<MeterFailure> for ApiError {
    fn from(failure: MeterFailure) -> Self {
        match failure {
            MeterFailure::Meter(error) => {
                tracing::error!("the meter failed: {error}");
                Self::internal("The gateway's meter failed; nothing was charged.")
            }
            MeterFailure::Thread => Self::unavailable("The gateway stops.", Duration::from_secs(5)),
        }
    }
}

/// Does what waits for the disk on a thread that may wait.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MeterError> + Send + 'static,
) -> Result<T, MeterFailure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(MeterFailure::Meter),
        Err(_) => Err(MeterFailure::Thread),
    }
}

/// An answer of the ledger, in time.
async fn asked<T>(answer: impl Future<Output = Result<T, ChainError>>) -> Result<T, ApiError> {
    let reason = match timeout(LEDGER_DEADLINE, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!("the ledger does not say what an account has: {reason}");
    Err(ApiError::unavailable("The ledger that has the accounts does not answer.", Duration::from_secs(5)))
}

fn no_account() -> ApiError {
    ApiError::quota("Nothing is prepaid for this key at this gateway; open an account with `templar access open`.")
}
