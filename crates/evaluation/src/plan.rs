//! In which order requests are computed, and what of them is computed once.
//!
//! Requests are sorted by their tokens, so that those with a common beginning are neighbours, and cut into batches that
//! fit into memory. The requests of a batch make a tree: an inner node is a beginning that several share, a leaf is the
//! rest of one request. There is no padding, so requests of any lengths share a pass. No bit of a score depends on any
//! of it.

use crate::encode::Request;

/// A beginning that is shorter is computed for each request: the pass that it would save is not worth its copy.
pub(crate) const LEAST_SHARED: usize = 8;

/// A part of one or several requests that is computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The node that holds what is before it.
    pub parent: Option<usize>,
    /// One of the requests that it is part of; of a leaf the only one.
    pub request: usize,
    /// Its tokens among those that the request reads.
    pub start: usize,
    pub end: usize,
    pub is_leaf: bool,
    /// Nodes above it.
    pub level: usize,
}

/// The numbers of the requests in the order in which they are computed.
pub(crate) fn order(requests: &[Request], wanted: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut order: Vec<usize> = wanted.collect();
    order.sort_by(|&a, &b| requests[a].inputs.cmp(&requests[b].inputs).then(a.cmp(&b)));
    order
}

/// The first requests of an order that have at most `tokens` tokens together; one that is longer is alone.
pub(crate) fn next_batch<'a>(requests: &[Request], order: &'a [usize], tokens: usize) -> &'a [usize] {
    let mut held = 0;
    let fits = |number: &&usize| {
        held += requests[**number].inputs.len();
        held <= tokens
    };
    let count = order.iter().take_while(fits).count();
    &order[..count.max(1).min(order.len())]
}

/// How many tokens two texts begin with in common.
pub(crate) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The tree of a batch; a node comes after its parent.
pub(crate) fn tree(requests: &[Request], batch: &[usize]) -> Vec<Node> {
    let mut sorted = batch.to_vec();
    // By what may be shared only: tokens that predict an answer belong to its leaf.
    sorted.sort_by(|&a, &b| shareable(&requests[a]).cmp(shareable(&requests[b])).then(a.cmp(&b)));
    let mut nodes = Vec::with_capacity(2 * batch.len());
    grow(requests, &sorted, Stem { parent: None, start: 0, common: 0 }, &mut nodes);
    nodes
}

fn shareable(request: &Request) -> &[u32] {
    &request.inputs[..request.head()]
}

/// Where a part of the tree begins.
#[derive(Clone, Copy)]
struct Stem {
    parent: Option<usize>,
    /// Tokens that the parent and those above it hold.
    start: usize,
    /// Tokens that all requests of the part are known to have in common.
    common: usize,
}

fn grow(requests: &[Request], sorted: &[usize], stem: Stem, nodes: &mut Vec<Node>) {
    let level = stem.parent.map_or(0, |parent| nodes[parent].level + 1);
    let (&[first, ..], &[.., last]) = (sorted, sorted) else { return };
    if let &[request] = sorted {
        let end = requests[request].inputs.len();
        nodes.push(Node { parent: stem.parent, request, start: stem.start, end, is_leaf: true, level });
        return;
    }
    // The first and the last of a sorted part differ the earliest.
    let end = common(shareable(&requests[first]), shareable(&requests[last]));
    let mut next = Stem { common: end, ..stem };
    if end >= stem.start + LEAST_SHARED {
        nodes.push(Node { parent: stem.parent, request: first, start: stem.start, end, is_leaf: false, level });
        next = Stem { parent: Some(nodes.len() - 1), start: end, common: end };
    }
    let token = |request: usize| shareable(&requests[request]).get(next.common);
    for part in sorted.chunk_by(|&a, &b| token(a) == token(b)) {
        match token(part[0]) {
            // Nothing more can be shared.
            None => part.iter().for_each(|&request| grow(requests, &[request], next, nodes)),
            Some(_) => grow(requests, part, next, nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(context: &[u32], targets: &[u32]) -> Request {
        let inputs = [context, &targets[..targets.len() - 1]].concat();
        Request { inputs, targets: targets.to_vec(), is_truncated: false }
    }

    /// Checks that the leaves are the requests, each whole, and gives the tokens that are computed.
    fn computed(requests: &[Request], nodes: &[Node]) -> usize {
        let mut leaves = Vec::new();
        for node in nodes {
            let mut tokens = requests[node.request].inputs[node.start..node.end].to_vec();
            let (mut start, mut above) = (node.start, node.parent);
            while let Some(parent) = above {
                let parent = &nodes[parent];
                assert!(!parent.is_leaf && parent.end == start);
                tokens.splice(..0, requests[parent.request].inputs[parent.start..parent.end].to_vec());
                (start, above) = (parent.start, parent.parent);
            }
            assert_eq!(start, 0);
            if node.is_leaf {
                assert_eq!(tokens, requests[node.request].inputs);
                assert!(node.start <= requests[node.request].head(), "what predicts an answer is not shared");
                leaves.push(node.request);
            }
        }
        leaves.sort_unstable();
        assert_eq!(leaves, (0..requests.len()).collect::<Vec<_>>());
        nodes.iter().map(|node| node.end - node.start).sum()
    }

    #[test]
    fn a_shared_beginning_is_in_the_tree_once() {
        let shots: Vec<u32> = (0..100).collect();
        let question = |end: u32| [&shots[..], &[200; 20], &[end; 10]].concat();
        let mut requests = Vec::new();
        for end in [7, 8] {
            for answer in [&[1][..], &[1, 2], &[3, 4, 5]] {
                requests.push(request(&question(end), answer));
            }
        }
        let order = order(&requests, 0..requests.len());
        let nodes = tree(&requests, &order);
        // The examples with the start of the questions; of each question nine tokens, and its last with the answers.
        assert_eq!(computed(&requests, &nodes), 120 + 2 * (9 + 1 + 2 + 3));
        assert_eq!(nodes.iter().map(|node| node.level).max(), Some(2));
    }

    #[test]
    fn short_beginnings_equal_requests_and_lonely_ones_are_leaves() {
        let same = request(&[1; 30], &[2]);
        let requests =
            [same.clone(), same, request(&[1, 1, 5], &[6]), request(&[9], &[1, 2]), request(&[4; 3], &[4; 3])];
        let order = order(&requests, 0..5);
        let nodes = tree(&requests, &order);
        assert_eq!(computed(&requests, &nodes), 29 + 2 + 3 + 2 + 5);
        assert!(tree(&requests, &[]).is_empty());
    }

    #[test]
    fn batches_hold_what_fits_or_one_request() {
        let requests: Vec<Request> = [3, 3, 9, 2, 2].iter().map(|&length| request(&vec![1; length], &[2])).collect();
        let order: Vec<usize> = (0..5).collect();
        let sizes = |tokens| {
            let (mut rest, mut sizes) = (&order[..], Vec::new());
            while !rest.is_empty() {
                sizes.push(next_batch(&requests, rest, tokens).len());
                rest = &rest[sizes[sizes.len() - 1]..];
            }
            sizes
        };
        assert_eq!(sizes(6), [2, 1, 2]);
        assert_eq!(sizes(1), [1; 5]);
        assert_eq!(sizes(100), [5]);
    }
}
