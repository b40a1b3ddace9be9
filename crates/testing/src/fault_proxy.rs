//! A proxy in front of an S3 server that behaves as bad networks and hostile servers do.
//!
//! It speaks as much HTTP as it needs: one request a connection, its head read whole, the body passed on as it comes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection ends before any answer.
    Refuse,
    /// The answer is this status, and the server behind hears of nothing.
    Status(u16),
    /// The connection ends after this many bytes of the request's body.
    CutRequest(usize),
    /// The connection ends after this many bytes of the answer, head included.
    CutAnswer(usize),
    /// Bodies of requests and answers come at this many bytes a second.
    Slow(usize),
    /// Objects come with other bytes.
    WrongBytes,
    /// Objects come as the first one did that had the same last segment in its key.
    OldBytes,
    /// Objects never end.
    EndlessBytes,
}

/// Requests seen, each with method and path.
type Requests = Vec<(String, String)>;

/// Which fault a request for this path meets.
type Plan = Box<dyn FnMut(&str) -> Fault + Send>;

struct State {
    plan: Plan,
    requests: Requests,
    first_answers: BTreeMap<String, Vec<u8>>,
}

/// A running proxy; it ends when this is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy on a free port before `target`, without a fault.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_at(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), target).await
    }

    /// A proxy at this address.
    pub async fn start_at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, first_answers) = Default::default();
        let state = State { plan: Box::new(|_| Fault::None), requests, first_answers };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let state = Arc::clone(&shared);
                // What goes wrong here is what goes wrong in networks.
                tokio::spawn(async move { drop(serve(client, target, &state).await) });
            }
        });
        Self { address, state, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every request meets this fault.
    pub fn set(&self, fault: Fault) {
        self.set_by(move |_| fault);
    }

    /// The next `times` requests whose path passes meet this fault.
    pub fn set_for(&self, fault: Fault, mut times: usize, meets: fn(&str) -> bool) {
        self.set_by(move |path| {
            if times == 0 || !meets(path) {
                return Fault::None;
            }
            times -= 1;
            fault
        });
    }

    /// From now on a request meets the fault that this gives for its path.
    pub fn set_by(&self, plan: impl FnMut(&str) -> Fault + Send + 'static) {
        self.state.lock().unwrap().plan = Box::new(plan);
    }

    /// The requests since the last call, each with method and path.
    pub fn take_requests(&self) -> Requests {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, target: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let (head, body) = read_head(&mut client).await?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let is_object = method == "GET" && !path.contains('?');
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push((method, path.clone()));
        (state.plan)(&path)
    };
    match fault {
        Fault::Refuse => return Ok(()),
        Fault::Status(status) => return answer_status(&mut client, status).await,
        Fault::EndlessBytes if is_object => return answer_without_end(&mut client).await,
        _ => {}
    }
    let mut server = TcpStream::connect(target).await?;
    // One request a connection, so that each is seen.
    let close = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(close.as_bytes()).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let request_limit = if let Fault::CutRequest(bytes) = fault { bytes } else { usize::MAX };
    let rate = if let Fault::Slow(rate) = fault { Some(rate) } else { None };
    let requesting = async {
        let first = &body[..body.len().min(request_limit)];
        to_server.write_all(first).await?;
        copy(&mut from_client, &mut to_server, request_limit - first.len(), rate).await
    };
    let answering = async {
        match fault {
            Fault::CutAnswer(bytes) => copy(&mut from_server, &mut to_client, bytes, None).await,
            Fault::WrongBytes | Fault::OldBytes if is_object => {
                let mut answer = Vec::new();
                from_server.read_to_end(&mut answer).await?;
                let answer = if fault == Fault::WrongBytes { spoil(answer) } else { earlier(state, &path, answer) };
                to_client.write_all(&answer).await
            }
            _ => copy(&mut from_server, &mut to_client, usize::MAX, rate).await,
        }
    };
    // The answer ends the exchange, and so does a request that was cut.
    let cutting = async {
        requesting.await?;
        match fault {
            Fault::CutRequest(_) => Ok(()),
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        answered = answering => answered,
        cut = cutting => cut,
    }
}

/// Reads until the empty line; gives the head with it, and what came of the body.
async fn read_head(client: &mut TcpStream) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((bytes, body));
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut limit: usize,
    bytes_per_second: Option<usize>,
) -> std::io::Result<()> {
    const TICK: Duration = Duration::from_millis(20);
    let piece_bytes = bytes_per_second.map_or(64 << 10, |rate| (rate / 50).max(1));
    let mut piece = vec![0; piece_bytes];
    while limit > 0 {
        let room = piece.len().min(limit);
        let length = from.read(&mut piece[..room]).await?;
        if length == 0 {
            break;
        }
        to.write_all(&piece[..length]).await?;
        limit -= length;
        if bytes_per_second.is_some() {
            tokio::time::sleep(TICK).await;
        }
    }
    to.flush().await
}

async fn answer_status(client: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).await
}

/// A body that goes on for as long as anybody reads it.
async fn answer_without_end(client: &mut TcpStream) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\netag: \"x\"\r\n\
                last-modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
    client.write_all(head.as_bytes()).await?;
    let zeros = vec![0; 64 << 10];
    loop {
        client.write_all(format!("{:x}\r\n", zeros.len()).as_bytes()).await?;
        client.write_all(&zeros).await?;
        client.write_all(b"\r\n").await?;
    }
}

/// Other bytes of the same length.
fn spoil(mut answer: Vec<u8>) -> Vec<u8> {
    if !answer.starts_with(b"HTTP/1.1 20") {
        return answer;
    }
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    answer[body..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    answer
}

/// The first good answer that there was to a request for such an object.
fn earlier(state: &Mutex<State>, path: &str, answer: Vec<u8>) -> Vec<u8> {
    if !answer.starts_with(b"HTTP/1.1 200") {
        return answer;
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    state.lock().unwrap().first_answers.entry(name).or_insert(answer).clone()
}
