//! The gateway of a local network: one more process, open to this machine, which follows the run.

use crate::setup::{free_port, text_of};
use crate::{Children, Folder, FolderError, Network, Recipe, SetupError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use templar_dashboard::{GatewayUrl, Listener};
use templar_gateway::Serving;

/// Its name among the processes, its command, and its folder.
const GATEWAY: &str = "gateway";

/// Starts the gateway of a network that runs, on a free port, and gives its address. It listens for this machine
/// alone: it asks for no keys. Scripts of `page` may ask it.
pub fn start_gateway(
    folder: &Folder,
    network: &Network,
    page: Option<&Listener>,
    children: &mut Children,
) -> Result<GatewayUrl, SetupError> {
    let root = folder.path();
    // What an earlier process served is no longer there.
    let unusable =
        |error: templar_disk::DiskError| FolderError::Unusable { path: root.to_owned(), source: error.into() };
    Serving::forget(&root.join(GATEWAY)).map_err(unusable)?;
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = SocketAddr::new(host, free_port(host, 0)?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / network.settings.nodes().len()).max(1).to_string();
    let mut arguments = vec![
        ("--listen", address.to_string()),
        ("--genesis", text_of(&root.join("genesis.json"))),
        ("--ledger", network.settings.ledger_url()),
        ("--data", text_of(root)),
        ("--threads", threads),
    ];
    arguments.extend(page.map(|page| ("--allow-origin", page.url())));
    let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let arguments = [GATEWAY.to_owned(), "--open".to_owned()].into_iter().chain(arguments).collect();
    children.start(folder, Recipe { name: GATEWAY.to_owned(), arguments, variables: Vec::new() })?;
    Ok(GatewayUrl::at(address))
}

/// What the gateway of a network serves; none before its first model.
pub fn gateway_of(folder: &Folder) -> Option<Serving> {
    Serving::read(&folder.path().join(GATEWAY))
}
