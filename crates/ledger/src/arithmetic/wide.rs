//! Products of two 128-bit numbers, and their quotients, without loss.

/// The product as its upper and lower 128 bits.
pub(crate) fn multiply(left: u128, right: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (left_high, left_low) = (left >> 64, left & LOW);
    let (right_high, right_low) = (right >> 64, right & LOW);
    let low = left_low * right_low;
    let first = left_high * right_low;
    let second = left_low * right_high;
    let middle = (low >> 64) + (first & LOW) + (second & LOW);
    let high = left_high * right_high + (first >> 64) + (second >> 64) + (middle >> 64);
    (high, (middle << 64) | (low & LOW))
}

/// `floor((high · 2^128 + low) / divisor)` and the rest; none where it does not fit in 128 bits.
pub(crate) fn divide(high: u128, low: u128, divisor: u128) -> Option<(u128, u128)> {
    if divisor <= high {
        return None;
    }
    if high == 0 {
        return Some((low / divisor, low % divisor));
    }
    let (mut rest, mut quotient) = (high, 0u128);
    for bit in (0..128).rev() {
        let overflows = rest >> 127 == 1;
        rest = (rest << 1) | ((low >> bit) & 1);
        if overflows || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1 << bit;
        }
    }
    Some((quotient, rest))
}

/// `floor(left · right / divisor)`; none for a division by zero, or where it does not fit.
pub(crate) fn multiply_divide(left: u128, right: u128, divisor: u128) -> Option<u128> {
    let (high, low) = multiply(left, right);
    divide(high, low, divisor).map(|(quotient, _)| quotient)
}

/// `ceil(left · right / divisor)`; none for a division by zero, or where it does not fit.
pub(crate) fn multiply_divide_up(left: u128, right: u128, divisor: u128) -> Option<u128> {
    let (high, low) = multiply(left, right);
    let (quotient, rest) = divide(high, low, divisor)?;
    if rest == 0 { Some(quotient) } else { quotient.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!(multiply(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(multiply_divide(u128::MAX, u128::MAX, u128::MAX), Some(u128::MAX));
        assert_eq!(multiply_divide(u128::MAX, 2, 1), None);
        assert_eq!(multiply_divide(1, 1, 0), None);
        assert_eq!(multiply_divide_up(7, 3, 2), Some(11));
        assert_eq!(multiply_divide_up(u128::MAX, 1, 1), Some(u128::MAX));
    }

    proptest! {
        #[test]
        fn a_quotient_and_its_rest_give_the_product(left: u128, right: u128, divisor in 1u128..) {
            let (high, low) = multiply(left, right);
            if let Some((quotient, rest)) = divide(high, low, divisor) {
                prop_assert!(rest < divisor);
                let (mut back_high, back_low) = multiply(quotient, divisor);
                let (back_low, carry) = back_low.overflowing_add(rest);
                back_high += u128::from(carry);
                prop_assert_eq!((back_high, back_low), (high, low));
            } else {
                prop_assert!(divisor <= high);
            }
        }
    }
}
