//! Which arithmetic an engine does: the numerics a run fixes in its genesis, and the instruction set of a machine.

use std::fmt;
use std::str::FromStr;

/// The order of every floating-point operation, as a profile and the version of the kernels that carry it out.
///
/// Two engines of the same exact id compute the same bits from the same inputs: `strict-2`. An open class, such as
/// `torch-bf16`, promises closeness only. It has no version, and nothing that it computes can be replayed to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericsId {
    /// The family of rules.
    pub profile: Profile,
    /// Raised whenever a change of the kernels changes any bit of any result; 0 in an open class.
    pub kernel_version: u32,
}

/// A family of rules of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Everything in f32 in one fixed order: equal bits on every machine.
    Strict,
    /// PyTorch with products in bf16, and parameters, sums of gradients and moments in f32. Open.
    TorchBf16,
    /// PyTorch in f32, for comparisons with [`Self::Strict`]. Open.
    TorchF32,
}

impl Profile {
    const ALL: [Self; 3] = [Self::Strict, Self::TorchBf16, Self::TorchF32];

    const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::TorchBf16 => "torch-bf16",
            Self::TorchF32 => "torch-f32",
        }
    }
}

impl NumericsId {
    /// What this crate's CPU engine computes.
    pub const STRICT: Self = Self { profile: Profile::Strict, kernel_version: 2 };
    /// What PyTorch computes in bf16.
    pub const TORCH_BF16: Self = Self { profile: Profile::TorchBf16, kernel_version: 0 };
    /// What PyTorch computes in f32.
    pub const TORCH_F32: Self = Self { profile: Profile::TorchF32, kernel_version: 0 };

    /// Whether the same inputs give the same bits everywhere, so that a training can be replayed.
    pub const fn is_exact(self) -> bool {
        matches!(self.profile, Profile::Strict)
    }
}

impl fmt::Display for NumericsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_exact() {
            true => write!(f, "{}-{}", self.profile.name(), self.kernel_version),
            false => f.write_str(self.profile.name()),
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
        let read = |profile: Profile| {
            let version = text.strip_prefix(profile.name())?.trim_start_matches('-');
            let kernel_version = if version.is_empty() { 0 } else { version.parse().ok()? };
            Some(Self { profile, kernel_version }).filter(|id| id.to_string() == text)
        };
        Profile::ALL.into_iter().find_map(read).ok_or_else(|| NumericsIdError(text.to_owned()))
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
        for id in [NumericsId::STRICT, NumericsId::TORCH_BF16, NumericsId::TORCH_F32] {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.is_exact(), id == NumericsId::STRICT);
            assert_eq!(templar_base::is_open_numerics(&id.to_string()), !id.is_exact());
        }
        assert_eq!(NumericsId::STRICT.to_string(), "strict-2");
        for text in
            ["strict", "strict-", "strict-01", "strict-+1", "torch-bf16-1", "torch-bf16-", "torch", "fast-1", ""]
        {
            assert!(text.parse::<NumericsId>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_scalar_path_is_everywhere() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
        assert!(Isa::best().is_available());
    }
}
