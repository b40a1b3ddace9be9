//! The two roles that a node of a run can have.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a node does in a run. Written as `miner` and `validator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trains, and sends what it learnt.
    Miner,
    /// Judges what miners send, votes, and publishes the result.
    Validator,
}

/// A text that names neither role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a role: use `miner` or `validator`")]
pub struct UnknownRole {
    /// What was given.
    pub text: String,
}

impl Role {
    /// Its name, as in journals and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Validator => "validator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "miner" => Ok(Self::Miner),
            "validator" => Ok(Self::Validator),
            _ => Err(UnknownRole { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_written_and_read_by_its_name() {
        for role in [Role::Miner, Role::Validator] {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert!("Miner".parse::<Role>().is_err());
    }
}
