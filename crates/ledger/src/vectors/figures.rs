//! Checks single figures of prices, emission and the pool.

use super::document::{DECIMAL_ONE, Node};
use super::report::{CheckReport, FileKind, VectorError};
use crate::arithmetic::wide::multiply_divide;
use crate::rules::curve::{self, MovingPrice, MovingPriceRule};
use crate::rules::pool::{Charge, Price, WEIGHT_ONE, WeightedPool};
use crate::rules::s425;
use templar_base::{Alpha, Rao};

/// References are real numbers rounded down to rao.
const TOLERANCE_RAO: u128 = 2;
/// One in so many.
const RELATIVE_TOLERANCE: u128 = 1_000_000_000_000;
/// More blocks than any half-life is checked over.
const MAX_DECAY_BLOCKS: u64 = 10_000_000;

/// Checks a file of figures.
pub(super) fn check(document: &Node<'_>) -> Result<CheckReport, VectorError> {
    let mut report = CheckReport::new(FileKind::Figures);
    for (key, node) in document.fields().map_err(|_| VectorError::UnknownKind)? {
        let known = match key {
            "burn_decay_factor_q32" => decay_factors(&node, &mut report).map(|()| true),
            "block_emission" => block_emissions(&node, &mut report).map(|()| true),
            "balancer_swaps" => swaps(&node, &mut report).map(|()| true),
            "price_ema" => moving_prices(&node, &mut report).map(|()| true),
            "network_lock_cost" => lock_costs(&node, &mut report).map(|()| true),
            _ if key.starts_with("burn_after_") => decays(key, &node, &mut report),
            _ if key.starts_with("burn_bump_") => rises(key, &node, &mut report),
            _ => Ok(false),
        }?;
        if !known && !key.starts_with("note") && key != "description" {
            report.skip(&format!("{key}: not a figure that is known here"));
        }
    }
    if report.cases == 0 { Err(VectorError::UnknownKind) } else { Ok(report) }
}

/// Two rao, or a part in 10^12 where that is more.
fn tolerance(expected: u128) -> u128 {
    (expected / RELATIVE_TOLERANCE).max(TOLERANCE_RAO)
}

fn compare(
    report: &mut CheckReport,
    case: &str,
    figure: &str,
    expected: &Node<'_>,
    found: u64,
) -> Result<(), VectorError> {
    let expected = u128::from(expected.u64()?);
    report.compare(case, figure, expected, found.into(), tolerance(expected));
    Ok(())
}

fn decay_factors(node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
    for (half_life, expected) in node.fields()? {
        let blocks = half_life.parse::<u32>().map_err(|_| expected.malformed("under a whole number of blocks"))?;
        let found = curve::decay_per_block(blocks);
        report.compare("burn_decay_factor_q32", half_life, expected.u64()?.into(), found.into(), 0);
        report.cases += 1;
    }
    Ok(())
}

/// `burn_after_<blocks>_blocks_half_life_<half-life>_from_<price>`.
fn decays(key: &str, expected: &Node<'_>, report: &mut CheckReport) -> Result<bool, VectorError> {
    let numbers = key.strip_prefix("burn_after_").and_then(|rest| {
        let (blocks, rest) = rest.split_once("_blocks_half_life_")?;
        let (half_life, from) = rest.split_once("_from_")?;
        let price = match from.split_once('e') {
            None => from.parse::<u64>().ok()?,
            Some((digits, power)) => {
                digits.parse::<u64>().ok()?.checked_mul(10u64.checked_pow(power.parse().ok()?)?)?
            }
        };
        Some((blocks.parse::<u64>().ok()?, half_life.parse::<u32>().ok()?, price))
    });
    let Some((blocks, half_life, mut price)) = numbers.filter(|(blocks, ..)| *blocks <= MAX_DECAY_BLOCKS) else {
        return Ok(false);
    };
    let factor = curve::decay_per_block(half_life);
    for _ in 0..blocks {
        price = curve::decay(price, factor);
    }
    compare(report, key, "price", expected, price)?;
    report.cases += 1;
    Ok(true)
}

/// `burn_bump_<whole>_<decimals>`: pairs of a price before and after a registration.
fn rises(key: &str, node: &Node<'_>, report: &mut CheckReport) -> Result<bool, VectorError> {
    let ratio = key.strip_prefix("burn_bump_").and_then(|text| {
        let (whole, decimals) = text.split_once('_').unwrap_or((text, ""));
        let denominator = 10u32.checked_pow(decimals.len().try_into().ok()?)?;
        let numerator = format!("{whole}{decimals}").parse::<u32>().ok()?;
        (numerator >= denominator && numerator / denominator < 16).then_some((numerator, denominator))
    });
    let Some((numerator, denominator)) = ratio else { return Ok(false) };
    for pair in node.list()? {
        let (before, expected) = pair.pair()?;
        let risen = curve::rise(before.u64()?, numerator, denominator);
        let found = risen.clamp(s425::BURN_MINIMUM, s425::BURN_MAXIMUM);
        compare(report, key, &before.label(), &expected, found)?;
        report.cases += 1;
    }
    Ok(true)
}

fn block_emissions(node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
    for pair in node.list()? {
        let (issued, expected) = pair.pair()?;
        let found = curve::block_emission(s425::BLOCK_EMISSION, issued.u64()?);
        compare(report, "block_emission", &issued.label(), &expected, found)?;
        report.cases += 1;
    }
    Ok(())
}

fn swaps(node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
    for case in node.list()? {
        let quote_weight = case.need("w_quote_perquintill")?.whole(WEIGHT_ONE)?;
        let (tao, alpha) = (case.need("tao_reserve")?.u64()?, case.need("alpha_reserve")?.u64()?);
        let fee_rate = case.get("fee_rate_u16").map_or(Ok(s425::FEE_RATE), |rate| rate.u16())?;
        let pool = WeightedPool {
            quote_weight,
            ..WeightedPool::new(Rao::from_rao(tao), Alpha::from_rao(alpha), fee_rate, s425::LEAST_RESERVE)
        };
        let paid = case.need("amount_in")?.u64()?;
        let fee = pool.fee_of(paid, Charge::Fee);
        let net = paid - fee;
        let figures: [(&str, u64); 4] = [
            ("fee", fee),
            ("price_e18", pool.price().scaled(1_000_000_000_000_000_000)),
            ("buy_alpha_out", pool.alpha_out(Rao::from_rao(net)).as_rao()),
            ("sell_tao_out", pool.tao_out(Alpha::from_rao(net)).as_rao()),
        ];
        for (figure, found) in figures {
            if let Some(expected) = case.get(figure) {
                compare(report, &case.path, figure, &expected, found)?;
            }
        }
        report.cases += 1;
    }
    Ok(())
}

fn moving_prices(node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
    for case in node.list()? {
        let decimal = |key: &str| case.need(key).and_then(|node| node.decimal());
        let pace = case.get("base_alpha").map(|alpha| alpha.decimal()).transpose()?;
        let halving = case.get("halving_blocks").map(|blocks| blocks.u64()).transpose()?;
        let rule = MovingPriceRule {
            alpha_e18: pace
                .map_or(s425::MOVING_ALPHA_E18, |pace| (pace / (DECIMAL_ONE / 1_000_000_000_000_000_000)) as u64),
            halving_blocks: halving.unwrap_or(s425::MOVING_PRICE_HALVING_BLOCKS),
        };
        let (price, former, expected) = (decimal("price")?, decimal("prev")?, decimal("next")?);
        let bits = |value: u128, one: u128| multiply_divide(value, one, DECIMAL_ONE).unwrap_or(u128::MAX);
        let spot = Price::from_bits(bits(price, Price::ONE.to_bits()));
        let moving = MovingPrice::from_bits(bits(former, MovingPrice::ONE.to_bits()));
        let next = moving.advance(spot, case.need("blocks_since_start")?.u64()?, rule);
        let found = multiply_divide(next.to_bits(), DECIMAL_ONE, MovingPrice::ONE.to_bits()).unwrap_or(u128::MAX);
        report.compare(&case.path, "next in 1e-30", expected, found, (expected / RELATIVE_TOLERANCE).max(1));
        report.cases += 1;
    }
    Ok(())
}

fn lock_costs(node: &Node<'_>, report: &mut CheckReport) -> Result<(), VectorError> {
    for case in node.list()? {
        let number = |key: &str| case.need(key).and_then(|node| node.u64());
        let found = curve::network_lock_cost(
            Rao::from_rao(number("last_lock")?),
            number("last_lock_block")?,
            number("block")?,
            number("interval")?,
            Rao::from_rao(number("min_lock")?),
        );
        compare(report, &case.path, "cost", &case.need("cost")?, found.as_rao())?;
        report.cases += 1;
    }
    Ok(())
}
