//! What one client may ask of a ledger, so that none can starve the others.
//!
//! A client is an address of the network; on this machine, where many nodes share one address, it is a connection. Each
//! has a bucket of tokens that fills at a steady rate: a request takes one (some take more), and one more for every 16
//! KiB of its answer. A client without tokens is rejected and retries. How many connections an address may hold is bounded
//! too.
//!
//! Written here and not taken from `governor`: its buckets cannot go into debt, and a large answer is paid for after it
//! is known how large it is.
//!
//! Of IPv6 a client is a network of 64 bits, which is what one subscriber is given. A part of all connections is kept for
//! networks from which a registered key has sent a transaction within the last hour, and for this machine: others may
//! take all the rest and keep no node out.

use super::refusal::refuse;
use super::requests::Requests;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, Request, RpcServiceT};
use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::Id;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use templar_base::PublicKey;
use templar_chain::ChainError;

/// Bytes of an answer that cost a token more.
const BYTES_PER_TOKEN: usize = 16 * 1024;

/// Methods that read much for a short answer, and the tokens that they take instead of one.
const DEAR_METHODS: [(&str, usize); 4] =
    [("ledger_snapshot", 20), ("ledger_metagraph", 5), ("ledger_explain", 20), ("ledger_records", 5)];

/// How long a registered key vouches for the network from which it sent a transaction.
const VOUCHED_FOR: Duration = Duration::from_secs(3_600);

/// One token, as it is counted: in billionths, so that no float is needed.
const TOKEN: i64 = 1_000_000_000;

fn billionths(tokens: usize) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(TOKEN)
}

fn price_of(method: &str) -> usize {
    DEAR_METHODS.iter().find(|(name, _)| *name == method).map_or(1, |(_, price)| *price)
}

/// Limits of one client.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Requests a second in the long run.
    pub requests_per_second: u32,
    /// Requests that may come at once.
    pub burst: u32,
    /// Connections of one address at a time; on this machine they are bounded by the server's own limit alone.
    pub connections_per_address: u32,
    /// Part of all connections, in thousandths, that is kept for this machine and for networks of registered keys.
    pub reserved_per_mille: u16,
}

impl Default for ClientLimits {
    /// 500 requests a second, 2000 at once, 64 connections: more than a node with all its tasks needs. A quarter of all
    /// connections for registered keys.
    fn default() -> Self {
        Self { requests_per_second: 500, burst: 2_000, connections_per_address: 64, reserved_per_mille: 250 }
    }
}

/// The tokens of one client. They may fall under none: a large answer is paid for after it is given.
#[derive(Debug)]
struct Tokens {
    /// In billionths of a token.
    left: i64,
    counted_at: Instant,
}

/// One client, shared by its connections.
#[derive(Debug)]
pub(super) struct Client {
    limits: ClientLimits,
    tokens: Mutex<Tokens>,
}

impl Client {
    fn new(limits: ClientLimits) -> Self {
        let tokens = Tokens { left: i64::from(limits.burst) * TOKEN, counted_at: Instant::now() };
        Self { limits, tokens: Mutex::new(tokens) }
    }

    fn tokens(&self, now: Instant) -> MutexGuard<'_, Tokens> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // A token a second is a billionth of a token a nanosecond.
        let nanoseconds = now.saturating_duration_since(tokens.counted_at).as_nanos();
        let gained = nanoseconds.saturating_mul(self.limits.requests_per_second.into());
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        tokens.left = tokens.left.saturating_add(gained).min(i64::from(self.limits.burst) * TOKEN);
        tokens.counted_at = now;
        tokens
    }

    /// Takes `tokens` tokens, if the client has them.
    fn take(&self, now: Instant, tokens: usize) -> Result<(), ChainError> {
        let (mut held, wanted) = (self.tokens(now), billionths(tokens));
        if held.left < wanted {
            return Err(ChainError::TooManyRequests { per_second: self.limits.requests_per_second });
        }
        held.left -= wanted;
        Ok(())
    }

    fn pay_for_answer(&self, now: Instant, bytes: usize) {
        let mut held = self.tokens(now);
        held.left = held.left.saturating_sub(billionths(bytes / BYTES_PER_TOKEN));
    }
}

/// The clients that are connected.
#[derive(Debug)]
pub(super) struct Clients {
    limits: ClientLimits,
    max_connections: u32,
    connected: Mutex<Connected>,
    rejected: AtomicU64,
}

/// How many are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowd {
    pub connections: u32,
    /// Those from networks that no registered key vouches for.
    pub strangers: u32,
    /// Networks with connections, this machine aside.
    pub networks: usize,
    /// Connections for which there was no place, since the start.
    pub rejected: u64,
}

#[derive(Debug, Default)]
struct Connected {
    connections: u32,
    /// Those from networks that no registered key vouches for.
    strangers: u32,
    by_address: BTreeMap<IpAddr, (Arc<Client>, u32)>,
    /// The network for which each registered key vouches, and since when: one for a key, so that a key buys one.
    vouched: BTreeMap<PublicKey, (IpAddr, Instant)>,
}

impl Connected {
    fn is_vouched(&self, address: &IpAddr, now: Instant) -> bool {
        let is_fresh = |since: &Instant| now.saturating_duration_since(*since) < VOUCHED_FOR;
        self.vouched.values().any(|(network, since)| network == address && is_fresh(since))
    }
}

/// What counts as one client: an address, or a network of 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) if address.is_loopback() => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// A connection's place among the clients; given up when it is dropped.
pub(super) struct Place {
    client: Arc<Client>,
    /// The client's network; none on this machine.
    address: Option<IpAddr>,
    is_stranger: AtomicBool,
    /// When it last asked anything; none before its first request.
    asked_at: Mutex<Option<Instant>>,
    clients: Arc<Clients>,
}

impl Place {
    /// A registered key sent a transaction over this connection.
    pub fn vouch(&self, key: PublicKey, now: Instant) {
        let Some(address) = self.address else { return };
        let mut connected = self.clients.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.vouched.retain(|_, (_, since)| now.saturating_duration_since(*since) < VOUCHED_FOR);
        connected.vouched.insert(key, (address, now));
        if self.is_stranger.swap(false, Ordering::Relaxed) {
            connected.strangers = connected.strangers.saturating_sub(1);
        }
    }

    /// Notes a request.
    pub fn ask(&self, now: Instant) {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// When it last asked anything.
    pub fn asked_at(&self) -> Option<Instant> {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    pub fn new(limits: ClientLimits, max_connections: u32) -> Arc<Self> {
        Arc::new(Self { limits, max_connections, connected: Mutex::default(), rejected: AtomicU64::new(0) })
    }

    /// Connections that strangers may hold together.
    fn for_strangers(&self) -> u32 {
        let reserved = u64::from(self.max_connections) * u64::from(self.limits.reserved_per_mille) / 1_000;
        self.max_connections.saturating_sub(u32::try_from(reserved).unwrap_or(u32::MAX))
    }

    /// How many are connected.
    pub fn crowd(&self) -> Crowd {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let Connected { connections, strangers, .. } = *connected;
        let (networks, rejected) = (connected.by_address.len(), self.rejected.load(Ordering::Relaxed));
        Crowd { connections, strangers: strangers.min(connections), networks, rejected }
    }

    /// A place for a connection from `address`; none where there are too many.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        let place = self.find_place(address, now);
        if place.is_none() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    fn find_place(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.connections >= self.max_connections {
            return None;
        }
        let address = network_of(address);
        let is_stranger = !address.is_loopback() && !connected.is_vouched(&address, now);
        if is_stranger && connected.strangers >= self.for_strangers() {
            return None;
        }
        let (client, address) = if address.is_loopback() {
            (Arc::new(Client::new(self.limits)), None)
        } else {
            let entry = connected.by_address.entry(address);
            let (client, count) = entry.or_insert_with(|| (Arc::new(Client::new(self.limits)), 0));
            if *count >= self.limits.connections_per_address {
                return None;
            }
            *count += 1;
            (Arc::clone(client), Some(address))
        };
        connected.connections += 1;
        connected.strangers += u32::from(is_stranger);
        let (is_stranger, asked_at) = (AtomicBool::new(is_stranger), Mutex::new(None));
        Some(Place { client, address, is_stranger, asked_at, clients: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.clients.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.connections = connected.connections.saturating_sub(1);
        connected.strangers = connected.strangers.saturating_sub(u32::from(*self.is_stranger.get_mut()));
        let Some(address) = self.address else { return };
        if let Some((_, count)) = connected.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                connected.by_address.remove(&address);
            }
        }
    }
}

/// Answers a client's requests as long as it has tokens.
#[derive(Clone)]
pub(super) struct Limited<S> {
    pub service: S,
    /// Held as long as anything of the connection lives: after an upgrade to WebSocket that is this service alone.
    pub place: Arc<Place>,
    pub requests: Arc<Requests>,
}

impl<S> RpcServiceT for Limited<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, mut request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (service, client) = (self.service.clone(), Arc::clone(&self.place.client));
        let requests = Arc::clone(&self.requests);
        self.place.ask(Instant::now());
        request.extensions_mut().insert(Arc::clone(&self.place));
        async move {
            let method = requests.name_of(&request.method);
            if let Err(error) = client.take(Instant::now(), price_of(&request.method)) {
                requests.count(method, "limited");
                return MethodResponse::error(request.id, refuse(error));
            }
            let answer = service.call(request).await;
            requests.count(method, if answer.is_success() { "answered" } else { "failed" });
            let bytes = answer.as_json().get().len();
            requests.sent(bytes);
            client.pay_for_answer(Instant::now(), bytes);
            answer
        }
    }

    fn batch<'a>(&self, mut requests: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (service, client) = (self.service.clone(), Arc::clone(&self.place.client));
        let counted = Arc::clone(&self.requests);
        self.place.ask(Instant::now());
        for entry in requests.iter_mut() {
            if let Ok(BatchEntry::Call(request)) = entry {
                request.extensions_mut().insert(Arc::clone(&self.place));
            }
        }
        async move {
            let price = |entry: &Result<BatchEntry<'_>, _>| match entry {
                Ok(BatchEntry::Call(call)) => price_of(&call.method),
                _ => 1,
            };
            let name = |entry: &Result<BatchEntry<'_>, _>| match entry {
                Ok(BatchEntry::Call(call)) => Some(counted.name_of(&call.method)),
                _ => None,
            };
            let methods: Vec<&'static str> = requests.iter().filter_map(name).collect();
            let count = |outcome| methods.iter().for_each(|method| counted.count(method, outcome));
            if let Err(error) = client.take(Instant::now(), requests.iter().map(price).sum()) {
                count("limited");
                return MethodResponse::error(Id::Null, refuse(error));
            }
            let answer = service.batch(requests).await;
            // Which of them failed is in the answer's text only.
            count("batched");
            let bytes = answer.as_json().get().len();
            counted.sent(bytes);
            client.pay_for_answer(Instant::now(), bytes);
            answer
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        // The ledger has no use for notifications; they cost what a request does and are answered by nothing.
        let _ = self.place.client.take(Instant::now(), 1);
        self.service.notification(notification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    const LIMITS: ClientLimits =
        ClientLimits { requests_per_second: 10, burst: 20, connections_per_address: 2, reserved_per_mille: 500 };

    #[test]
    fn tokens_run_out_and_come_back_at_the_rate() {
        let client = Client::new(LIMITS);
        let start = Instant::now();
        for _ in 0..20 {
            client.take(start, 1).unwrap();
        }
        assert_eq!(client.take(start, 1), Err(ChainError::TooManyRequests { per_second: 10 }));
        let later = start + Duration::from_millis(500);
        client.take(later, 5).unwrap();
        assert!(client.take(later, 1).is_err());
        client.take(start + Duration::from_secs(100), 20).unwrap();
    }

    #[test]
    fn a_large_answer_is_paid_for_afterwards() {
        let client = Client::new(LIMITS);
        let start = Instant::now();
        client.take(start, 1).unwrap();
        client.pay_for_answer(start, 39 * BYTES_PER_TOKEN);
        assert!(client.take(start + Duration::from_millis(1_900), 1).is_err());
        client.take(start + Duration::from_millis(2_200), 1).unwrap();
    }

    #[test]
    fn an_address_holds_so_many_connections_and_this_machine_as_many_as_there_are() {
        let (clients, now) = (Clients::new(LIMITS, 6), Instant::now());
        let far = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let same = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        let (first, second) = (clients.admit(far, now).unwrap(), clients.admit(same, now).unwrap());
        assert!(Arc::ptr_eq(&first.client, &second.client), "one address has one bucket");
        assert!(clients.admit(far, now).is_none());
        drop(first);
        let _third = clients.admit(far, now).unwrap();
        let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let places: Vec<Place> = (0..4).filter_map(|_| clients.admit(local, now)).collect();
        assert_eq!(places.len(), 4);
        assert!(clients.admit(local, now).is_none(), "the server is full");
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let (clients, now) = (Clients::new(LIMITS, 100), Instant::now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _held = ["2001:db8::1", "2001:db8::ffff:0:0:1"].map(|text| clients.admit(address(text), now).unwrap());
        assert!(clients.admit(address("2001:db8::2"), now).is_none(), "the /64 holds its two connections");
        assert!(clients.admit(address("2001:db8:0:1::2"), now).is_some());
    }

    #[test]
    fn strangers_leave_places_for_networks_of_registered_keys() {
        let (clients, now) = (Clients::new(LIMITS, 6), Instant::now());
        let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        // One of the three that strangers may hold turns out to be a node.
        let node = clients.admit(address(1), now).unwrap();
        node.vouch(PublicKey::new([1; 32]), now);
        let crowd: Vec<Place> = (2..200).filter_map(|last| clients.admit(address(last), now)).collect();
        assert_eq!(crowd.len(), 3);
        drop(node);
        let again = clients.admit(address(1), now).expect("the node comes back to a place of its own");
        assert!(clients.admit(address(1), now).is_some());
        // Its key vouches for one network, the newest, and not for ever.
        assert!(clients.admit(address(9), now).is_none());
        drop(again);
        assert!(clients.admit(address(1), now + VOUCHED_FOR).is_none());
    }
}
