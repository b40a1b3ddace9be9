//! The names that tools give to the tensors of a model that they wrap, or of which they save a part.

/// What a compiled, checkpointed or distributed module puts into the names of its parameters; it means nothing.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module."];

/// How the names in a file differ from those of the architecture: one prefix that all of them have, or `model.`, which
/// all of them lack where a model was saved without its head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Naming {
    prefix: String,
    is_without_model: bool,
}

impl Naming {
    /// The naming of a file with these names; none where no name tells.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<Self> {
        ["layers.", "embed_tokens.weight", "norm.weight"].iter().find_map(|known| {
            names.clone().find_map(|name| {
                let name = unwrapped(name);
                let at = name.find(known)?;
                let is_whole = *known == "layers." || at + known.len() == name.len();
                let before = &name[..at];
                let ends_a_part = |text: &str| text.is_empty() || text.ends_with('.');
                if !is_whole || !ends_a_part(before) {
                    return None;
                }
                Some(match before.strip_suffix("model.").filter(|prefix| ends_a_part(prefix)) {
                    Some(prefix) => Self { prefix: prefix.to_owned(), is_without_model: false },
                    None => Self { prefix: before.to_owned(), is_without_model: true },
                })
            })
        })
    }

    /// The architecture's name for a tensor; another name where the file has a tensor that is not named as the others.
    pub(super) fn name_of(&self, name: &str) -> String {
        let name = unwrapped(name);
        match name.strip_prefix(&self.prefix) {
            None => format!("(without {}) {name}", self.prefix),
            Some(rest) if self.is_without_model && rest != "lm_head.weight" => format!("model.{rest}"),
            Some(rest) => rest.to_owned(),
        }
    }
}

fn unwrapped(name: &str) -> String {
    WRAPPERS.iter().fold(name.to_owned(), |name, wrapper| name.replace(wrapper, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_of_all_names_is_seen_through() {
        let usual =
            ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"];
        for prefix in ["", "module.", "_orig_mod.", "_orig_mod.module.", "language_model.", "model.language."] {
            let names: Vec<String> = usual.iter().map(|name| format!("{prefix}{name}")).collect();
            let naming = Naming::of(names.iter().map(String::as_str)).unwrap();
            let read: Vec<String> = names.iter().map(|name| naming.name_of(name)).collect();
            assert_eq!(read, usual, "{prefix}");
            // Without the head's wrapper.
            let names: Vec<String> = usual[1..].iter().map(|name| format!("{prefix}{}", &name[6..])).collect();
            let naming = Naming::of(names.iter().map(String::as_str)).unwrap();
            let read: Vec<String> = names.iter().map(|name| naming.name_of(name)).collect();
            assert_eq!(read, usual[1..], "{prefix} without model");
        }
        let inside = Naming::of(["model.layers.0._orig_mod.mlp.up_proj.weight"].into_iter()).unwrap();
        assert_eq!(inside, Naming::default());
        assert_eq!(inside.name_of("model.layers.0._orig_mod.mlp.up_proj.weight"), "model.layers.0.mlp.up_proj.weight");
        let naming = Naming::of(["module.model.layers.0.mlp.up_proj.weight"].into_iter()).unwrap();
        assert_ne!(naming.name_of("model.norm.weight"), "model.norm.weight");
        assert_eq!(Naming::of(["input_layernorm.weight", "players.x"].into_iter()), None);
    }
}
