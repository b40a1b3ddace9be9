//! Files that are whole or absent.
//!
//! A file written here is either the old one or the new one, whole, at whatever instant the machine stops: the bytes
//! go to a draft beside it, are flushed to the disk, get their name in one step, and then the name is flushed too.
//! Whole folders are replaced in the same way. [`Lock`] keeps a second process out.
//!
//! All of it goes through the small trait [`Disk`]: [`SystemDisk`] is the real one, and a simulated or failing disk can
//! take its place. Nothing in this crate knows a file format; [`Pointer`] knows what stands for a file that was not
//! fetched. All functions block.
//!
//! ```
//! use templar_disk::{Folder, WriteOptions};
//!
//! # let scratch = tempfile::tempdir().unwrap();
//! let folder = Folder::new(scratch.path().join("node"));
//! folder.create()?;
//! let _only_process_here = folder.lock("lock")?;
//! folder.write("state", &[b"head", b"body"])?;
//! assert_eq!(folder.read("state")?.unwrap(), b"headbody");
//!
//! // A large file is streamed; its hash is known at its end, and only then is it visible.
//! let mut writer = folder.writer("shared", WriteOptions::default())?;
//! for segment in 0..3u8 {
//!     writer.write(&[segment; 1000])?;
//! }
//! assert_eq!(folder.read("shared")?, None);
//! let written = writer.finish()?;
//! assert_eq!((written.bytes, folder.read("shared")?.unwrap().len()), (3000, 3000));
//! # Ok::<(), templar_disk::DiskError>(())
//! ```

mod disk;
mod draft;
mod error;
mod folder;
mod folder_draft;
mod lock;
mod pointer;
mod system;
mod writer;

pub use disk::{Disk, DiskFile, Facts, LockMode};
pub use draft::{Draft, DraftPath};
pub use error::DiskError;
pub use folder::Folder;
pub use folder_draft::{FolderDraft, recover};
pub use lock::Lock;
pub use pointer::Pointer;
pub use system::{SystemDisk, read_exact_at};
pub use writer::{Existing, Readers, WriteOptions, Writer, Writers, Written};
