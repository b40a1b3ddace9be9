//! What a validator finds of a window's candidates: the numbers that its vote carries, and what is agreed of them.

use crate::{Nats, StepShare, Uid};
use parity_scale_codec::{Decode, Encode, Error, Input, Output};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most candidates that a vote has room for, under the chain's 512 bytes; no more are judged in a window.
pub const MAX_CANDIDATES: usize = 64;

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// What it brings is too small or too unsure.
    NotAdmitted,
    /// Admitted, without a place among the selected.
    Admitted,
    /// To be merged.
    Selected,
    /// Admitted, and left out: the step without it keeps its promise, the step with it doesn't.
    Dropped,
    /// It surely makes the model worse.
    Harmful,
    /// A copy of another payload.
    Copy,
    /// An audit proved that an earlier payload was not made as it says: its key is void.
    Fraud,
    /// An audit of an earlier payload was not answered: it is neither judged nor paid until one is.
    Silent,
}

impl Mark {
    /// In the order of their codes, of which there are as many as three bits have.
    const ALL: [Self; 8] = [
        Self::NotAdmitted,
        Self::Admitted,
        Self::Selected,
        Self::Dropped,
        Self::Harmful,
        Self::Copy,
        Self::Fraud,
        Self::Silent,
    ];

    /// Whether its miner may be paid.
    pub fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted | Self::Selected)
    }
}

/// A candidate's part of what a typical one brings in the same measurement, with its standard error; 1 is an equal part.
///
/// The part is kept in 256ths from −4 to 4. The error is rounded up to five significant bits, of which the number has four
/// and its exponent the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    /// In 256ths.
    part: i16,
    /// As [`error_code`] writes it.
    error: u8,
}

impl Share {
    /// 256ths of the largest part.
    const LARGEST: i16 = 4 * 256;
    const UNIT: f64 = 256.0;

    /// The nearest; what is no number is no part, with the largest error.
    pub fn new(part: f64, error: f64) -> Self {
        let limit = f64::from(Self::LARGEST);
        // A float-to-integer cast saturates, and gives 0 for NaN.
        let part = if error.is_nan() { 0 } else { (part * Self::UNIT).round().clamp(-limit, limit) as i16 };
        let error = if error.is_nan() { u8::MAX } else { error_code((error.max(0.0) * Self::UNIT).ceil() as u32) };
        Self { part, error }
    }

    /// The part of what a typical candidate brings.
    pub fn part(self) -> f64 {
        f64::from(self.part) / Self::UNIT
    }

    /// Its standard error.
    pub fn error(self) -> f64 {
        error_of(self.error) as f64 / Self::UNIT
    }

    /// Each of the two on its own: the part of one and the error of another.
    pub fn with_error_of(self, other: Self) -> Self {
        Self { error: other.error, ..self }
    }

    /// Whether it lies within a quarter of the agreed error of an agreed share, or next to it as shares are written.
    pub fn is_near(self, agreed: Self) -> bool {
        let apart = u64::from(self.part.abs_diff(agreed.part));
        apart <= 1 || apart * 4 <= error_of(agreed.error)
    }

    /// Its error as it is written: a larger number is a larger error.
    pub fn error_code(self) -> u8 {
        self.error
    }
}

/// Five significant bits, rounded up: numbers under 16 as they are, then four bits and an exponent.
fn error_code(error: u32) -> u8 {
    if error < 16 {
        return error as u8;
    }
    let exponent = 27 - error.leading_zeros();
    let up = error.saturating_add((1 << exponent) - 1);
    let exponent = 27 - up.leading_zeros();
    // At most (28 + 1) · 16, which may be over what a byte holds: such an error says nothing anyway.
    let code = (exponent + 1) * 16 + ((up >> exponent) & 15);
    code.min(u32::from(u8::MAX)) as u8
}

fn error_of(code: u8) -> u64 {
    match code / 16 {
        0 => u64::from(code),
        exponent => (16 + u64::from(code % 16)) << (exponent - 1),
    }
}

/// Most candidates that are probed on their own text in a window.
pub const MAX_PROBES: usize = 5;

/// How much likelier than not it is that a payload helps more on its miner's own text than on other text: the natural logarithm
/// of `2·P`, with P the probability that it does. Kept in sixteenths, from −8 to ln 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnText(i8);

impl OwnText {
    const UNIT: f64 = 16.0;
    /// ln 2, which a probability of 1 gives.
    const MOST: i8 = 11;

    /// The nearest; what is no number says nothing.
    pub fn new(likelihood: f64) -> Self {
        // A float-to-integer cast saturates, and gives 0 for NaN.
        Self(((likelihood * Self::UNIT).round() as i8).min(Self::MOST))
    }

    /// In sixteenths.
    pub fn sixteenths(self) -> i8 {
        self.0
    }

    /// In nats.
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / Self::UNIT
    }
}

/// What the probe of one candidate on its own text came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Whose payload.
    pub uid: Uid,
    /// What it came to.
    pub own_text: OwnText,
}

/// What a validator found of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whose payload.
    pub uid: Uid,
    /// Where it stands.
    pub mark: Mark,
    /// Whether it surely reached the threshold; of a silent miner, whether it was the third audit in a row.
    #[serde(default)]
    pub is_sure: bool,
    /// What it brings; none where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// What a validator found in a window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Of the candidates, by uid.
    pub miners: Vec<Finding>,
    /// The part of the outer step that should be taken.
    pub step: StepShare,
    /// Median of the kept magnitudes' sum of the admitted payloads, in units of the wire format; 0 of none.
    pub magnitude: u64,
    /// What the step brought beyond the least share of its promise.
    pub surplus: Nats,
    /// The standard error of that.
    pub surplus_error: Nats,
    /// What probes of candidates on their own text came to, by uid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

/// Findings that contradict themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the findings name too many candidates, not in ascending order, or probe what is none; their author is at fault"
)]
pub struct FindingsError;

impl Findings {
    /// Version of the coding, its first byte.
    const VERSION: u8 = 2;

    /// Most bytes of the coding.
    pub const MAX_BYTES: usize = 1 + 1 + 5 * MAX_CANDIDATES + 1 + 3 * 8 + 1 + 2 * MAX_PROBES;

    /// Checks what the coding cannot rule out.
    pub fn check(&self) -> Result<(), FindingsError> {
        let ascends = self.miners.windows(2).all(|pair| pair[0].uid < pair[1].uid);
        let probes_ascend = self.probes.windows(2).all(|pair| pair[0].uid < pair[1].uid);
        let are_probes_sound = probes_ascend
            && self.probes.len() <= MAX_PROBES
            && self.probes.iter().all(|probe| self.place(probe.uid).is_ok() && probe.own_text.0 <= OwnText::MOST);
        let is_sound = ascends && self.miners.len() <= MAX_CANDIDATES && self.surplus_error.0 >= 0;
        if is_sound && are_probes_sound { Ok(()) } else { Err(FindingsError) }
    }

    fn place(&self, uid: Uid) -> Result<usize, usize> {
        self.miners.binary_search_by_key(&uid, |finding| finding.uid)
    }

    /// Marks miners whose fraud is proven; where there is no room for more, the next vote has them.
    pub fn mark_fraud(&mut self, uids: &[Uid]) {
        uids.iter().for_each(|uid| self.mark(*uid, Mark::Fraud, false));
    }

    /// Marks miners that have not answered an audit, and whether it was the third in a row; not those whose fraud is proven.
    pub fn mark_silent(&mut self, silent: &BTreeMap<Uid, bool>) {
        for (uid, is_third) in silent {
            let is_fraud = self.place(*uid).is_ok_and(|place| self.miners[place].mark == Mark::Fraud);
            if !is_fraud {
                self.mark(*uid, Mark::Silent, *is_third);
            }
        }
    }

    fn mark(&mut self, uid: Uid, mark: Mark, is_sure: bool) {
        let marked = Finding { uid, mark, is_sure, share: None };
        match self.place(uid) {
            Ok(place) => self.miners[place] = marked,
            Err(place) if self.miners.len() < MAX_CANDIDATES => self.miners.insert(place, marked),
            Err(_) => {}
        }
    }

    /// Whose payloads should be merged, ascending.
    pub fn selected(&self) -> impl Iterator<Item = Uid> + '_ {
        self.miners.iter().filter(|finding| finding.mark == Mark::Selected).map(|finding| finding.uid)
    }
}

/// No part: outside what a part can be.
const NO_SHARE: u16 = 0xfff;

impl Encode for Finding {
    fn size_hint(&self) -> usize {
        5
    }

    fn encode_to<O: Output + ?Sized>(&self, out: &mut O) {
        self.uid.encode_to(out);
        // Twelve bits of the part from its lowest on, three of the mark, one of sureness.
        let part = self.share.map_or(NO_SHARE, |share| (share.part + Share::LARGEST) as u16);
        let mark = Mark::ALL.iter().position(|mark| *mark == self.mark).unwrap_or_default() as u16;
        (part | mark << 12 | u16::from(self.is_sure) << 15).encode_to(out);
        self.share.map_or(0, |share| share.error).encode_to(out);
    }
}

impl Decode for Finding {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let (uid, packed, error) = <(Uid, u16, u8)>::decode(input)?;
        let mark = Mark::ALL.get(usize::from(packed >> 12 & 7)).copied().ok_or("no such mark")?;
        let share = match packed & 0xfff {
            NO_SHARE if error == 0 => None,
            part if part <= 2 * Share::LARGEST as u16 => Some(Share { part: part as i16 - Share::LARGEST, error }),
            _ => return Err("no such share".into()),
        };
        Ok(Self { uid, mark, is_sure: packed >> 15 == 1, share })
    }
}

impl Encode for Findings {
    fn size_hint(&self) -> usize {
        Self::MAX_BYTES
    }

    fn encode_to<O: Output + ?Sized>(&self, out: &mut O) {
        let count = self.miners.len().min(MAX_CANDIDATES);
        (Self::VERSION, count as u8).encode_to(out);
        self.miners[..count].iter().for_each(|finding| finding.encode_to(out));
        (self.step, self.magnitude, self.surplus, self.surplus_error).encode_to(out);
        // Each by its candidate's place, under 64.
        let placed =
            |probe: &Probe| Some((self.place(probe.uid).ok().filter(|place| *place < count)? as u8, probe.own_text.0));
        let probes: Vec<(u8, i8)> = self.probes.iter().filter_map(placed).take(MAX_PROBES).collect();
        (probes.len() as u8).encode_to(out);
        probes.iter().for_each(|probe| probe.encode_to(out));
    }
}

impl Decode for Findings {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let (version, count) = <(u8, u8)>::decode(input)?;
        if version != Self::VERSION {
            return Err("another version of the findings".into());
        }
        if usize::from(count) > MAX_CANDIDATES {
            return Err("too many candidates".into());
        }
        let miners = (0..count).map(|_| Finding::decode(input)).collect::<Result<Vec<_>, _>>()?;
        let (step, magnitude, surplus, surplus_error) = Decode::decode(input)?;
        let count = u8::decode(input)?;
        if usize::from(count) > MAX_PROBES {
            return Err("too many probes".into());
        }
        let probe = |input: &mut I| {
            let (place, own_text) = <(u8, i8)>::decode(input)?;
            let candidate: &Finding = miners.get(usize::from(place)).ok_or("a probe of no candidate")?;
            Ok::<_, Error>(Probe { uid: candidate.uid, own_text: OwnText(own_text) })
        };
        let probes = (0..count).map(|_| probe(input)).collect::<Result<_, _>>()?;
        let findings = Self { miners, step, magnitude, surplus, surplus_error, probes };
        findings.check().map_err(|_| "the findings contradict themselves")?;
        Ok(findings)
    }
}

/// What is agreed of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedFinding {
    /// Where it stands.
    pub mark: Mark,
    /// Whether it surely reached the threshold.
    pub is_sure: bool,
    /// What it brings; none where that is not agreed.
    pub share: Option<Share>,
}

/// What is agreed of a window. What is absent moves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgreedFindings {
    /// Of the candidates.
    pub miners: BTreeMap<Uid, AgreedFinding>,
    /// The part of the step that is taken; none in a null window.
    pub step: Option<StepShare>,
    /// Median of the admitted payloads' magnitudes, in units of the wire format.
    pub magnitude: Option<u64>,
    /// What the step brought beyond the least share of its promise, and the standard error of that.
    pub surplus: Option<(Nats, Nats)>,
    /// What probes of candidates on their own text came to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<Uid, OwnText>,
}

impl AgreedFindings {
    /// What one validator's findings come to where it decides alone.
    pub fn of_one(findings: &Findings) -> Self {
        let miner = |finding: &Finding| {
            let Finding { mark, is_sure, share, .. } = *finding;
            (finding.uid, AgreedFinding { mark, is_sure, share })
        };
        let is_null = findings.selected().next().is_none();
        Self {
            miners: findings.miners.iter().map(miner).collect(),
            step: (!is_null).then_some(findings.step),
            magnitude: (findings.magnitude > 0).then_some(findings.magnitude),
            surplus: (!is_null).then_some((findings.surplus, findings.surplus_error)),
            probes: findings.probes.iter().map(|probe| (probe.uid, probe.own_text)).collect(),
        }
    }

    /// Whose payloads are merged, ascending.
    pub fn selected(&self) -> impl Iterator<Item = Uid> + '_ {
        self.miners.iter().filter(|(_, finding)| finding.mark == Mark::Selected).map(|(uid, _)| *uid)
    }

    /// Whether a miner's error feedback is worth nothing from here on: its payload did harm, or it was a candidate of a
    /// null window. What the judges found worthless must not be sent again, twice as large.
    pub fn voids_feedback_of(&self, uid: Uid) -> bool {
        let own = self.miners.get(&uid);
        own.is_some_and(|own| own.mark == Mark::Harmful || self.step.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parity_scale_codec::DecodeAll;
    use proptest::prelude::*;

    fn finding(uid: u16, mark: Mark, share: Option<Share>) -> Finding {
        Finding { uid: Uid(uid), mark, is_sure: uid.is_multiple_of(2), share }
    }

    #[test]
    fn a_share_survives_within_its_steps_and_an_error_is_never_made_smaller() {
        for (part, error) in [(0.0, 0.0), (1.0, 0.01), (-3.99, 0.5), (2.5, 17.0), (9.0, 1e9), (-9.0, f64::INFINITY)] {
            let share = Share::new(part, error);
            assert!((share.part() - part.clamp(-4.0, 4.0)).abs() <= 1.0 / 512.0, "{part}");
            assert!(share.error() >= error.min(1_900.0), "{error} became {}", share.error());
            assert!(share.error() <= error * 1.07 + 1.0 / 256.0, "{error} became {}", share.error());
        }
        assert_eq!(Share::new(f64::NAN, 1.0).part(), 0.0);
        assert!(Share::new(1.0, f64::NAN).error() > 1_900.0);
    }

    #[test]
    fn error_codes_keep_their_order() {
        let codes: Vec<u8> = (0..4_000).map(error_code).collect();
        assert!(codes.is_sorted());
        assert!((0..4_000u32).all(|error| error_of(error_code(error)) >= u64::from(error)));
    }

    #[test]
    fn the_largest_findings_stay_under_their_bound() {
        let share = Share::new(1.0, 0.1);
        let miners = (0..64).map(|uid| finding(uid, Mark::Selected, Some(share))).collect();
        let probe = |uid: u16| Probe { uid: Uid(uid), own_text: OwnText::new(0.5 - f64::from(uid)) };
        let probes = [0, 7, 20, 62, 63].map(probe).to_vec();
        let findings = Findings { miners, surplus: Nats(-5), magnitude: u64::MAX, probes, ..Findings::default() };
        let bytes = findings.encode();
        assert_eq!(bytes.len(), Findings::MAX_BYTES);
        assert_eq!(Findings::decode_all(&mut &bytes[..]).unwrap(), findings);
        let stranger = Findings { probes: vec![probe(64)], ..findings.clone() };
        assert!(stranger.check().is_err(), "who is no candidate is not probed");
        let older = [&[1], &bytes[1..]].concat();
        assert!(Findings::decode_all(&mut &older[..]).is_err());
        let twice = Findings { miners: vec![finding(3, Mark::Copy, None); 2], ..Findings::default() };
        assert!(Findings::decode_all(&mut &twice.encode()[..]).is_err());
    }

    #[test]
    fn what_probes_come_to_is_bounded_and_who_owes_an_answer_is_marked_unless_its_fraud_is_proven() {
        assert_eq!([-99.0, -3.0, 0.5, 99.0, f64::NAN].map(|own| OwnText::new(own).sixteenths()), [-128, -48, 8, 11, 0]);
        let mut findings = Findings { miners: vec![finding(2, Mark::Selected, None)], ..Findings::default() };
        findings.mark_fraud(&[Uid(5)]);
        findings.mark_silent(&BTreeMap::from([(Uid(2), false), (Uid(3), true), (Uid(5), true)]));
        let marks: Vec<_> = findings.miners.iter().map(|own| (own.uid.0, own.mark, own.is_sure)).collect();
        assert_eq!(marks, [(2, Mark::Silent, false), (3, Mark::Silent, true), (5, Mark::Fraud, false)]);
        assert_eq!(Findings::decode_all(&mut &findings.encode()[..]).unwrap(), findings);
    }

    #[test]
    fn feedback_is_void_after_harm_and_where_no_payload_was_admitted() {
        let marks = [Mark::Selected, Mark::Harmful, Mark::NotAdmitted, Mark::Admitted];
        let miners = (0..).zip(marks).map(|(uid, mark)| finding(uid, mark, None)).collect();
        let some = AgreedFindings::of_one(&Findings { miners, ..Findings::default() });
        assert_eq!([0, 1, 2, 3, 4].map(|uid| some.voids_feedback_of(Uid(uid))), [false, true, false, false, false]);
        let miners = vec![finding(0, Mark::NotAdmitted, None), finding(1, Mark::Harmful, None)];
        let none = AgreedFindings::of_one(&Findings { miners, ..Findings::default() });
        assert_eq!([0, 1, 2].map(|uid| none.voids_feedback_of(Uid(uid))), [true, true, false]);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(findings) = Findings::decode_all(&mut &bytes[..]) {
                prop_assert_eq!(findings.encode(), bytes);
            }
        }
    }
}
