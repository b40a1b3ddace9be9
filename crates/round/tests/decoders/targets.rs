//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use parity_scale_codec::Encode;
use std::sync::LazyLock;
use templar_base::{
    ContentHash, Finding, Findings, Keypair, Mark, Nats, OwnText, Probe, PublicKey, RunId, Share, StateHash, StepShare,
    Uid, Window,
};
use templar_round::{Applied, Held, Reveal, SealCommitment, SealKey, Signed, Vote, open, seal};

const RUN: RunId = RunId::new([1; 32]);
const WINDOW: Window = Window(3);
const MOST_PAYLOAD_BYTES: usize = 1 << 16;

/// A sealed payload as a fuzzer begins with it: its author, the object and the reveal.
pub static SEALED: LazyLock<(PublicKey, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let author = Keypair::from_seed([2; 32]);
    let key = SealKey([3; 32]);
    let sealed = seal(b"payload", &key, RUN, author.public(), WINDOW);
    (author.public(), sealed.object, Reveal::new(key, RUN, WINDOW, &author).to_bytes())
});

/// What the search in commitments begins with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let finding = |uid: u16, mark| {
        let share = (uid != 2).then(|| Share::new(1.0, 0.1));
        Finding { uid: Uid(uid), mark, is_sure: uid == 0, share }
    };
    let findings = Findings {
        miners: vec![finding(0, Mark::Selected), finding(2, Mark::Silent), finding(7, Mark::NotAdmitted)],
        step: StepShare::Half,
        magnitude: 1000,
        surplus: Nats(-5),
        surplus_error: Nats(3),
        probes: vec![Probe { uid: Uid(7), own_text: OwnText::new(-0.5) }],
    };
    let vote = Vote::new(findings, ContentHash::of(b"verdict")).expect("a candidate is probed").salted([4; 16]);
    let applied =
        |aggregate| Applied { aggregate, state: StateHash::new([3; 32]), record: ContentHash::of(b"ratings") };
    vec![
        ("commitment/vote", vote.encode()),
        ("commitment/applied", applied(Some(ContentHash::of(b"aggregate"))).encode()),
        ("commitment/null", applied(None).encode()),
        ("commitment/held", Held::of(&[Uid(0), Uid(2), Uid(7)], |uid| uid.0 != 2).encode()),
    ]
}

/// What opens is what was sealed: no other bytes open with the author's key, although the commitment is made to fit.
pub fn sealed(bytes: &[u8]) {
    let (author, object, reveal) = &*SEALED;
    let reveal = Reveal::from_bytes(reveal, RUN, WINDOW, *author).expect("the reveal is the author's");
    let commitment = SealCommitment { digest: ContentHash::of(bytes), bytes: bytes.len() as u32 };
    if let Ok(opened) = open(bytes, &reveal, &commitment, RUN, *author, WINDOW) {
        assert_eq!((bytes, opened.payload.as_slice()), (object.as_slice(), b"payload".as_slice()));
    }
}

/// What is read as a reveal is the one that the author signed.
pub fn reveal(bytes: &[u8]) {
    let (author, _, reveal) = &*SEALED;
    if let Ok(read) = Reveal::from_bytes(bytes, RUN, WINDOW, *author) {
        // Only the signature could have another form, and who makes one has the key.
        assert_eq!((read.to_bytes(), &bytes[..36]), (bytes.to_vec(), &reveal[..36]));
    }
}

/// What nodes commit on the ledger: votes, reports, bitmaps and seals have one form each.
pub fn commitment(bytes: &[u8]) {
    if let Some(vote) = Vote::from_ledger(bytes) {
        assert_eq!(vote.encode(), bytes, "a vote has one form");
        assert!(vote.findings().check().is_ok());
    }
    if let Some(applied) = Applied::from_ledger(bytes) {
        assert_eq!(applied.encode(), bytes, "a report has one form");
    }
    if let Some(held) = Held::from_ledger(bytes) {
        assert_eq!(held.encode(), bytes, "a bitmap has one form");
    }
    if let Ok(seal) = SealCommitment::from_ledger(bytes, MOST_PAYLOAD_BYTES) {
        assert_eq!(seal.encode(), bytes, "a commitment has one form");
        assert!(seal.bytes as usize <= 2 * MOST_PAYLOAD_BYTES);
    }
}

/// What is read as a signed document of an author has that author's signature.
pub fn signed(bytes: &[u8]) {
    let author = SEALED.0;
    if let Ok(signed) = Signed::<Vec<u32>>::from_bytes(bytes, RUN, WINDOW, "fuzzing", author) {
        assert_eq!(signed.author, author);
    }
}
