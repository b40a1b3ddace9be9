//! The two roles, and the nodes of a network by name.

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Trains.
    Miner,
    /// Judges, and stakes on itself.
    Validator,
}

impl Role {
    /// Its name: also the command that runs it, and the prefix of its nodes' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Validator => "validator",
        }
    }

    /// The role that a node's name states: a validator's starts with `validator`, all others are miners.
    pub fn of_name(name: &str) -> Self {
        if name.starts_with(Self::Validator.name()) { Self::Validator } else { Self::Miner }
    }

    /// A node of this role with this name, prefixed with the role where the name states the other one.
    pub fn node(self, name: &str) -> Node {
        let name = match Self::of_name(name) == self {
            true => name.to_owned(),
            false => format!("{}-{name}", self.name()),
        };
        Node { name, role: self }
    }
}

/// A node of a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, such as `miner-0`; it states the role.
    pub name: String,
    /// Its role.
    pub role: Role,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_states_its_role() {
        for role in [Role::Miner, Role::Validator] {
            for name in ["miner-1", "validator-1", "dora"] {
                assert_eq!(Role::of_name(&role.node(name).name), role, "{role:?} {name}");
            }
        }
        assert_eq!(Role::Validator.node("dora").name, "validator-dora");
        assert_eq!(Role::Miner.node("dora").name, "dora");
    }
}
