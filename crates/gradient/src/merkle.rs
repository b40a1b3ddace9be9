//! A Merkle tree over the chunks of a flat f32 buffer, so that an audit can ask for one chunk and check it.
//!
//! A leaf is the digest of a chunk's values in little-endian bytes, a node that of its two children; an odd node at the
//! end of a level goes up as it is. The root also covers the number of chunks, and leaves, nodes and root are hashed
//! under contexts of their own, so that none can be taken for another.

use crate::bytes::copy_little_endian;
use crate::layout::GradientLayout;
use rayon::prelude::*;
use templar_base::ContentHash;

const LEAF: &str = "templar gradient residual chunk v1";
const NODE: &str = "templar gradient residual node v1";
const ROOT: &str = "templar gradient residual root v1";

/// The tree over the chunks of a buffer of the layout's length.
#[derive(Debug, Clone)]
pub struct MerkleTree {
    /// From the leaves to the single top node.
    levels: Vec<Vec<[u8; 32]>>,
}

/// The way from one leaf to the root: what a part of a buffer, or one state of a trajectory, is proven with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkProof {
    /// The chunk's number, or the leaf's.
    pub chunk: usize,
    /// The siblings on the way, from the leaf on; levels where there is none are left out.
    pub siblings: Vec<ContentHash>,
}

impl MerkleTree {
    /// The tree over `values` cut as `layout` says; values past the layout are ignored, missing ones hash as absent.
    pub fn over_chunks(values: &[f32], layout: &GradientLayout) -> Self {
        let leaves = layout
            .chunks()
            .par_iter()
            .map(|chunk| leaf(&values[chunk.range().start.min(values.len())..chunk.range().end.min(values.len())]))
            .collect();
        Self::of_leaves(leaves)
    }

    /// The tree over these leaves; there is at least one.
    pub(crate) fn of_leaves(leaves: Vec<[u8; 32]>) -> Self {
        let mut levels: Vec<Vec<[u8; 32]>> = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(level.par_chunks(2).map(parent).collect());
        }
        Self { levels }
    }

    /// The root.
    pub fn root(&self) -> ContentHash {
        // A layout has at least one chunk, so the last level holds the top node.
        let top = self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default();
        root_of(top, self.levels[0].len())
    }

    /// The proof of one chunk, if there is such a chunk; for audits.
    pub fn proof(&self, chunk: usize) -> Option<ChunkProof> {
        if chunk >= self.levels[0].len() {
            return None;
        }
        let sibling = |(height, level): (usize, &Vec<[u8; 32]>)| level.get((chunk >> height) ^ 1).copied();
        let below_top = &self.levels[..self.levels.len() - 1];
        let siblings = below_top.iter().enumerate().filter_map(sibling).map(ContentHash::new).collect();
        Some(ChunkProof { chunk, siblings })
    }
}

impl ChunkProof {
    /// Whether `values` are the chunk's under `root`, in a buffer of `layout`.
    pub fn verify(&self, root: &ContentHash, values: &[f32], layout: &GradientLayout) -> bool {
        let Some(range) = layout.chunk_range(self.chunk) else { return false };
        values.len() == range.len() && self.verify_leaf(root, &ContentHash::new(leaf(values)), layout.chunk_count())
    }

    /// Whether `leaf` is the one with this number of a tree with `leaves` leaves and this root.
    pub fn verify_leaf(&self, root: &ContentHash, leaf: &ContentHash, leaves: usize) -> bool {
        if self.chunk >= leaves {
            return false;
        }
        let mut siblings = self.siblings.iter();
        let (mut node, mut position, mut width) = (*leaf.as_bytes(), self.chunk, leaves);
        while width > 1 {
            if position ^ 1 < width {
                let Some(sibling) = siblings.next() else { return false };
                let pair =
                    if position.is_multiple_of(2) { [node, *sibling.as_bytes()] } else { [*sibling.as_bytes(), node] };
                node = parent(&pair);
            }
            position /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none() && root_of(node, leaves) == *root
    }
}

/// The leaf of a chunk with these values.
pub(crate) fn leaf(values: &[f32]) -> [u8; 32] {
    let mut bytes = vec![0; 4 * values.len()];
    copy_little_endian(values, &mut bytes);
    blake3::derive_key(LEAF, &bytes)
}

fn parent(children: &[[u8; 32]]) -> [u8; 32] {
    match children {
        [only] => *only,
        _ => blake3::derive_key(NODE, children.as_flattened()),
    }
}

fn root_of(top: [u8; 32], chunks: usize) -> ContentHash {
    let mut bytes = top.to_vec();
    bytes.extend_from_slice(&(chunks as u64).to_le_bytes());
    ContentHash::new(blake3::derive_key(ROOT, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_proves_itself_and_nothing_else() {
        for chunks in [1usize, 2, 3, 5, 8, 11] {
            let len = (chunks - 1) * 4096 + 7;
            let layout = GradientLayout::new([("t".to_owned(), len, 64)]).unwrap();
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let tree = MerkleTree::over_chunks(&values, &layout);
            for chunk in 0..chunks {
                let mut proof = tree.proof(chunk).unwrap();
                let range = layout.chunk_range(chunk).unwrap();
                let mut part = values[range].to_vec();
                assert!(proof.verify(&tree.root(), &part, &layout), "chunk {chunk} of {chunks}");
                part[3] += 1.0;
                assert!(!proof.verify(&tree.root(), &part, &layout));
                part[3] -= 1.0;
                assert!(!proof.verify(&tree.root(), &part[1..], &layout));
                proof.siblings.push(tree.root());
                assert!(!proof.verify(&tree.root(), &part, &layout));
                proof.siblings.pop();
                proof.chunk = chunks;
                assert!(!proof.verify(&tree.root(), &part, &layout));
            }
            assert_eq!(tree.proof(chunks), None);
        }
    }
}
