//! Wallets, phrases, bucket keys and storage servers.
