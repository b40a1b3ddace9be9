//! The nodes of a network by name.

use templar_round::Role;

/// A node of a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, such as `miner-0`; it states the role.
    pub name: String,
    /// Its role. A validator also stakes on itself.
    pub role: Role,
}

impl Node {
    /// A node of this role with this name, prefixed with the role where the name states the other one.
    pub fn new(role: Role, name: &str) -> Self {
        let name = match Self::role_of(name) == role {
            true => name.to_owned(),
            false => format!("{role}-{name}"),
        };
        Self { name, role }
    }

    /// The role that a node's name states: a validator's starts with `validator`, all others are miners.
    pub fn role_of(name: &str) -> Role {
        if name.starts_with(Role::Validator.name()) { Role::Validator } else { Role::Miner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_states_its_role() {
        for role in [Role::Miner, Role::Validator] {
            for name in ["miner-1", "validator-1", "dora"] {
                assert_eq!(Node::role_of(&Node::new(role, name).name), role, "{role:?} {name}");
            }
        }
        assert_eq!(Node::new(Role::Validator, "dora").name, "validator-dora");
        assert_eq!(Node::new(Role::Miner, "dora").name, "dora");
    }
}
