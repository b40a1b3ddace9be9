//! Which arithmetic an engine does: the numerics a run fixes in its genesis, and the instruction set of a machine.

use std::fmt;
use std::str::FromStr;

/// The order of every floating-point operation, as a profile and the version of the kernels that carry it out.
///
/// Two engines of the same id compute the same bits from the same inputs. Written `strict-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericsId {
    /// The family of rules.
    pub profile: Profile,
    /// Raised whenever a change of the kernels changes any bit of any result.
    pub kernel_version: u32,
}

/// A family of rules of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Everything in f32 in one fixed order: equal bits on every machine.
    Strict,
}

impl NumericsId {
    /// What this crate's CPU engine computes.
    pub const STRICT: Self = Self { profile: Profile::Strict, kernel_version: 2 };
}

impl fmt::Display for NumericsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.profile {
            Profile::Strict => write!(f, "strict-{}", self.kernel_version),
        }
    }
}

/// A numerics id that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("numerics id `{0}` is unknown; this program computes `{strict}`", strict = NumericsId::STRICT)]
pub struct NumericsIdError(String);

impl FromStr for NumericsId {
    type Err = NumericsIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = text.strip_prefix("strict-").and_then(|digits| digits.parse().ok());
        let id = version.map(|kernel_version| Self { profile: Profile::Strict, kernel_version });
        id.filter(|id| id.to_string() == text).ok_or_else(|| NumericsIdError(text.to_owned()))
    }
}

/// The vector instructions that the CPU kernels use. All of them compute the same bits; they differ in speed only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// One value at a time as far as the source says; the oracle of the others.
    Scalar,
    /// aarch64, all of which have it.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, VL, DQ, BW).
    Avx512,
}

impl Isa {
    /// Every instruction set that the kernels know, slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Those that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_reads_back_and_strangers_are_refused() {
        assert_eq!("strict-2".parse(), Ok(NumericsId::STRICT));
        for text in ["strict-", "strict-01", "strict-+1", "fast-1", ""] {
            assert!(text.parse::<NumericsId>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_scalar_path_is_everywhere() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
        assert!(Isa::best().is_available());
    }
}
