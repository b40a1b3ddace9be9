//! Rank correlation.

/// Spearman's rank correlation of two figures of the same things, -1 to 1; equal values share their ranks. None where
/// there are fewer than three, or where one figure is the same for all: they have no order then.
pub fn rank_correlation(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.len() < 3 || one.len() != other.len() {
        return None;
    }
    let (one, other) = (ranks(one), ranks(other));
    let middle = (one.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let size = (product(&one, &one) * product(&other, &other)).sqrt();
    (size > 0.0).then(|| product(&one, &other) / size)
}

/// The rank of each value from 1 on, the smallest first; equal values have the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |own: &f64| {
        let below = values.iter().filter(|other| other.total_cmp(own).is_lt()).count();
        let equal = values.iter().filter(|other| other.total_cmp(own).is_eq()).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_orders_have_one_and_opposite_ones_minus_one() {
        let values = [0.3, -2.0, 7.0, 1.0];
        assert_eq!(rank_correlation(&values, &values.map(|value| value * value * value)), Some(1.0));
        assert_eq!(rank_correlation(&values, &values.map(|value| -value)), Some(-1.0));
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
        // By hand: deviations (0, -1.5, 0, 1.5) and (-0.5, -1.5, 0.5, 1.5) have the product 4.5, and sizes 4.5 and 5.
        let correlation = rank_correlation(&[5.0, 1.0, 5.0, 9.0], &[2.0, 1.0, 3.0, 4.0]).unwrap();
        assert!((correlation - 4.5 / (4.5f64 * 5.0).sqrt()).abs() < 1e-12, "{correlation}");
    }

    #[test]
    fn what_has_no_order_has_no_correlation() {
        assert_eq!(rank_correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(rank_correlation(&[1.0, 2.0], &[1.0, 2.0]), None);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[1.0, 2.0]), None);
    }
}
