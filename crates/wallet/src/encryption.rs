//! Encrypted key files: `$NACL`, a nonce, and a secretbox under a stretched password.

use crate::error::WalletError;
use crate::secret::fill_random;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use zeroize::Zeroizing;

const PREFIX: &[u8] = b"$NACL";
const NONCE_BYTES: usize = 24;
/// The salt that Bittensor's tools use for every file.
const SALT: [u8; 16] = [0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1];

/// What stretching a password costs. The files do not say which cost they were made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Passes over the memory.
    pub iterations: u32,
    /// Memory, in KiB.
    pub memory_kib: u32,
}

impl PasswordCost {
    /// The cost that Bittensor's files have: 8 passes over 512 MiB.
    pub const BITTENSOR: Self = Self { iterations: 8, memory_kib: 512 * 1024 };
}

/// Whether these are the bytes of an encrypted key file.
pub fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(PREFIX)
}

/// Encrypts a key file.
pub(crate) fn encrypt(plain: &[u8], password: &str, cost: PasswordCost) -> Result<Vec<u8>, WalletError> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    let sealed = cipher(password, cost)?.encrypt(&Nonce::from(nonce), plain);
    // The cipher refuses only lengths that no file has.
    let sealed = sealed.map_err(|_| WalletError::Stretching("the key file is too long".to_owned()))?;
    Ok([PREFIX, &nonce, &sealed].concat())
}

/// Decrypts a key file; none where the password is wrong or the bytes were changed.
pub(crate) fn decrypt(bytes: &[u8], password: &str, cost: PasswordCost) -> Result<Option<Vec<u8>>, WalletError> {
    let Some(rest) = bytes.strip_prefix(PREFIX) else { return Ok(None) };
    let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE_BYTES>() else { return Ok(None) };
    Ok(cipher(password, cost)?.decrypt(&Nonce::from(*nonce), sealed).ok())
}

fn cipher(password: &str, cost: PasswordCost) -> Result<XSalsa20Poly1305, WalletError> {
    let failed = |error: argon2::Error| WalletError::Stretching(error.to_string());
    let params = Params::new(cost.memory_kib, cost.iterations, 1, Some(32)).map_err(failed)?;
    let mut memory: Vec<Block> = Vec::new();
    // Half a gibibyte may not be there: that is an error to report, not a reason to abort.
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| WalletError::Stretching("there is not enough memory".to_owned()))?;
    memory.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), &SALT, key.as_mut_slice(), &mut memory)
        .map_err(failed)?;
    Ok(XSalsa20Poly1305::new((&*key).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHEAP: PasswordCost = PasswordCost { iterations: 1, memory_kib: 8 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn round_trip_and_any_change_is_noticed(plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let mut sealed = encrypt(&plain, "p", CHEAP).unwrap();
            prop_assert_eq!(decrypt(&sealed, "p", CHEAP).unwrap().unwrap(), plain);
            let at = at.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(decrypt(&sealed, "p", CHEAP).unwrap().is_none());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decrypt(&[PREFIX, &bytes].concat(), "p", CHEAP);
        }
    }

    /// The only test at full cost: it takes 512 MiB and some seconds.
    #[test]
    fn the_full_cost_works() {
        let sealed = encrypt(b"secret", "p", PasswordCost::BITTENSOR).unwrap();
        assert_eq!(decrypt(&sealed, "p", CHEAP).unwrap(), None);
    }
}
