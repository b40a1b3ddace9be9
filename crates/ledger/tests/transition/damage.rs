//! A damaged file is an error that says so, whatever part of it is damaged, and never a panic.

use templar_base::{BlockNumber, Keypair, Rao};
use templar_chain::Call;
use templar_ledger::{Ledger, LocalChain, Profile};

fn read_everything(folder: &std::path::Path) -> Result<(), String> {
    let ledger = Ledger::reopen(folder).map_err(|error| error.to_string())?;
    for number in 0..=ledger.head().number.0 {
        ledger.block(BlockNumber(number)).map_err(|error| error.to_string())?;
    }
    let netuid = ledger.state().profile().netuid;
    ledger.metagraph(netuid, Some(BlockNumber(1))).map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn any_damage_to_a_file_is_an_error_and_no_panic() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    let [alice, bob] = ["//Alice", "//Bob"].map(|uri| Keypair::from_uri(uri).unwrap());
    let profile = Profile::local(alice.public(), &[bob.public()]);
    let chain = LocalChain::new(Ledger::open(&whole, &profile, [7; 32]).unwrap());
    for number in 0..24 {
        let call = Call::Transfer { to: bob.public(), amount: Rao::from_rao(1_000 + number) };
        chain.enqueue(&alice, call).unwrap();
        chain.advance(1).unwrap();
    }
    drop(chain);
    read_everything(&whole).unwrap();
    let bytes = std::fs::read(whole.join("ledger.redb")).unwrap();
    let damaged = scratch.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    let mut errors = 0;
    let mut try_bytes = |bytes: &[u8]| {
        std::fs::write(damaged.join("ledger.redb"), bytes).unwrap();
        errors += usize::from(read_everything(&damaged).is_err());
    };
    for part in 0..48 {
        let mut changed = bytes.clone();
        let (start, end) = (bytes.len() * part / 48, bytes.len() * (part + 1) / 48);
        for byte in changed[start..end].iter_mut().step_by(61 + part) {
            *byte ^= 0x5a;
        }
        try_bytes(&changed);
        try_bytes(&bytes[..start]);
    }
    assert!(errors > 24, "only {errors} of 96 damaged files were noticed");
}
