//! How fast the vector unit could be: the yardstick of the kernels.

use super::vector::Vector;
use crate::Isa;

/// Chains of multiply-adds that run at once: enough to hide the latency of each, and all in registers.
const CHAINS: usize = 12;

/// Does nothing but fused multiply-adds, `rounds` of them in each of some chains of vectors; returns how many
/// floating-point operations (two for each multiply-add and lane) that were. Its time is the core's peak.
pub fn fma_burst(isa: Isa, rounds: u64) -> u64 {
    let (sum, lanes) = match isa {
        // SAFETY: the instruction set is asserted to be there.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if isa.is_available() => (unsafe { burst_avx512(rounds) }, 16),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if isa.is_available() => (unsafe { burst_avx2(rounds) }, 8),
        // SAFETY: every aarch64 has NEON.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => (unsafe { burst::<std::arch::aarch64::float32x4_t>(rounds) }, 4),
        // SAFETY: a plain f32 needs nothing.
        _ => (unsafe { burst::<f32>(rounds) }, 1),
    };
    // The sum is used, so that the work is not dropped.
    std::hint::black_box(sum);
    2 * lanes * CHAINS as u64 * rounds
}

/// # Safety
/// AVX-512 must be there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn burst_avx512(rounds: u64) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { burst::<std::arch::x86_64::__m512>(rounds) }
}

/// # Safety
/// AVX2 and FMA must be there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn burst_avx2(rounds: u64) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { burst::<std::arch::x86_64::__m256>(rounds) }
}

/// # Safety
/// The instruction set of `V` must be there.
#[inline(always)]
unsafe fn burst<V: Vector>(rounds: u64) -> f32 {
    // SAFETY: the caller's promise; `out` holds a vector.
    unsafe {
        let (factor, addend) = (V::splat(std::hint::black_box(0.999)), V::splat(std::hint::black_box(1e-3)));
        let mut chains = [V::splat(0.5); CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = chain.mul_add(factor, addend);
            }
        }
        let mut out = [0.0f32; 16];
        let mut sum = 0.0;
        for chain in chains {
            chain.store(out.as_mut_ptr());
            sum += out[0];
        }
        sum
    }
}
