//! The gateway's side: what was served, on disk before anybody is told, and signed records of it for the ledger.
//!
//! A request is *reserved* before it is served (the account must be able to pay for the most that it may take), and
//! *charged* when it is known what it took; both are on disk when the call returns, and both may be repeated without
//! harm. A gateway that is killed in between finds its open requests with [`Meter::unfinished`], and charges them what
//! it can prove to have served or releases them. Records carry sums since the account was opened, so that sending them
//! to the ledger again charges nothing.

use parity_scale_codec::{Decode, DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use templar_base::{Alpha, BlockHash, Keypair, Netuid, PublicKey};
use templar_chain::access::{
    Access, AccessAccountView, AccessCall, AccessTerms, MAX_RECORDS, MeteringRecord, Service, Units,
};
use templar_chain::{Call, Chain, ChainError};

/// Requests by their id.
const REQUESTS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("requests");
/// Sums by account: key and serial.
const ACCOUNTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("accounts");
/// Charged requests in the order of their charge, so that the oldest can be forgotten.
const CHARGED: TableDefinition<u64, [u8; 16]> = TableDefinition::new("charged");
/// Whose meter it is: ledger and gateway.
const OWNER: TableDefinition<(), &[u8]> = TableDefinition::new("owner");

/// So many charged requests are remembered: a charge that is repeated later than that is taken for a new one's error.
const REMEMBERED: u64 = 65_536;

/// Names a request; the gateway draws it, and never uses it for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

/// Why a meter does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The account cannot pay for the most that the request may take.
    #[error("the account has {available} alpha left for this, {needed} alpha are wanted; the payer must deposit more")]
    NotEnough {
        /// What the request may cost.
        needed: Alpha,
        /// What is neither spent nor reserved.
        available: Alpha,
    },
    /// The account is about to close.
    #[error("the account closes at block {0}; nothing more is served on it")]
    Closing(templar_base::BlockNumber),
    /// The view of the account is older than what the meter knows to be settled.
    #[error("the account was read before its last settlement; read it again")]
    OldView,
    /// The account is at another gateway.
    #[error("the account is at gateway {0}, not at this one; the caller is at fault")]
    OtherGateway(PublicKey),
    /// No such reservation.
    #[error("request {} was not reserved, or was released; the gateway is at fault", hex::encode(.0.0))]
    Unknown(RequestId),
    /// The id names another request already.
    #[error("request {} was reserved for something else; the gateway is at fault", hex::encode(.0.0))]
    Reused(RequestId),
    /// More was served than reserved.
    #[error("{units} units were served, {reserved} reserved; the gateway is at fault")]
    OverReservation {
        /// Units to charge.
        units: u64,
        /// Units reserved.
        reserved: u64,
    },
    /// The file belongs to another gateway or ledger.
    #[error("{0} is the meter of another gateway or ledger; use another file")]
    Foreign(PathBuf),
    /// The ledger did not take the records.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database failed: its disk, or what is in its file.
    #[error("{0}: {1}; check the disk's space and rights")]
    Database(PathBuf, #[source] Box<redb::Error>),
}

/// A request on disk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Request {
    key: PublicKey,
    serial: u64,
    service: Service,
    reserved: u64,
    /// Units that were charged; none while it is open.
    charged: Option<u64>,
}

/// Sums of an account on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
struct Sums {
    /// Of all charged requests.
    charged: Units,
    /// Of all open requests.
    reserved: Units,
    /// What the ledger is known to have settled.
    settled: Units,
}

/// A gateway's meter, in one crash-safe file.
pub struct Meter {
    database: Database,
    path: PathBuf,
    gateway: Keypair,
    genesis: BlockHash,
}

impl std::fmt::Debug for Meter {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("path", &self.path).finish_non_exhaustive()
    }
}

fn account_name(key: &PublicKey, serial: u64) -> Vec<u8> {
    (key, serial).encode()
}

fn read_sums(bytes: Option<&[u8]>) -> Sums {
    bytes.and_then(|bytes| Sums::decode_all(&mut &bytes[..]).ok()).unwrap_or_default()
}

fn read_request(bytes: &[u8]) -> Option<Request> {
    Request::decode_all(&mut &bytes[..]).ok()
}

impl Meter {
    /// Opens the meter of `gateway` for the ledger called `genesis`, or begins one.
    pub fn open(path: &Path, gateway: Keypair, genesis: BlockHash) -> Result<Self, MeterError> {
        let disk = |error: redb::DatabaseError| MeterError::Database(path.to_owned(), Box::new(error.into()));
        let database = Database::create(path).map_err(disk)?;
        let meter = Self { database, path: path.to_owned(), gateway, genesis };
        let owner = (genesis, meter.gateway.public()).encode();
        let is_own = meter.write(|transaction| {
            let mut table = transaction.open_table(OWNER)?;
            transaction.open_table(REQUESTS)?;
            transaction.open_table(ACCOUNTS)?;
            transaction.open_table(CHARGED)?;
            let found = table.get(())?.map(|bytes| bytes.value().to_vec());
            if found.is_none() {
                table.insert((), owner.as_slice())?;
            }
            Ok(found.is_none_or(|found| found == owner))
        })?;
        if is_own { Ok(meter) } else { Err(MeterError::Foreign(meter.path)) }
    }

    /// Sets aside the most that a request may take, before it is served. Repeated for the same request it does nothing.
    pub fn reserve(
        &self,
        request: RequestId,
        account: &AccessAccountView,
        terms: &AccessTerms,
        (service, most): (Service, u64),
    ) -> Result<(), MeterError> {
        if account.gateway != self.gateway.public() {
            return Err(MeterError::OtherGateway(account.gateway));
        }
        if let Some(at) = account.account.closes_at {
            return Err(MeterError::Closing(at));
        }
        let (key, serial) = (account.key, account.account.serial);
        let wanted = Request { key, serial, service, reserved: most, charged: None };
        let name = account_name(&key, serial);
        self.write(|transaction| {
            let mut requests = transaction.open_table(REQUESTS)?;
            let known = requests.get(request.0)?.map(|bytes| bytes.value().to_vec());
            if let Some(known) = known.as_deref().map(read_request) {
                let is_same = known.is_some_and(|known| Request { charged: None, ..known } == wanted);
                return Ok(if is_same { Ok(()) } else { Err(MeterError::Reused(request)) });
            }
            let mut accounts = transaction.open_table(ACCOUNTS)?;
            let mut sums = read_sums(accounts.get(name.as_slice())?.as_ref().map(|bytes| bytes.value()));
            // Its balance is that of before the settlement: what was settled since would count as paid and as unspent.
            if !sums.settled.minus(account.account.settled).is_none() {
                return Ok(Err(MeterError::OldView));
            }
            sums.settled = account.account.settled;
            let reserved = sums.reserved.plus(Units::of(service, most));
            if let Err(error) = check_cover(account, terms, sums, reserved) {
                return Ok(Err(error));
            }
            sums.reserved = reserved;
            accounts.insert(name.as_slice(), sums.encode().as_slice())?;
            requests.insert(request.0, wanted.encode().as_slice())?;
            Ok(Ok(()))
        })?
    }

    /// Charges a reserved request `units`. Repeated it changes nothing and gives what was charged at first.
    pub fn charge(&self, request: RequestId, units: u64) -> Result<u64, MeterError> {
        self.finish(request, Some(units))
    }

    /// Gives a reservation back: nothing was served.
    pub fn release(&self, request: RequestId) -> Result<(), MeterError> {
        self.finish(request, None).map(|_| ())
    }

    fn finish(&self, id: RequestId, units: Option<u64>) -> Result<u64, MeterError> {
        self.write(|transaction| {
            let mut requests = transaction.open_table(REQUESTS)?;
            let known = requests.get(id.0)?.and_then(|bytes| read_request(bytes.value()));
            let Some(mut request) = known else { return Ok(Err(MeterError::Unknown(id))) };
            if let Some(charged) = request.charged {
                return Ok(Ok(charged));
            }
            let reserved = request.reserved;
            if let Some(units) = units.filter(|units| *units > reserved) {
                return Ok(Err(MeterError::OverReservation { units, reserved }));
            }
            let name = account_name(&request.key, request.serial);
            let mut accounts = transaction.open_table(ACCOUNTS)?;
            let mut sums = read_sums(accounts.get(name.as_slice())?.as_ref().map(|bytes| bytes.value()));
            sums.reserved = sums.reserved.minus(Units::of(request.service, reserved));
            match units {
                None => drop(requests.remove(id.0)?),
                Some(units) => {
                    sums.charged = sums.charged.plus(Units::of(request.service, units));
                    request.charged = Some(units);
                    requests.insert(id.0, request.encode().as_slice())?;
                    remember(&mut transaction.open_table(CHARGED)?, &mut requests, id)?;
                }
            }
            accounts.insert(name.as_slice(), sums.encode().as_slice())?;
            Ok(Ok(units.unwrap_or(0)))
        })?
    }

    /// Requests that were reserved and neither charged nor released: what a kill has cut short. Id, key, and the units
    /// reserved.
    pub fn unfinished(&self) -> Result<Vec<(RequestId, PublicKey, u64)>, MeterError> {
        self.read(|transaction| {
            let mut open = Vec::new();
            for entry in transaction.open_table(REQUESTS)?.iter()? {
                let (id, bytes) = entry?;
                let request = read_request(bytes.value()).filter(|request| request.charged.is_none());
                open.extend(request.map(|request| (RequestId(id.value()), request.key, request.reserved)));
            }
            Ok(open)
        })
    }

    /// Signed records of all accounts of which the ledger does not know everything, `limit` at most.
    pub fn unsettled(&self, limit: usize) -> Result<Vec<MeteringRecord>, MeterError> {
        let found = self.read(|transaction| {
            let mut found = Vec::new();
            for entry in transaction.open_table(ACCOUNTS)?.iter()? {
                let (name, bytes) = entry?;
                let sums = read_sums(Some(bytes.value()));
                let is_new = !sums.charged.minus(sums.settled).is_none();
                let name = <(PublicKey, u64)>::decode_all(&mut name.value());
                found.extend(name.ok().filter(|_| is_new).map(|(key, serial)| (key, serial, sums.charged)));
                if found.len() >= limit {
                    break;
                }
            }
            Ok(found)
        })?;
        let sign = |(key, serial, units)| MeteringRecord::sign(&self.gateway, &self.genesis, key, serial, units);
        Ok(found.into_iter().map(sign).collect())
    }

    /// Notes what the ledger has settled; an account that it no longer has is forgotten, with what is open on it.
    pub fn acknowledge(&self, record: &MeteringRecord, account: Option<&AccessAccountView>) -> Result<(), MeterError> {
        let name = account_name(&record.key, record.serial);
        let account = account.filter(|account| account.account.serial == record.serial);
        self.write(|transaction| {
            let mut accounts = transaction.open_table(ACCOUNTS)?;
            let mut sums = read_sums(accounts.get(name.as_slice())?.as_ref().map(|bytes| bytes.value()));
            match account {
                Some(account) => {
                    sums.settled = sums.settled.max(account.account.settled);
                    accounts.insert(name.as_slice(), sums.encode().as_slice())?;
                }
                None => drop(accounts.remove(name.as_slice())?),
            }
            Ok(())
        })
    }

    /// Brings everything that is charged to the ledger. May be stopped at any moment and called again.
    pub async fn settle<C: Chain + Access + ?Sized>(&self, chain: &C, netuid: Netuid) -> Result<usize, MeterError> {
        let mut settled = 0;
        loop {
            let records = self.unsettled(MAX_RECORDS)?;
            if records.is_empty() {
                return Ok(settled);
            }
            let call = Call::Access { netuid, call: AccessCall::Settle { records: records.clone() } };
            chain.submit(&self.gateway, call).await?;
            for record in &records {
                let account = chain.access_account(netuid, &record.gateway, &record.key).await?;
                self.acknowledge(record, account.as_ref())?;
            }
            settled += records.len();
        }
    }

    fn write<T>(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>) -> Result<T, MeterError> {
        let done = || {
            let transaction = self.database.begin_write()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        done().map_err(|error: redb::Error| MeterError::Database(self.path.clone(), Box::new(error)))
    }

    fn read<T>(&self, work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, MeterError> {
        let done = || work(&self.database.begin_read()?);
        done().map_err(|error: redb::Error| MeterError::Database(self.path.clone(), Box::new(error)))
    }
}

/// Whether balance and allowance cover everything that the ledger has not settled, were all reservations used up.
fn check_cover(
    account: &AccessAccountView,
    terms: &AccessTerms,
    sums: Sums,
    reserved: Units,
) -> Result<(), MeterError> {
    let open = sums.charged.minus(sums.settled).plus(reserved);
    // Rounded up: a part of a unit of money that is not there cannot be charged.
    let cost = terms.cost_in_thousandths(open.minus(account.allowance)) + u128::from(account.account.remainder);
    let needed = Alpha::from_rao(u64::try_from(cost.div_ceil(1_000)).unwrap_or(u64::MAX));
    let available = account.account.balance;
    if needed > available { Err(MeterError::NotEnough { needed, available }) } else { Ok(()) }
}

/// Puts a charged request at the end of those remembered, and forgets the oldest beyond the limit.
fn remember(
    charged: &mut redb::Table<'_, u64, [u8; 16]>,
    requests: &mut redb::Table<'_, [u8; 16], &[u8]>,
    id: RequestId,
) -> Result<(), redb::Error> {
    let next = charged.last()?.map_or(0, |(place, _)| place.value() + 1);
    charged.insert(next, id.0)?;
    if let Some(oldest) = next.checked_sub(REMEMBERED) {
        let forgotten = charged.remove(oldest)?.map(|id| id.value());
        if let Some(forgotten) = forgotten {
            requests.remove(forgotten)?;
        }
    }
    Ok(())
}
