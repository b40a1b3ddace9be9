//! How far a price may move under a trade.

use std::fmt;
use std::str::FromStr;
use templar_base::Rao;

const BASIS_POINTS: u64 = 10_000;

/// A part of a price, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slippage(u16);

impl Slippage {
    /// The highest price that a buyer accepts where a token costs `price` now.
    pub fn most(self, price: Rao) -> Rao {
        scaled(price, BASIS_POINTS + u64::from(self.0))
    }

    /// The lowest price that a seller accepts where a token costs `price` now.
    pub fn least(self, price: Rao) -> Rao {
        scaled(price, BASIS_POINTS - u64::from(self.0))
    }
}

fn scaled(price: Rao, basis_points: u64) -> Rao {
    let scaled = u128::from(price.as_rao()) * u128::from(basis_points) / u128::from(BASIS_POINTS);
    Rao::from_rao(u64::try_from(scaled).unwrap_or(u64::MAX))
}

impl fmt::Display for Slippage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Slippage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not a slippage: give a percentage from 0 to 100, such as 0.5");
        let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| wrong())?;
        if (0.0..=100.0).contains(&percent) { Ok(Self((percent * 100.0).round() as u16)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lies_so_far_from_the_price() {
        let half: Slippage = "0.5".parse().unwrap();
        assert_eq!(
            (half.most(Rao::from_rao(2_000)), half.least(Rao::from_rao(2_000))),
            (Rao::from_rao(2_010), Rao::from_rao(1_990))
        );
        assert_eq!(
            ("100%".parse::<Slippage>().unwrap().least(Rao::from_rao(7)), half.to_string()),
            (Rao::ZERO, "0.50".to_owned())
        );
        assert!(["-1", "101", "x", "NaN"].iter().all(|text| text.parse::<Slippage>().is_err()));
    }
}
