//! One interface over the vector registers of each instruction set, and the macro that compiles a kernel for each.

/// A register of f32 lanes.
///
/// # Safety
/// Every method needs the instruction set of the implementing type, and pointers to `LANES` values.
pub(crate) trait Vector: Copy {
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self` where it is larger, else `other`: not a number is passed over in `self`, and stays in `other`.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where it is smaller, else `other`, with [`Vector::max`]'s not-a-number.
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    /// The bits of `other` that `self` has not.
    unsafe fn not_and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `2^n` for the integer n, -126 ..= 127, in the lowest nine bits of a lane.
    unsafe fn power_of_two(self) -> Self;
    /// Asks for the cache line of `place`, which may be any address; a hint, and nothing where there is no such
    /// instruction.
    #[inline(always)]
    fn prefetch(_place: *const f32) {}
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instruction set.
        unsafe { Self::splat(0.0) }
    }
}

/// Implements [`Vector`]: operations of two registers by their instructions, then the others as they are.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector {
    ($type:ty, $lanes:literal, { $($operation:ident: $instruction:path),* $(,)? }, { $($others:tt)* }) => {
        // SAFETY of each block: the caller promises the instruction set and valid pointers.
        impl Vector for $type {
            const LANES: usize = $lanes;
            $(#[inline(always)]
            unsafe fn $operation(self, other: Self) -> Self {
                unsafe { $instruction(self, other) }
            })*
            $($others)*
        }
    };
}

impl Vector for f32 {
    const LANES: usize = 1;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        value
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is valid.
        unsafe { *from }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's pointer is valid.
        unsafe { *to = self }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        f32::from_bits(self.to_bits() & other.to_bits())
    }
    #[inline(always)]
    unsafe fn not_and(self, other: Self) -> Self {
        f32::from_bits(!self.to_bits() & other.to_bits())
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        f32::from_bits(self.to_bits() | other.to_bits())
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        f32::mul_add(self, factor, addend)
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        f32::from_bits((self.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;
    vector!(
        __m256,
        8,
        {
            add: _mm256_add_ps,
            sub: _mm256_sub_ps,
            mul: _mm256_mul_ps,
            max: _mm256_max_ps,
            min: _mm256_min_ps,
            and: _mm256_and_ps,
            not_and: _mm256_andnot_ps,
            or: _mm256_or_ps,
        },
        {
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                unsafe { _mm256_set1_ps(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                unsafe { _mm256_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { _mm256_storeu_ps(to, self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                unsafe { _mm256_fmadd_ps(self, factor, addend) }
            }
            #[inline(always)]
            unsafe fn power_of_two(self) -> Self {
                unsafe {
                    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(self));
                    _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(1.0f32.to_bits() as i32)))
                }
            }
            #[inline(always)]
            fn prefetch(place: *const f32) {
                // A hint that never faults; SSE is part of every x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
            }
        }
    );
    vector!(
        __m512,
        16,
        {
            add: _mm512_add_ps,
            sub: _mm512_sub_ps,
            mul: _mm512_mul_ps,
            max: _mm512_max_ps,
            min: _mm512_min_ps,
            and: _mm512_and_ps,
            not_and: _mm512_andnot_ps,
            or: _mm512_or_ps,
        },
        {
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                unsafe { _mm512_set1_ps(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                unsafe { _mm512_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { _mm512_storeu_ps(to, self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                unsafe { _mm512_fmadd_ps(self, factor, addend) }
            }
            #[inline(always)]
            unsafe fn power_of_two(self) -> Self {
                unsafe {
                    let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(self));
                    _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(1.0f32.to_bits() as i32)))
                }
            }
            #[inline(always)]
            fn prefetch(place: *const f32) {
                // A hint that never faults; SSE is part of every x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
            }
        }
    );
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Vector;
    use std::arch::aarch64::*;

    // SAFETY of each: the caller promises NEON, which every aarch64 has.
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    unsafe fn and(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b))) }
    }
    unsafe fn not_and(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(b), vreinterpretq_u32_f32(a))) }
    }
    unsafe fn or(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b))) }
    }

    vector!(
        float32x4_t,
        4,
        {
            add: vaddq_f32,
            sub: vsubq_f32,
            mul: vmulq_f32,
            max: max,
            min: min,
            and: and,
            not_and: not_and,
            or: or,
        },
        {
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                unsafe { vdupq_n_f32(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                unsafe { vld1q_f32(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { vst1q_f32(to, self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                unsafe { vfmaq_f32(addend, self, factor) }
            }
            #[inline(always)]
            unsafe fn power_of_two(self) -> Self {
                unsafe {
                    let exponent = vshlq_n_u32::<23>(vreinterpretq_u32_f32(self));
                    vreinterpretq_f32_u32(vaddq_u32(exponent, vdupq_n_u32(1.0f32.to_bits())))
                }
            }
        }
    );
}

/// Compiles one body for each instruction set and picks by the first argument, an available `Isa`.
///
/// The source fixes the order of operations (fixed lanes, explicit `mul_add`), and the compiler may not reorder or
/// contract floating-point operations, so that all versions compute the same bits. A body over arrays of lanes is left
/// to the compiler; one that names a vector `V` and a number `N` is written over the `N` registers of the
/// [`super::reduction::LANES`] lanes.
macro_rules! kernel {
    ($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $crate::cpu::vector::kernel! {
            $(#[$meta])*
            fn $name<V, N>($($argument: $type),*) $(-> $result)? $body
        }
    };
    (
        $(#[$meta:meta])*
        fn $name:ident<$vector:ident, $registers:ident>($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
        pub(crate) fn $name(isa: crate::Isa, $($argument: $type),*) $(-> $result)? {
            /// # Safety
            /// The instruction set of the vector must be there.
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            unsafe fn body<$vector: $crate::cpu::vector::Vector, const $registers: usize>(
                $($argument: $type),*
            ) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                // SAFETY: so this function is compiled.
                unsafe { body::<std::arch::x86_64::__m256, 2>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                // SAFETY: so this function is compiled.
                unsafe { body::<std::arch::x86_64::__m512, 1>($($argument),*) }
            }
            match isa {
                // SAFETY: `Cpu::new` lets only an available instruction set in.
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: every aarch64 has it.
                #[cfg(target_arch = "aarch64")]
                crate::Isa::Neon => unsafe { body::<std::arch::aarch64::float32x4_t, 4>($($argument),*) },
                // SAFETY: a plain value needs no instruction set.
                _ => unsafe { body::<f32, 16>($($argument),*) },
            }
        }
    };
}
pub(crate) use kernel;
