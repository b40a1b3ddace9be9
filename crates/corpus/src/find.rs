//! Finding the files of a text: which there are below a path, of what kind, and what is left out.

use crate::content::{Look, Packing, looks_like_rows};
use crate::documents::{KindFound, SourceError};
use crate::input::{Head, Input, PathKind, path_kind};
use crate::kind::{KindChoice, TextKind, ending_kind, is_description, is_settings, is_table, may_be_document};
use crate::left_out::{LeftOut, WhyLeftOut};
use crate::parts::incomplete;
use crate::rows::Tally;
use crate::source::{Source, TextFile, TextFiles};
use crate::{BuildError, Tokenizer};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How text is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The field of JSON rows and the column of Parquet files that has the text; a dot goes into an object or a group.
    pub field: String,
    /// Which files of a folder are read.
    pub kinds: KindChoice,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { field: crate::DEFAULT_FIELD.to_owned(), kinds: KindChoice::Auto }
    }
}

/// The text at some paths: a source for each, and what is left out.
#[derive(Debug, Clone, Default)]
pub struct FoundText {
    /// The sources, in the order of the paths.
    pub sources: Vec<Source>,
    /// What is in the folders and is not read.
    pub left_out: Vec<LeftOut>,
}

impl FoundText {
    /// Looks at files, folders and pipes; `-` is the standard input. A pipe is read to its end, once, after `note` heard
    /// of it. Each file is taken once, however it is named.
    pub fn find(paths: &[PathBuf], options: &ReadOptions, note: &mut dyn FnMut(&str)) -> Result<Self, SourceError> {
        let mut search = Search { options, seen: BTreeSet::new(), left_out: Vec::new() };
        let mut sources = Vec::new();
        for path in paths {
            let (name, files) = search.files_of(path, note)?;
            if !files.is_empty() {
                let field = options.field.clone();
                sources.push(Source::Files(Arc::new(TextFiles { name, files, field })));
            }
        }
        let found = Self { sources, left_out: search.left_out };
        found.remarks(options).iter().for_each(|remark| note(remark));
        Ok(found)
    }

    /// What is not as it may have been meant: parts that are missing, tables that are read as they are, a field that no
    /// file has.
    fn remarks(&self, options: &ReadOptions) -> Vec<String> {
        let files = self.sources.iter().filter_map(|source| match source {
            Source::Files(files) => Some(&files.files),
            _ => None,
        });
        let files: Vec<&TextFile> = files.flatten().collect();
        let mut remarks = incomplete(files.iter().map(|file| file.input.path.as_path()));
        let is_text = |file: &&&TextFile| file.kind == TextKind::Text;
        if let Some(table) = files.iter().filter(is_text).find(|file| is_table(&file.input.path)) {
            let table = table.input.path.display();
            remarks.push(format!(
                "{table} is read as plain text, with its separators and quotes: for one column of it, write it as Parquet \
                 or JSON lines"
            ));
        }
        if options.field != crate::DEFAULT_FIELD && !files.is_empty() && files.iter().all(|file| is_text(&file)) {
            remarks.push(format!("the field \"{}\" is not used: plain text has no fields", options.field));
        }
        remarks
    }
}

impl FoundText {
    /// The first tokens of the text, at least `wanted` where it has that number; each document is followed by `end`. `note`
    /// hears what is left out.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        end: u32,
        wanted: usize,
        note: &mut dyn FnMut(&str),
    ) -> Result<Vec<u32>, BuildError> {
        LeftOut::lines(&self.left_out).iter().for_each(|line| note(line));
        let mut tokens = Vec::new();
        for source in &self.sources {
            let mut tally = Tally::default();
            for row in source.rows() {
                let row = row?;
                tally.add(&row);
                let Some(document) = row.into_document() else { continue };
                tokens.extend(tokenizer.encode(&document)?);
                tokens.push(end);
                if tokens.len() >= wanted {
                    break;
                }
            }
            if !tally.is_clean() {
                note(&format!("{}: {tally}", source.name()));
            }
        }
        Ok(tokens)
    }
}

struct Search<'a> {
    options: &'a ReadOptions,
    /// Files and folders, by the paths that lead to them without links.
    seen: BTreeSet<PathBuf>,
    left_out: Vec<LeftOut>,
}

/// A file of a folder that may be text.
struct Candidate {
    path: PathBuf,
    kind: TextKind,
    packing: Option<Packing>,
    /// Whether there is another reason than its ending to take it for data.
    is_sure: bool,
}

impl Search<'_> {
    /// The files of a path, and what it is called.
    fn files_of(&mut self, path: &Path, note: &mut dyn FnMut(&str)) -> Result<(String, Vec<TextFile>), SourceError> {
        let name = || path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        let facts = fs::metadata(path);
        if path == Path::new("-") && facts.is_err() {
            return Ok((STANDARD_INPUT.to_owned(), vec![self.named(Input::of_stdin(path)?)?]));
        }
        let facts = facts.map_err(SourceError::unreadable(path))?;
        let kind = path_kind(facts.file_type());
        // What has no name of its own is opened once: a second opening may go on where the first ended.
        let is_nameless = ["/dev/", "/proc/"].iter().any(|folder| path.starts_with(folder));
        match kind {
            PathKind::Folder => Ok((name(), self.files_of_folder(path)?)),
            PathKind::File | PathKind::Pipe if !self.is_first(path, path) => Ok((name(), Vec::new())),
            PathKind::File if !is_nameless => Ok((name(), vec![self.named(Input::of_file(path))?])),
            PathKind::File | PathKind::Pipe => {
                note(&format!("reading {} to its end", path.display()));
                let name = match is_nameless {
                    true if path == Path::new("/dev/stdin") => STANDARD_INPUT.to_owned(),
                    true => "pipe".to_owned(),
                    false => name(),
                };
                Ok((name, vec![self.named(Input::of_pipe(path)?)?]))
            }
            PathKind::Other(what) => Err(SourceError::NotFile { path: path.to_path_buf(), what }),
        }
    }

    /// A file that was named, or a pipe: whatever it is, it is read or rejected.
    fn named(&self, input: Input) -> Result<TextFile, SourceError> {
        let Head { packing, look, bytes } = input.head()?;
        let path = input.path.clone();
        let kind = match (look, ending_kind(&path)) {
            (Look::Pointer(pointer), _) => return Err(SourceError::Pointer { path, pointer }),
            (Look::Foreign(what, remedy), _) => return Err(SourceError::Foreign { path, what, remedy }),
            (Look::Packed(_), _) => {
                return Err(SourceError::Foreign { path, what: "packed twice", remedy: "unpack it" });
            }
            (Look::Parquet, _) if packing.is_some() => {
                let (what, remedy) = ("a packed Parquet file", "unpack it first, such as with `gunzip`");
                return Err(SourceError::Foreign { path, what, remedy });
            }
            (Look::Parquet, _) => TextKind::Parquet,
            (Look::Plain, Some(kind)) => kind,
            (Look::Plain, None) if looks_like_rows(&bytes, &self.options.field) => TextKind::JsonLines,
            (Look::Plain, None) => TextKind::Text,
        };
        Ok(TextFile { input, kind, packing })
    }

    /// Whether a file or folder was not met before; if it was, it is noted as left out.
    fn is_first(&mut self, path: &Path, root: &Path) -> bool {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let is_first = self.seen.insert(place);
        if !is_first {
            self.leave_out(root, path, WhyLeftOut::SecondName);
        }
        is_first
    }

    fn leave_out(&mut self, root: &Path, path: &Path, why: WhyLeftOut) {
        self.left_out.push(LeftOut { root: root.to_path_buf(), path: path.to_path_buf(), why });
    }

    fn files_of_folder(&mut self, root: &Path) -> Result<Vec<TextFile>, SourceError> {
        let before = self.left_out.len();
        let candidates = self.candidates(root)?;
        let candidates = self.chosen(root, candidates)?;
        if candidates.is_empty() && !self.left_out[before..].iter().any(|left| left.why == WhyLeftOut::SecondName) {
            let seen = LeftOut::listed(&self.left_out[before..]);
            let seen = if seen.is_empty() { "it is empty".to_owned() } else { format!("it has {seen}") };
            let endings = TextKind::ALL.iter().flat_map(|kind| kind.endings()).map(|ending| format!(".{ending}"));
            let endings = endings.collect::<Vec<_>>().join(", ");
            return Err(SourceError::NoFiles { path: root.to_path_buf(), seen, endings });
        }
        self.check_for_data(root, &candidates, before)?;
        let file = |it: Candidate| TextFile { input: Input::of_file(&it.path), kind: it.kind, packing: it.packing };
        Ok(candidates.into_iter().map(file).collect())
    }

    /// Rejects a folder of which only the description can be read: a README beside tables or archives, the settings of a
    /// data set beside Arrow files. To go on with them would be another text.
    fn check_for_data(&self, root: &Path, chosen: &[Candidate], before: usize) -> Result<(), SourceError> {
        let is_description = |it: &Candidate| match it.kind {
            TextKind::Text => is_description(&it.path),
            _ => !it.is_sure && is_settings(&it.path),
        };
        let is_data = |it: &&LeftOut| {
            matches!(it.why, WhyLeftOut::Ending | WhyLeftOut::Foreign(_)) && !crate::kind::is_description(&it.path)
        };
        let data: Vec<LeftOut> = self.left_out[before..].iter().filter(is_data).cloned().collect();
        let is_auto = self.options.kinds == KindChoice::Auto;
        if !is_auto || data.is_empty() || chosen.is_empty() || !chosen.iter().all(is_description) {
            return Ok(());
        }
        let name = |it: &Candidate| it.path.strip_prefix(root).unwrap_or(&it.path).display().to_string();
        let read = chosen.iter().map(name).collect::<Vec<_>>().join(", ");
        Err(SourceError::OnlyDescribed { path: root.to_path_buf(), described: LeftOut::listed(&data), read })
    }

    /// The files below a folder that may be text, sorted by their paths.
    fn candidates(&mut self, root: &Path) -> Result<Vec<Candidate>, SourceError> {
        let mut candidates = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if !self.is_first(&folder, root) {
                continue;
            }
            for path in sorted_entries(&folder)? {
                if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                    self.leave_out(root, &path, WhyLeftOut::Hidden);
                    continue;
                }
                let facts = match fs::metadata(&path) {
                    Err(_) if fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_symlink()) => {
                        self.leave_out(root, &path, WhyLeftOut::LeadsNowhere);
                        continue;
                    }
                    facts => facts.map_err(SourceError::unreadable(&path))?,
                };
                match path_kind(facts.file_type()) {
                    PathKind::Folder => folders.push(path),
                    PathKind::File => candidates.extend(self.candidate(root, path, facts.len())?),
                    PathKind::Pipe | PathKind::Other(_) => self.leave_out(root, &path, WhyLeftOut::NoFile),
                }
            }
        }
        // By bytes, so that no locale and no order of the file system changes the corpus.
        candidates.sort_by(|a, b| a.path.as_os_str().as_encoded_bytes().cmp(b.path.as_os_str().as_encoded_bytes()));
        Ok(candidates)
    }

    fn candidate(&mut self, root: &Path, path: PathBuf, bytes: u64) -> Result<Option<Candidate>, SourceError> {
        let why = match ending_kind(&path) {
            None => WhyLeftOut::Ending,
            Some(_) if bytes == 0 => WhyLeftOut::Empty,
            Some(ending) => {
                if !self.is_first(&path, root) {
                    return Ok(None);
                }
                let Head { packing, look, bytes } = Input::of_file(&path).head()?;
                match look {
                    // The data is not there: to go on without it would be another text.
                    Look::Pointer(pointer) => return Err(SourceError::Pointer { path, pointer }),
                    Look::Foreign(what, _) => WhyLeftOut::Foreign(what),
                    Look::Packed(_) => WhyLeftOut::Foreign("packed twice"),
                    Look::Parquet if packing.is_some() => WhyLeftOut::Foreign("a packed Parquet file"),
                    Look::Parquet => {
                        return Ok(Some(Candidate { path, kind: TextKind::Parquet, packing, is_sure: true }));
                    }
                    Look::Plain => {
                        let is_sure = !may_be_document(&path) || looks_like_rows(&bytes, &self.options.field);
                        return Ok(Some(Candidate { path, kind: ending, packing, is_sure }));
                    }
                }
            }
        };
        self.leave_out(root, &path, why);
        Ok(None)
    }

    /// Those candidates that are the text: all of the kinds that were asked for; else the data without what describes it,
    /// where that is of one kind.
    fn chosen(&mut self, root: &Path, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, SourceError> {
        let is_data = |it: &Candidate| it.kind != TextKind::Text && it.is_sure;
        let has_data = candidates.iter().any(is_data);
        let has_text = candidates.iter().any(|it| it.kind == TextKind::Text);
        let mut chosen = Vec::new();
        for candidate in candidates {
            let why = match self.options.kinds {
                KindChoice::All => None,
                KindChoice::Only(kind) => (candidate.kind != kind).then_some(WhyLeftOut::Kind(candidate.kind)),
                KindChoice::Auto if candidate.kind == TextKind::Text => {
                    (has_data && is_description(&candidate.path)).then_some(WhyLeftOut::Description)
                }
                KindChoice::Auto => (!candidate.is_sure && (has_data || has_text)).then_some(WhyLeftOut::NoRows),
            };
            match why {
                Some(why) => self.leave_out(root, &candidate.path, why),
                None => chosen.push(candidate),
            }
        }
        let mut kinds = BTreeMap::new();
        for candidate in &chosen {
            kinds.entry(candidate.kind).or_insert_with(|| (0, candidate.path.clone())).0 += 1;
        }
        if kinds.len() > 1 && self.options.kinds == KindChoice::Auto {
            let kinds = kinds.into_iter().map(|(kind, (files, first))| KindFound { kind, files, first }).collect();
            return Err(SourceError::MoreKinds { path: root.to_path_buf(), kinds });
        }
        Ok(chosen)
    }
}

const STANDARD_INPUT: &str = "standard input";

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = SourceError::unreadable(folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        paths.push(entry.map_err(&failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use tempfile::TempDir;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        folder
    }

    fn find(paths: &[&Path], kinds: KindChoice) -> Result<(Vec<String>, Vec<String>), SourceError> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        let options = ReadOptions { kinds, ..ReadOptions::default() };
        let found = FoundText::find(&paths, &options, &mut |_| {})?;
        let documents = found.sources.iter().flat_map(|source| source.documents().unwrap());
        let left_out = found.left_out.iter().map(|it| {
            let name = it.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("{name}: {}", it.why)
        });
        Ok((documents.collect::<Result<_, _>>()?, left_out.collect()))
    }

    fn auto(path: &Path) -> Result<(Vec<String>, Vec<String>), SourceError> {
        find(&[path], KindChoice::Auto)
    }

    #[test]
    fn a_folder_gives_its_texts_by_sorted_path_and_lists_the_rest() {
        let folder = folder(&[
            ("b.txt", b"bee"),
            ("a/z.md", "\u{FEFF}zed".as_bytes()),
            ("a.TXT", b"ay"),
            ("README.md", b"read"),
            ("empty.txt", b""),
            (".hidden.txt", b"no"),
            (".git/a.txt", b"no"),
            ("image.png", b"\0"),
            ("pdf.txt", b"%PDF-1.4"),
            ("settings.json", b"{\n \"a\": 1\n}"),
            ("x.jsonl/c.txt", b"cee"),
        ]);
        let (texts, left_out) = auto(folder.path()).unwrap();
        assert_eq!(texts, ["read", "ay", "zed", "bee", "cee"]);
        assert_eq!(
            left_out,
            [
                ".git: hidden",
                ".hidden.txt: hidden",
                "empty.txt: empty",
                "image.png: another ending than text has",
                "pdf.txt: a PDF document",
                "settings.json: JSON without rows that have the field"
            ]
        );
    }

    #[test]
    fn data_is_read_without_its_description_and_two_kinds_are_not_mixed_unasked() {
        let row = &b"{\"text\": \"row\"}\n"[..];
        let clone = folder(&[("README.md", b"about"), ("LICENSE.txt", b"terms"), ("data/train.jsonl", row)]);
        let (texts, left_out) = auto(clone.path()).unwrap();
        assert_eq!((texts.len(), left_out.len()), (1, 2));
        let all = find(&[clone.path()], KindChoice::All).unwrap();
        assert_eq!((all.0.len(), all.1.len()), (3, 0));
        let mixed = folder(&[("a.txt", b"text"), ("b.jsonl", row), ("c.json", row)]);
        let error = auto(mixed.path()).unwrap_err().to_string();
        assert!(error.contains("1 file of plain text (") && error.contains("2 files of JSON lines ("), "{error}");
        let only = |kind| find(&[mixed.path()], KindChoice::Only(kind)).unwrap();
        assert_eq!(only(TextKind::JsonLines), (vec!["row".into(), "row".into()], vec!["a.txt: plain text".into()]));
        assert_eq!(only(TextKind::Text).0, ["text"]);
        // The only JSON there is read, so that what is wrong with it is told.
        let json = folder(&[("a.json", b"{\"body\": \"a\"}")]);
        assert!(auto(json.path()).unwrap_err().to_string().contains("fields body"));
    }

    #[test]
    fn a_folder_without_text_says_what_it_has() {
        let error = |files: &[(&str, &[u8])]| auto(folder(files).path()).unwrap_err().to_string();
        assert!(
            error(&[]).contains(
                "it is empty; text is in files that end in .txt, .text, .md, .jsonl, .ndjson, .json, .parquet"
            )
        );
        assert!(error(&[("a.csv", b"x")]).contains("it has a.csv (another ending than text has)"));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        let error = error(&[("a.txt", b"text"), ("b.txt", pointer)]);
        assert!(error.contains("b.txt is a Git LFS pointer") && error.contains("git lfs pull"), "{error}");
        assert!(matches!(auto(Path::new("/no/such")), Err(SourceError::Missing { .. })));
        assert!(matches!(auto(Path::new("/dev/zero")), Err(SourceError::NotFile { what: "a device", .. })));
    }

    #[cfg(unix)]
    #[test]
    fn each_file_is_read_once_and_links_lead_nowhere_twice() {
        let folder = folder(&[("a.txt", b"ay"), ("d/b.txt", b"bee")]);
        let path = |name: &str| folder.path().join(name);
        for (target, link) in [("a.txt", "z.txt"), ("d", "e"), (".", "d/up"), ("..", "d/out"), ("gone", "gone.txt")] {
            std::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let (texts, left_out) = find(&[folder.path(), &path("a.txt")], KindChoice::Auto).unwrap();
        assert_eq!(texts, ["ay", "bee"]);
        let nowhere = left_out.iter().filter(|it| it.contains("nowhere")).count();
        let second = left_out.iter().filter(|it| it.contains("another name")).count();
        assert_eq!((nowhere, second), (2, 5), "{left_out:?}");
    }

    #[test]
    fn packed_text_is_read_and_a_file_is_what_it_holds() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, bytes).unwrap();
            encoder.finish().unwrap()
        };
        let book = gzip(&b"line of text\n".repeat(50));
        let zstd = zstd::encode_all(&b"{\"text\": \"row\"}\n"[..], 1).unwrap();
        let unnamed = b"{\"id\": 1, \"text\": \"row\"}\n";
        let folder = folder(&[
            ("book.txt.gz", &book),
            ("named-wrong.txt", &gzip(b"packed")),
            ("rows.jsonl.zst", &zstd),
            ("rows", unnamed),
            ("cut.txt.gz", &book[..book.len() - 12]),
            ("twice.gz", &gzip(&book)),
            ("word.docx", b"PK\x03\x04...."),
        ]);
        let texts = |name: &str| auto(&folder.path().join(name)).map(|(texts, _)| texts);
        assert_eq!(texts("book.txt.gz").unwrap(), ["line of text\n".repeat(50)]);
        assert_eq!(texts("named-wrong.txt").unwrap(), ["packed"]);
        assert_eq!(texts("rows.jsonl.zst").unwrap(), ["row"]);
        assert_eq!(texts("rows").unwrap(), ["row"]);
        let error = |name: &str| texts(name).unwrap_err().to_string();
        assert!(error("cut.txt.gz").contains("is damaged: what is packed in it is cut off"), "{}", error("cut.txt.gz"));
        assert!(error("twice.gz").contains("packed twice"));
        assert!(error("word.docx").contains("is a zip archive") && error("word.docx").contains("unpack it"));
    }
}
