//! What may be in the place of a large file that was not fetched.

use std::fmt;

/// A pointer is a few short lines; a file that is longer is never one.
const LONGEST: usize = 1024;

/// A small text that stands for a large file which was not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// Of Git LFS.
    GitLfs,
    /// Of git-annex.
    GitAnnex,
    /// Of Xet.
    Xet,
}

impl Pointer {
    /// The pointer that a file is, if it is one; `content` is the whole file, or its first kilobyte and a byte more.
    pub fn of(content: &[u8]) -> Option<Self> {
        if content.len() > LONGEST {
            return None;
        }
        let content = content.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(content);
        let starts = |start: &str| content.starts_with(start.as_bytes());
        match () {
            () if starts("version https://git-lfs.github.com/spec/") => Some(Self::GitLfs),
            // The name of Git LFS before 2014; its pointers are still in old repositories.
            () if starts("version https://hawser.github.com/spec/") => Some(Self::GitLfs),
            () if starts("/annex/objects/") => Some(Self::GitAnnex),
            // An unlocked link of git-annex, written as a text where a file system has no links.
            () if starts("../") && content.windows(19).any(|part| part == b".git/annex/objects/") => {
                Some(Self::GitAnnex)
            }
            () if starts(".git/annex/objects/") => Some(Self::GitAnnex),
            () if starts("# xet version ") => Some(Self::Xet),
            () => None,
        }
    }

    /// The command that fetches the file.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::GitLfs => "git lfs pull",
            Self::GitAnnex => "git annex get .",
            Self::Xet => "git xet checkout",
        }
    }
}

/// Such as "a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`".
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::GitLfs => "Git LFS",
            Self::GitAnnex => "git-annex",
            Self::Xet => "Xet",
        };
        write!(f, "a {name} pointer, not the file itself; fetch the file with `{}`", self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_known_and_files_are_not_taken_for_them() {
        let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
        assert_eq!(Pointer::of(lfs.as_bytes()), Some(Pointer::GitLfs));
        assert_eq!(Pointer::of(format!("\u{feff}{lfs}").as_bytes()), Some(Pointer::GitLfs));
        assert_eq!(Pointer::of(b"/annex/objects/SHA256E-s10--00.bin\n"), Some(Pointer::GitAnnex));
        assert_eq!(Pointer::of(b"../../.git/annex/objects/aa/bb/SHA256E-s10--00"), Some(Pointer::GitAnnex));
        assert_eq!(Pointer::of(b"# xet version 0\nfilesize = 10\n"), Some(Pointer::Xet));
        for text in ["", "version 1", "{}", "../a"] {
            assert_eq!(Pointer::of(text.as_bytes()), None, "{text}");
        }
        // A text that quotes a pointer is longer than one.
        assert_eq!(Pointer::of(lfs.repeat(20).as_bytes()), None);
        assert!(Pointer::GitLfs.to_string().ends_with("`git lfs pull`"));
    }
}
