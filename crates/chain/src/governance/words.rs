//! Actions from the words of a person who proposes one.

use super::Action;
use crate::access::Service;
use std::str::FromStr;
use templar_base::{Alpha, MILLIONTHS, PublicKey, RunSetting};

/// Words that name no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActionError(String);

impl Action {
    /// The action that a proposal's words name, such as `selected` and `12`.
    pub fn from_words(what: &str, value: &str) -> Result<Self, ActionError> {
        let wrong = |wanted: &str| ActionError(format!("`{value}` is not a value for {what}: give {wanted}"));
        let whole = || value.parse::<u32>().map_err(|_| wanted_number(what, value));
        Ok(match what {
            "learning-rate-factor" => Action::Setting(RunSetting::LearningRateFactor(millionths(what, value)?)),
            "outer-alpha" => Action::Setting(RunSetting::OuterAlpha(millionths(what, value)?)),
            "inner-steps" => Action::Setting(RunSetting::InnerSteps(whole()?)),
            "selected" => {
                let selected = u16::try_from(whole()?).map_err(|_| wanted_number(what, value))?;
                Action::Setting(RunSetting::Selected(selected))
            }
            "revenue" => {
                let parts = value
                    .split_once(',')
                    .and_then(|(burned, treasury)| Some((burned.parse().ok()?, treasury.parse().ok()?)));
                let (burned_per_mille, treasury_per_mille) =
                    parts.ok_or_else(|| wrong("two numbers, such as 300,100"))?;
                Action::Revenue { burned_per_mille, treasury_per_mille }
            }
            "price-generation" | "price-compute" => {
                let service = if what == "price-compute" { Service::Compute } else { Service::Generation };
                let per_thousand = Alpha::from_str(value).map_err(|error| ActionError(error.to_string()))?;
                Action::Price { service, per_thousand }
            }
            "spend" => {
                let mut parts = value.split(',');
                let (Some(amount), Some(to), Some(hotkey), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(wrong("an amount, a coldkey and a hotkey, with commas between"));
                };
                let amount = Alpha::from_str(amount).map_err(|error| ActionError(error.to_string()))?;
                let key = |text: &str| text.parse::<PublicKey>().map_err(|error| ActionError(error.to_string()));
                Action::Spend { to: key(to)?, hotkey: key(hotkey)?, amount }
            }
            _ => return Err(ActionError(format!("`{what}` cannot be proposed"))),
        })
    }
}

fn wanted_number(what: &str, value: &str) -> ActionError {
    ActionError(format!("`{value}` is not a value for {what}: give a whole number"))
}

/// A decimal number in millionths, without floats.
fn millionths(what: &str, value: &str) -> Result<u32, ActionError> {
    let wrong = || {
        ActionError(format!(
            "`{value}` is not a value for {what}: give a number with at most six decimals, such as 0.5"
        ))
    };
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 6 {
        return Err(wrong());
    }
    let fraction: u32 = format!("{decimals:0<6}").parse().map_err(|_| wrong())?;
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    whole.checked_mul(MILLIONTHS).and_then(|whole| whole.checked_add(fraction)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_actions() {
        let setting = |what: &str, value: &str| Action::from_words(what, value).unwrap();
        let factor = Action::Setting(RunSetting::LearningRateFactor(500_000));
        assert_eq!(setting("learning-rate-factor", "0.5"), factor);
        assert_eq!(setting("outer-alpha", "1"), Action::Setting(RunSetting::OuterAlpha(1_000_000)));
        assert_eq!(setting("selected", "12"), Action::Setting(RunSetting::Selected(12)));
        let revenue = Action::Revenue { burned_per_mille: 300, treasury_per_mille: 100 };
        assert_eq!(setting("revenue", "300,100"), revenue);
        for (what, value) in [
            ("selected", "70000"),
            ("outer-alpha", "-1"),
            ("outer-alpha", "0.1234567"),
            ("outer-alpha", "5000"),
            ("revenue", "300"),
            ("spend", "1,x"),
            ("nonsense", "1"),
        ] {
            assert!(Action::from_words(what, value).is_err(), "{what} {value}");
        }
    }
}
