//! Checks epochs.

use super::case;
use super::document::{DECIMAL_ONE, Node};
use super::report::{CheckReport, FileKind, VectorError};
use crate::arithmetic::fixed::I32F32;
use crate::arithmetic::wide::multiply_divide;
use crate::rules::yuma::{EpochInput, EpochTerms, epoch};
use templar_chain::BondsRule;

/// Published figures have four decimals.
const PUBLISHED_TOLERANCE: u128 = DECIMAL_ONE / 10_000;
/// What newer rules no longer compute, or compute otherwise, in files of the old runtime.
const OLDER_RULES: [&str; 4] = ["rank", "trust", "pruningScores", "validatorPermit"];

/// Checks cases of one epoch each.
pub(super) fn check_single(kind: FileKind, cases: &[Node<'_>]) -> Result<CheckReport, VectorError> {
    let mut report = CheckReport::new(kind);
    for node in cases {
        let input = case::read(node, BondsRule::Classic)?;
        let name = name_of(node);
        let checked = Checked { name: &name, kind, input: &input, terms: &epoch(&input) };
        checked.compare_all(&node.need("expect")?, node.get("emission_rao").is_some(), &mut report)?;
        report.cases += 1;
    }
    Ok(report)
}

/// Checks runs of epochs. An epoch that states no bonds goes on with those of the one before.
pub(super) fn check_published(cases: &[Node<'_>]) -> Result<CheckReport, VectorError> {
    let mut report = CheckReport::new(FileKind::PublishedEpochs);
    for node in cases {
        let mut carried: Option<Vec<Vec<(u16, u16)>>> = None;
        for (number, one) in node.need("epochs")?.list()?.iter().enumerate() {
            let stated = one.need("input")?;
            let mut input = case::read(&stated, BondsRule::Yuma3)?;
            if stated.get("bonds").is_none()
                && let Some(bonds) = carried.take().filter(|bonds| bonds.len() == input.rows.len())
            {
                for (row, bonds) in input.rows.iter_mut().zip(bonds) {
                    row.bonds = bonds;
                }
            }
            let name = format!("{} epoch {number}", name_of(node));
            let terms = epoch(&input);
            let checked = Checked { name: &name, kind: FileKind::PublishedEpochs, input: &input, terms: &terms };
            if let Some(expected) = one.get("expected_dividends_4dp") {
                checked.compare_published_dividends(&expected, &mut report)?;
            }
            if let Some(expected) = one.get("expected_bonds_4dp") {
                checked.compare_published_bonds(&expected, &mut report)?;
            }
            if let Some(expected) = one.get("model_output") {
                checked.compare_all(&expected, stated.get("emission_rao").is_some(), &mut report)?;
            }
            carried = Some((0..terms.len()).map(|uid| checked.bonds_of(uid)).collect());
        }
        report.cases += 1;
    }
    Ok(report)
}

fn name_of(case: &Node<'_>) -> String {
    match (case.get("name"), case.get("id")) {
        (Some(name), _) => name.label(),
        (None, Some(id)) => format!("case {}", id.label()),
        (None, None) => case.path.clone(),
    }
}

/// A case and what came out of it.
struct Checked<'a> {
    name: &'a str,
    kind: FileKind,
    input: &'a EpochInput,
    terms: &'a [EpochTerms],
}

impl Checked<'_> {
    /// How far a figure in 1/65535 may be off.
    fn tolerance(&self) -> u128 {
        let is_rounded = self.kind == FileKind::PublishedEpochs || self.input.rule.liquid_alpha.is_some();
        u128::from(is_rounded)
    }

    /// How far an amount may be off: what one in 65535 of the emission makes.
    fn amount_tolerance(&self) -> u128 {
        if self.tolerance() == 0 { 0 } else { u128::from(self.input.emission / 65_535) + 1 }
    }

    fn bonds_of(&self, uid: usize) -> Vec<(u16, u16)> {
        self.terms[uid].kept_bonds.clone().unwrap_or_else(|| self.input.rows[uid].bonds.clone())
    }

    fn compare_all(
        &self,
        expected: &Node<'_>,
        has_emission: bool,
        report: &mut CheckReport,
    ) -> Result<(), VectorError> {
        let count = self.terms.len();
        for (name, node) in expected.fields()? {
            if self.kind == FileKind::RuntimeEpochs && OLDER_RULES.contains(&name) {
                report.skip(&format!("{name}: computed by older rules in this kind of file"));
                continue;
            }
            match name {
                "active" => self.compare_flags(&node, name, |terms| terms.active, report)?,
                "validatorPermit" => self.compare_flags(&node, name, |terms| terms.permit, report)?,
                "bonds" => self.compare_bonds(&case::matrix(&node, count)?, report),
                "emission" if !has_emission => self.compare_unknown_emission(&node, report)?,
                _ => match share_of(name) {
                    Some(share) => self.compare_shares(&node, name, share, report)?,
                    None => match amount_of(name) {
                        Some(amount) => self.compare_amounts(&node, name, amount, report)?,
                        None => report.skip(&format!("{name}: not a figure of an epoch")),
                    },
                },
            }
        }
        Ok(())
    }

    fn compare_flags(
        &self,
        node: &Node<'_>,
        figure: &str,
        flag: impl Fn(&EpochTerms) -> bool,
        report: &mut CheckReport,
    ) -> Result<(), VectorError> {
        for (uid, expected) in case::booleans(node, self.terms.len())?.into_iter().enumerate() {
            let found = flag(&self.terms[uid]);
            report.compare(self.name, &format!("{figure}[{uid}]"), expected.into(), found.into(), 0);
        }
        Ok(())
    }

    fn compare_shares(
        &self,
        node: &Node<'_>,
        figure: &str,
        share: fn(&EpochTerms) -> I32F32,
        report: &mut CheckReport,
    ) -> Result<(), VectorError> {
        for (uid, expected) in node.list_of(self.terms.len())?.iter().enumerate() {
            let found = share(&self.terms[uid]).to_proportion();
            let figure = format!("{figure}[{uid}]");
            report.compare(self.name, &figure, expected.u16()?.into(), found.into(), self.tolerance());
        }
        Ok(())
    }

    fn compare_amounts(
        &self,
        node: &Node<'_>,
        figure: &str,
        amount: fn(&EpochTerms) -> u64,
        report: &mut CheckReport,
    ) -> Result<(), VectorError> {
        for (uid, expected) in node.list_of(self.terms.len())?.iter().enumerate() {
            let found = amount(&self.terms[uid]);
            let figure = format!("{figure}[{uid}]");
            report.compare(self.name, &figure, expected.u64()?.into(), found.into(), self.amount_tolerance());
        }
        Ok(())
    }

    fn compare_bonds(&self, expected: &[Vec<(u16, u16)>], report: &mut CheckReport) {
        for (uid, expected) in expected.iter().enumerate() {
            // Rows without stake follow older rules in files of the old runtime.
            if self.kind == FileKind::RuntimeEpochs && self.terms[uid].stake == I32F32::ZERO {
                continue;
            }
            let found = self.bonds_of(uid);
            let value = |row: &[(u16, u16)], target: usize| -> u128 {
                row.iter().rfind(|(uid, _)| usize::from(*uid) == target).map_or(0, |(_, value)| (*value).into())
            };
            for target in 0..self.terms.len() {
                let (expected, found) = (value(expected, target), value(&found, target));
                report.compare(self.name, &format!("bonds[{uid}][{target}]"), expected, found, self.tolerance());
            }
        }
    }

    /// Where a case does not say what was shared out, there must be one amount that gives every figure.
    fn compare_unknown_emission(&self, node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
        let combined = combined_shares(self.terms);
        let (mut least, mut most) = (0u128, u128::from(u64::MAX));
        for (uid, expected) in node.list_of(self.terms.len())?.iter().enumerate() {
            let (amount, bits) = (u128::from(expected.u64()?), u128::from(combined[uid].to_bits().unsigned_abs()));
            let figure = format!("emission[{uid}]");
            if bits == 0 {
                report.compare(self.name, &figure, amount, 0, 0);
                continue;
            }
            // floor(total · bits / 2^32) = amount for exactly these totals.
            let (from, until) = ((amount << 32).div_ceil(bits), (((amount + 1) << 32) - 1) / bits);
            if from.max(least) > until.min(most) {
                let found = (bits * least) >> 32;
                report.compare(self.name, &figure, amount, found, 0);
            } else {
                (least, most) = (from.max(least), until.min(most));
                report.figures += 1;
            }
        }
        Ok(())
    }

    fn compare_published_dividends(&self, node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
        for (uid, expected) in node.list_of(self.terms.len())?.iter().enumerate() {
            let found = self.terms[uid].dividends;
            compare_decimal(report, self.name, &format!("published dividends[{uid}]"), expected, found)?;
        }
        Ok(())
    }

    /// Rows are validators from uid 0 on, columns the last uids of the subnet.
    fn compare_published_bonds(&self, node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
        let count = self.terms.len();
        let rows = node.list()?;
        if rows.len() > count {
            return Err(node.malformed(&format!("a list of {count} at most")));
        }
        for (uid, row) in rows.iter().enumerate() {
            let values = row.list()?;
            let Some(first) = count.checked_sub(values.len()) else {
                return Err(row.malformed(&format!("a list of {count} at most")));
            };
            for (expected, target) in values.iter().zip(first..) {
                let bonds = &self.terms[uid].bonds;
                let found = bonds.iter().find(|(uid, _)| usize::from(*uid) == target).map(|(_, value)| *value);
                let figure = format!("published bonds[{uid}][{target}]");
                compare_decimal(report, self.name, &figure, expected, found.unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

fn share_of(figure: &str) -> Option<fn(&EpochTerms) -> I32F32> {
    Some(match figure {
        "consensus" => |terms| terms.consensus,
        "incentive" | "rank" => |terms| terms.incentive,
        "dividends" => |terms| terms.dividends,
        "validatorTrust" => |terms| terms.validator_trust,
        "stakeWeight" => |terms| terms.stake,
        _ => return None,
    })
}

fn amount_of(figure: &str) -> Option<fn(&EpochTerms) -> u64> {
    Some(match figure {
        "server_emission" => |terms| terms.server_emission,
        "validator_emission" => |terms| terms.validator_emission,
        "emission" => |terms| terms.emission,
        _ => return None,
    })
}

/// The shares behind `emission`, whatever was shared out.
fn combined_shares(terms: &[EpochTerms]) -> Vec<I32F32> {
    let mut shares: Vec<I32F32> = terms.iter().map(|terms| terms.incentive.saturating_add(terms.dividends)).collect();
    if shares.iter().all(|share| *share == I32F32::ZERO) {
        let active = terms.iter().any(|terms| terms.active_stake != I32F32::ZERO);
        return terms.iter().map(|terms| if active { terms.active_stake } else { terms.stake }).collect();
    }
    crate::arithmetic::fixed::normalise(&mut shares);
    shares
}

fn compare_decimal(
    report: &mut CheckReport,
    case: &str,
    figure: &str,
    expected: &Node<'_>,
    found: I32F32,
) -> Result<(), VectorError> {
    let bits = u128::from(found.to_bits().max(0).unsigned_abs());
    let found = multiply_divide(bits, DECIMAL_ONE, 1 << 32).unwrap_or(u128::MAX);
    let expected = expected.decimal()?;
    // Published figures are rounded: only what the tolerance does not cover is a difference at all.
    if expected.abs_diff(found) <= PUBLISHED_TOLERANCE {
        report.figures += 1;
        return Ok(());
    }
    let scale = DECIMAL_ONE / 1_000_000_000;
    report.compare(case, &format!("{figure} in 1e-9"), expected / scale, found / scale, PUBLISHED_TOLERANCE / scale);
    Ok(())
}
