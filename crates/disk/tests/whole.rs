//! Whatever instant a process is killed at, and whatever the disk refuses: the old content or the new one, whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use templar_disk::{
    Disk, DiskError, Draft, Existing, Folder, FolderDraft, Readers, SystemDisk, WriteOptions, Writers, recover,
};
use templar_testing::FailingDisk;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const MANY: WriteOptions =
    WriteOptions { readers: Readers::Owner, existing: Existing::Replace, writers: Writers::Many };

#[test]
fn a_kill_at_any_instant_leaves_the_old_file_or_the_new_one() {
    for options in [WriteOptions::default(), MANY] {
        let mut outcomes = Vec::new();
        for changes in 0.. {
            let scratch = tempfile::tempdir().unwrap();
            Folder::new(scratch.path()).write("state", &[b"old"]).unwrap();
            let dying = Folder::over(Arc::new(FailingDisk::after(changes, ErrorKind::Other)), scratch.path());
            let is_done = dying.write_with("state", &[b"new ", b"content"], options).is_ok();
            let found = fs::read(scratch.path().join("state")).unwrap();
            assert!(found == b"old" || found == b"new content", "after {changes} changes: {found:?}");
            assert!(!is_done || found == b"new content");
            // The next writer is not in its way.
            Folder::new(scratch.path()).write_with("state", &[b"third"], options).unwrap();
            outcomes.push(found);
            if is_done {
                break;
            }
        }
        assert!(outcomes.first().unwrap() == b"old" && outcomes.len() > 4, "{}", outcomes.len());
    }
}

#[test]
fn a_kill_at_any_instant_leaves_the_old_folder_or_the_new_one() {
    for can_exchange in [true, false] {
        for changes in 0.. {
            let scratch = tempfile::tempdir().unwrap();
            let target = scratch.path().join("model");
            let replace = |disk: Arc<dyn Disk>, text: &[u8]| {
                let draft = FolderDraft::beside(disk, &target, Writers::One)?;
                draft.folder().write("a", &[text])?;
                draft.folder().write("b", &[text])?;
                draft.put_in_place(Existing::Replace)
            };
            replace(Arc::new(SystemDisk), b"old").unwrap();
            let dying = FailingDisk::after(changes, ErrorKind::Other);
            let dying = if can_exchange { dying } else { dying.without_exchange() };
            let is_done = replace(Arc::new(dying), b"new").is_ok();
            recover(&SystemDisk, &target).unwrap();
            let found = ["a", "b"].map(|name| fs::read(target.join(name)).unwrap());
            assert!(found[0] == found[1] && [&b"old"[..], b"new"].contains(&&found[0][..]), "after {changes}");
            assert!(!is_done || found[0] == b"new");
            replace(Arc::new(SystemDisk), b"third").unwrap();
            assert!(names(scratch.path()).iter().all(|name| name == "model" || name == ".model.old"));
            if is_done {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_is_named_and_leaves_the_old_file_and_no_draft() {
    let scratch = tempfile::tempdir().unwrap();
    Folder::new(scratch.path()).write("state", &[b"old"]).unwrap();
    let disk = Arc::new(FailingDisk::after(1, ErrorKind::StorageFull));
    let folder = Folder::over(Arc::clone(&disk) as Arc<dyn Disk>, scratch.path());
    let mut writer = folder.writer("state", WriteOptions::default()).unwrap();
    let error = writer.write(&[1; 1 << 20]).unwrap_err();
    assert!(matches!(error, DiskError::Full { .. }), "{error}");
    assert!(error.to_string().contains("state.new") && error.to_string().contains("free some space"), "{error}");
    assert_eq!(folder.free_bytes().unwrap(), 0);
    disk.allow(u64::MAX);
    drop(writer);
    assert_eq!(names(scratch.path()), ["state"]);
    assert_eq!(folder.read("state").unwrap().unwrap(), b"old");
    assert!(folder.free_bytes().unwrap() > 0);
}

#[test]
fn a_stream_is_visible_at_its_end_with_its_hash() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = Folder::new(scratch.path().join("deep/er"));
    folder.create().unwrap();
    let mut writer = folder.writer("state", WriteOptions::default()).unwrap();
    let content: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
    for piece in content.chunks(70_001) {
        writer.write(piece).unwrap();
    }
    assert_eq!(folder.read("state").unwrap(), None);
    let written = writer.finish().unwrap();
    assert_eq!(written.bytes, 300_000);
    assert_eq!(written.hash, *blake3::hash(&content).as_bytes());
    assert_eq!(folder.read("state").unwrap().unwrap(), content);

    let mut dropped = folder.writer("state", WriteOptions::default()).unwrap();
    std::io::Write::write_all(&mut dropped, b"half").unwrap();
    drop(dropped);
    assert_eq!(names(folder.path()), ["state"]);
    folder.remove_file("state").unwrap();
    folder.remove_file("state").unwrap();
    folder.remove().unwrap();
    folder.remove().unwrap();
}

#[cfg(unix)]
#[test]
fn a_secret_is_for_its_owner_from_the_first_byte() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let folder = Folder::new(scratch.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for writers in [Writers::One, Writers::Many] {
        let options = WriteOptions { readers: Readers::Owner, existing: Existing::Replace, writers };
        // A leftover that anybody may read does not keep its permissions.
        fs::write(scratch.path().join("key.new"), b"half").unwrap();
        let mut writer = folder.writer("key", options).unwrap();
        writer.write(b"secret").unwrap();
        let drafts = names(scratch.path()).into_iter().filter(|name| name.ends_with(".new") && name != "key.new");
        drafts.for_each(|draft| assert_eq!(mode(&scratch.path().join(draft)), 0o600));
        writer.finish().unwrap();
        assert_eq!(mode(&scratch.path().join("key")), 0o600);
    }
}

#[test]
fn of_racing_writers_one_creates_the_file() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = Folder::new(scratch.path());
    let options = WriteOptions { readers: Readers::Owner, existing: Existing::Keep, writers: Writers::Many };
    let created = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|number| {
                let folder = &folder;
                scope.spawn(move || match folder.write_with("key", &[&[number; 1000]], options) {
                    Ok(()) => true,
                    Err(DiskError::Exists { .. }) => false,
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|created| *created).count()
    });
    assert_eq!(created, 1);
    assert_eq!(names(scratch.path()), ["key"]);
    let bytes = folder.read("key").unwrap().unwrap();
    assert!(bytes.len() == 1000 && bytes.iter().all(|byte| *byte == bytes[0]));
}

#[test]
fn a_folder_that_exists_is_kept_where_that_is_asked() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("corpus");
    let build = || {
        let draft = FolderDraft::beside(Arc::new(SystemDisk), &target, Writers::Many)?;
        draft.folder().write("a", &[b"text"])?;
        draft.put_in_place(Existing::Keep)
    };
    fs::create_dir(&target).unwrap();
    build().unwrap();
    assert!(matches!(build(), Err(DiskError::Exists { .. })));
    assert_eq!(names(scratch.path()), ["corpus"]);
}

#[test]
fn a_lock_has_one_holder_until_it_is_dropped() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = Folder::new(scratch.path());
    let held = folder.lock("lock").unwrap();
    assert_eq!(held.path(), scratch.path().join("lock"));
    let error = folder.lock("lock").unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }) && error.to_string().contains("in use"), "{error}");
    drop(held);
    let held = folder.wait_for_lock("lock").unwrap();
    let waiting = std::thread::spawn({
        let folder = folder.clone();
        move || folder.wait_for_lock("lock").unwrap()
    });
    drop(held);
    waiting.join().unwrap();
}

#[test]
fn a_draft_gathers_other_files_and_goes_when_it_is_dropped() {
    let scratch = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let create = || Draft::create_in(Arc::clone(&disk), scratch.path(), "", "", Readers::Anybody).unwrap();
    let mut part = create();
    part.write(b"part").unwrap();
    let part = part.close();
    let mut whole = create();
    whole.write(b"first ").unwrap();
    assert_eq!(whole.append(part.as_path()).unwrap(), 4);
    whole.publish(&scratch.path().join("object"), Existing::Replace).unwrap();
    drop(part);
    assert_eq!(names(scratch.path()), ["object"]);
    assert_eq!(fs::read(scratch.path().join("object")).unwrap(), b"first part");
}
