//! Texts, corpora, tokenizers.

use crate::program::{Place, succeeded};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use std::sync::Arc;

/// Documents of ordinary words.
fn texts(count: u64) -> Vec<String> {
    (0..count).map(|number| templar_corpus::synthetic_document(11, number)).collect()
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| format!("{row}\n")).collect()
}

fn text_lines(texts: &[String]) -> String {
    lines(texts.iter().map(|text| json!({"text": text})))
}

/// A Parquet file of one column of text, which is below `depth` optional groups; a row without a text is null.
fn parquet(schema: &str, depth: i16, rows: &[Option<&str>], compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<ByteArray> = rows.iter().flatten().map(|text| ByteArray::from(*text)).collect();
    let levels: Vec<i16> = rows.iter().map(|row| if row.is_some() { depth } else { 0 }).collect();
    let repeated = vec![0; rows.len()];
    column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), Some(&repeated)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

const TEXT: &str = "OPTIONAL BYTE_ARRAY text (UTF8);";

fn text_parquet(texts: &[String], compression: Compression) -> Vec<u8> {
    let rows: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    parquet(TEXT, 1, &rows, compression)
}

fn build<'a>(paths: &[&'a str], out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["corpus", "build", "--text"], paths, &["--vocab-size", "300", "--out", out, "--json"], more].concat()
}

fn bytes_of(built: &Value) -> u64 {
    built["bytes"].as_u64().unwrap()
}

fn length(texts: &[String]) -> u64 {
    texts.iter().map(|text| text.len() as u64).sum()
}

#[test]
fn a_cloned_data_set_is_its_data_and_not_its_description() {
    let place = Place::new();
    let rows = texts(40);
    for (folder, file, content) in [
        ("parquet", "data/train-00000.parquet", text_parquet(&rows, Compression::SNAPPY)),
        ("lines", "train.jsonl", text_lines(&rows).into_bytes()),
    ] {
        fs::create_dir_all(place.path(&format!("{folder}/data"))).unwrap();
        place.write(&format!("{folder}/{file}"), content);
        place.write(&format!("{folder}/README.md"), "# About\n\n".repeat(500));
        place.write(&format!("{folder}/LICENSE.txt"), "terms ".repeat(500));
        place.write(&format!("{folder}/plot.png"), b"\x89PNG");
        place.write(&format!("{folder}/.gitattributes"), "x");
        let built = place.json(&build(&[folder], &format!("c-{folder}"), &[]));
        assert_eq!((bytes_of(&built), built["sources"][0]["documents"].as_u64()), (length(&rows), Some(40)));
        let left_out = built["left_out"]["files"].as_array().unwrap();
        assert_eq!(left_out.len(), 4, "{left_out:?}");
        let output = place.run(&["corpus", "build", "--text", folder, "--out", &format!("d-{folder}")]);
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(
            notes.contains("README.md (a description beside the data)") && notes.contains(".gitattributes"),
            "{notes}"
        );
        let all = place.json(&build(&[folder], &format!("e-{folder}"), &["--text-kind", "all"]));
        assert!(bytes_of(&all) > bytes_of(&built));
    }
}

#[test]
fn a_folder_of_two_kinds_is_rejected_with_a_way_to_say_which() {
    let place = Place::new();
    let rows = texts(40);
    fs::create_dir(place.path("mixed")).unwrap();
    place.write("mixed/book.txt", rows.concat());
    place.write("mixed/rows.jsonl", text_lines(&rows[..20]));
    let error = place.failure(1, &build(&["mixed"], "c", &[]));
    assert!(error.contains("plain text (mixed/book.txt) and 1 file of JSON lines (mixed/rows.jsonl)"), "{error}");
    assert!(error.contains("--text-kind"), "{error}");
    let bytes =
        |out: &str, paths: &[&str], kind: &str| bytes_of(&place.json(&build(paths, out, &["--text-kind", kind])));
    assert_eq!(bytes("c1", &["mixed"], "json-lines"), length(&rows[..20]));
    assert_eq!(bytes("c2", &["mixed"], "text"), length(&rows));
    assert_eq!(bytes("c3", &["mixed"], "all"), length(&rows) + length(&rows[..20]));
    assert_eq!(bytes("c4", &["mixed/book.txt", "mixed/rows.jsonl"], "auto"), length(&rows) + length(&rows[..20]));
}

#[test]
fn a_path_is_never_taken_apart() {
    let place = Place::new();
    let rows = texts(60);
    place.write("book.txt", rows[..40].concat());
    place.write("2024-05-01T12:30, b.txt", rows[40..].concat());
    let odd = "2024-05-01T12:30, b.txt";
    let built = place.json(&build(&["book.txt", odd], "c1", &[]));
    assert_eq!(built["sources"].as_array().unwrap().len(), 2);
    assert_eq!(bytes_of(&built), length(&rows));
    assert_eq!(bytes_of(&place.json(&build(&[odd], "c2", &[]))), length(&rows[40..]));
    place.write("templar.toml", format!("text = '{odd}'"));
    let arguments = ["corpus", "build", "--vocab-size", "300", "--json", "--out"];
    assert_eq!(bytes_of(&place.json(&[&arguments[..], &["c3"]].concat())), length(&rows[40..]));
    let mut by_variable = place.templar(&[&arguments[..], &["c4"]].concat());
    let built = succeeded(by_variable.env("TEMPLAR_TEXT", format!("{odd}\nbook.txt")).output().unwrap());
    assert_eq!(bytes_of(&serde_json::from_str(&built).unwrap()), length(&rows));
    // The same file twice would weigh twice, and be trained on while it is kept back.
    let twice = place.json(&build(&["book.txt", "./book.txt"], "c5", &[]));
    assert_eq!(
        (bytes_of(&twice), &twice["left_out"]["files"][0]["why"]),
        (length(&rows[..40]), &json!("read under another name"))
    );
}

#[test]
fn a_pointer_to_a_file_that_was_not_fetched_is_no_text() {
    let place = Place::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 73400320\n";
    fs::create_dir(place.path("clone")).unwrap();
    place.write("clone/real.txt", texts(40).concat());
    place.write("clone/book.txt", pointer);
    for name in ["train.parquet", "train.jsonl", "train.txt", "train"] {
        place.write(name, pointer);
    }
    for path in ["clone", "train.parquet", "train.jsonl", "train.txt", "train"] {
        let error = place.failure(1, &build(&[path], "c", &[]));
        assert!(error.contains("a Git LFS pointer") && error.contains("git lfs pull"), "{path}: {error}");
    }
}

#[test]
fn one_bad_row_is_counted_and_does_not_end_the_whole() {
    let place = Place::new();
    let rows = texts(60);
    let mut all: Vec<String> = text_lines(&rows).lines().map(str::to_owned).collect();
    all.insert(30, r#"{"text": "nice \ud83d", "id": 1}"#.to_owned());
    all.insert(31, r#"{"text": "whole", "author": "half \ud83d", "score": NaN}"#.to_owned());
    all.insert(32, r#"{"text": "cut off"#.to_owned());
    all.insert(33, r#"{"text": null}"#.to_owned());
    all.insert(34, r#"{"body": "elsewhere"}"#.to_owned());
    all.insert(35, r#"{"text": 5}"#.to_owned());
    place.write("rows.jsonl", all.join("\n"));
    let built = place.json(&build(&["rows.jsonl"], "c", &[]));
    assert_eq!(built["sources"][0]["documents"], 62);
    let tally = &built["left_out"]["rows"][0];
    assert_eq!((&tally["rows"], &tally["left_out"], &tally["repaired"]), (&json!(66), &json!(4), &json!(1)));
    let why = tally["why"].as_str().unwrap();
    for part in [
        "rows.jsonl, line 33",
        "line 36: the field \"text\" is a number",
        "line 34: the field \"text\" is null",
        "line 35",
        "line 31",
    ] {
        assert!(why.contains(part), "{why}");
    }
    let notes = place.run(&["corpus", "build", "--text", "rows.jsonl", "--out", "d"]).stderr;
    assert!(String::from_utf8_lossy(&notes).contains("4 of 66 rows left out"));
}

#[test]
fn rows_mean_the_same_in_every_kind_of_file() {
    let place = Place::new();
    let rows = texts(60);
    let mut with_nul: Vec<Option<&str>> = rows.iter().map(|text| Some(text.as_str())).collect();
    with_nul.insert(20, Some("before\0after"));
    with_nul.insert(21, None);
    with_nul.insert(22, Some(""));
    place.write("a.jsonl", lines(with_nul.iter().map(|text| json!({"text": text}))));
    place.write("a.parquet", parquet(TEXT, 1, &with_nul, Compression::SNAPPY));
    place.write(
        "a.json",
        serde_json::to_string_pretty(&with_nul.iter().map(|text| json!({"text": text})).collect::<Vec<_>>()).unwrap(),
    );
    let built = ["a.jsonl", "a.parquet", "a.json"].map(|file| place.json(&build(&[file], &format!("c-{file}"), &[])));
    for other in &built {
        for fact in ["tokenizer", "train_tokens", "bytes"] {
            assert_eq!(built[0][fact], other[fact]);
        }
        let tally = &other["left_out"]["rows"][0];
        assert_eq!((&tally["rows"], &tally["left_out"]), (&json!(63), &json!(2)));
    }
}

#[test]
fn parquet_is_read_however_it_is_compressed() {
    let place = Place::new();
    let rows = texts(40);
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
    ];
    let built: Vec<Value> = (0..)
        .zip(codecs)
        .map(|(number, codec)| {
            place.write("a.parquet", text_parquet(&rows, codec));
            place.json(&build(&["a.parquet"], &format!("c{number}"), &[]))
        })
        .collect();
    for other in &built {
        assert_eq!((&built[0]["tokenizer"], &built[0]["train_tokens"]), (&other["tokenizer"], &other["train_tokens"]));
    }
}

#[test]
fn a_dotted_field_means_the_same_and_what_a_field_holds_is_named() {
    let place = Place::new();
    let rows = texts(40);
    place.write("nested.jsonl", lines(rows.iter().map(|text| json!({"meta": {"text": text, "url": "x"}}))));
    let values: Vec<Option<&str>> = rows.iter().map(|text| Some(text.as_str())).collect();
    let nested = "OPTIONAL group meta { OPTIONAL BYTE_ARRAY text (UTF8); }";
    place.write("nested.parquet", parquet(nested, 2, &values, Compression::SNAPPY));
    let field = ["--field", "meta.text"];
    let lines_of = place.json(&build(&["nested.jsonl"], "c1", &field));
    let column_of = place.json(&build(&["nested.parquet"], "c2", &field));
    assert_eq!((&lines_of["tokenizer"], &lines_of["bytes"]), (&column_of["tokenizer"], &column_of["bytes"]));
    let turns = "OPTIONAL group messages (LIST) { REPEATED group list { OPTIONAL group element { OPTIONAL BYTE_ARRAY content (UTF8); } } }";
    place.write("turns.parquet", parquet(turns, 4, &values, Compression::SNAPPY));
    place.write("number.jsonl", "{\"text\": \"first\"}\n{\"text\": 5}\n");
    place.write("object.json", serde_json::to_string_pretty(&json!({"data": [{"text": "a"}]})).unwrap());
    for (file, field, part) in [
        ("number.jsonl", "text", "line 2: the field \"text\" is a number, not text"),
        ("nested.jsonl", "meta", "is an object with the fields text, url, not text: name one with a dot between"),
        ("nested.jsonl", "text", "there is no field \"text\"; it is an object with the fields meta"),
        ("nested.parquet", "meta", "is a group of columns, not a text in each row; the columns of text are: meta.text"),
        ("nested.parquet", "text", "there is no column \"text\"; the columns of text are meta.text"),
        (
            "turns.parquet",
            "messages.list.element.content",
            "is a list, not a text in each row; the columns of text are: none",
        ),
        ("turns.parquet", "messages", "is a list"),
        ("object.json", "text", "an object over several lines"),
    ] {
        let error = place.failure(1, &build(&[file], "c", &["--field", field])).replace("\\\"", "\"");
        assert!(error.contains(part), "{file} {field}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once_and_to_its_end() {
    let place = Place::new();
    let rows = texts(60);
    let book = rows.concat();
    for (number, (path, input)) in
        [("-", book.clone()), ("/dev/stdin", book.clone()), ("-", text_lines(&rows))].iter().enumerate()
    {
        let out = format!("c{number}");
        let built = succeeded(place.run_with(&build(&[path], &out, &[]), input));
        let built: Value = serde_json::from_str(&built).unwrap();
        assert_eq!((bytes_of(&built), &built["sources"][0]["name"]), (length(&rows), &json!("standard input")));
    }
    let pipe = place.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child =
        place.templar(&build(&["pipe"], "named", &[])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fs::write(&pipe, &book).unwrap();
    let built: Value = serde_json::from_str(&succeeded(child.wait_with_output().unwrap())).unwrap();
    assert_eq!(bytes_of(&built), length(&rows));
    // In a folder it is left out: nobody may ever write into it.
    fs::create_dir(place.path("folder")).unwrap();
    place.write("folder/book.txt", &book);
    assert!(std::process::Command::new("mkfifo").arg(place.path("folder/pipe.txt")).status().unwrap().success());
    let built = place.json(&build(&["folder"], "with-pipe", &[]));
    assert_eq!(built["left_out"]["files"][0]["why"], "a pipe or a device");
}

#[test]
fn a_small_text_gets_the_vocabulary_that_it_gives() {
    let place = Place::new();
    place.write("notes.txt", texts(8).concat());
    let built = place.json(&["corpus", "build", "--text", "notes.txt", "--out", "c1", "--json"]);
    let reached = built["vocab_size"].as_u64().unwrap();
    assert!((258..4096).contains(&reached), "{reached}");
    let error = place.failure(1, &["corpus", "build", "--text", "notes.txt", "--vocab-size", "4096", "--out", "c2"]);
    assert!(error.contains(&format!("take a vocabulary of at most {reached}")), "{error}");
    let as_told =
        ["corpus", "build", "--text", "notes.txt", "--out", "c3", "--json", "--vocab-size", &reached.to_string()];
    assert_eq!(place.json(&as_told)["tokenizer"], built["tokenizer"]);
}

#[test]
fn sizes_have_bounds() {
    let place = Place::new();
    for flags in [
        ["--vocab-size", "1000000000"],
        ["--vocab-size", "4294967296"],
        ["--vocab-size", "100"],
        ["--synthetic", "0"],
        ["--synthetic", "18446744073709551615"],
        ["--held-out", "51"],
        ["--text-kind", "csv"],
    ] {
        let text: &[&str] = if flags[0] == "--synthetic" { &[] } else { &["--text", "a.txt"] };
        place.write("a.txt", "text");
        let error = place.failure(2, &[&["corpus", "build", "--out", "c"], text, &flags].concat());
        assert!(error.contains(flags[1]), "{error}");
    }
    let train = ["model", "train", "--out", "m", "--synthetic", "60000", "--vocab-size", "1000000000"];
    assert!(place.failure(2, &train).contains("1048576"));
    assert!(place.failure(2, &["corpus", "inspect", "c", "--sample", "1000000"]).contains("1000"));
}

#[test]
fn control_characters_of_a_text_do_not_reach_the_terminal() {
    let place = Place::new();
    let rows = (0..300).map(|number| json!({"text": format!("one {number} \u{1b}]0;owned\u{7} two")}));
    place.write("a.jsonl", lines(rows));
    place.stdout(&["corpus", "build", "--text", "a.jsonl", "--vocab-size", "260", "--held-out", "20", "--out", "c"]);
    let shown = place.stdout(&["corpus", "inspect", "c", "--sample", "2"]);
    assert!(!shown.contains('\u{1b}') && shown.contains("\\x1b]0;owned\\x07"), "{shown}");
    // A small part that is kept back gives a shorter sample.
    place.stdout(&["corpus", "build", "--text", "a.jsonl", "--vocab-size", "258", "--held-out", "0", "--out", "d"]);
    place.stdout(&["corpus", "inspect", "d", "--sample", "2"]);
    #[cfg(unix)]
    {
        fs::create_dir(place.path("odd")).unwrap();
        place.write("odd/\u{1b}[2J.txt", texts(30).concat());
        place.write("odd/\u{1b}[2J.png", "x");
        let output = place.run(&["corpus", "build", "--text", "odd", "--vocab-size", "300", "--out", "e"]);
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !notes.contains('\u{1b}') && notes.contains("\\x1b[2J.png"), "{notes}");
    }
}

#[test]
fn a_file_is_named_as_what_it_is() {
    let place = Place::new();
    let wide: Vec<u8> = "größer".repeat(50).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin: Vec<u8> = "größer als ein Fluß ".repeat(50).chars().map(|letter| letter as u8).collect();
    for (content, part) in [
        (&b"PK\x03\x04zip"[..], "a zip archive"),
        (b"%PDF-1.7", "a PDF document"),
        (b"BZh91AY", "packed with bzip2"),
        (b"\xff\xfeh\0i\0", "UTF-16 text"),
        (&wide, "iconv -f UTF-16LE"),
        (&latin, "iconv -f WINDOWS-1252"),
        (b"", "it is empty"),
    ] {
        place.write("a.txt", content);
        let error = place.failure(1, &build(&["a.txt"], "c", &[]));
        assert!(error.contains(part), "{part}: {error}");
    }
    let rows = texts(40);
    place.write("good.txt.gz", gzip(rows.concat().as_bytes()));
    assert_eq!(bytes_of(&place.json(&build(&["good.txt.gz"], "c1", &[]))), length(&rows));
    place.write("good.jsonl.gz", gzip(text_lines(&rows).as_bytes()));
    assert_eq!(bytes_of(&place.json(&build(&["good.jsonl.gz"], "c2", &[]))), length(&rows));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_folder_of_which_only_the_description_can_be_read_is_rejected() {
    let place = Place::new();
    let rows = texts(40);
    for (folder, files) in [
        ("table", vec![("README.md", rows.concat()), ("train.csv", "id,text\n1,a\n".to_owned())]),
        ("saved", vec![("dataset_info.json", "{\"features\": {}}".to_owned()), ("data-00000.arrow", "x".to_owned())]),
        ("packed", vec![("LICENSE", rows.concat()), ("README.md", rows.concat()), ("text.tar.xz", "x".to_owned())]),
    ] {
        fs::create_dir(place.path(folder)).unwrap();
        files.iter().for_each(|(name, content)| drop(place.write(&format!("{folder}/{name}"), content)));
        let error = place.failure(1, &build(&[folder], "c", &[]));
        let (data, _) = files.last().unwrap();
        assert!(error.contains(data) && error.contains("what only describes it"), "{folder}: {error}");
        assert!(error.contains("--text-kind all"), "{error}");
    }
    // The way out, a description by itself, and a text beside a table.
    let built = place.json(&build(&["table"], "c1", &["--text-kind", "all"]));
    assert_eq!(bytes_of(&built), length(&rows));
    fs::create_dir(place.path("alone")).unwrap();
    place.write("alone/README.md", rows.concat());
    assert_eq!(bytes_of(&place.json(&build(&["alone"], "c2", &[]))), length(&rows));
    place.write("table/book.txt", rows.concat());
    place.json(&build(&["table"], "c3", &[]));
}

#[test]
fn tables_unused_fields_and_missing_parts_are_told() {
    let place = Place::new();
    let rows = texts(40);
    place.write("table.csv", format!("id,text\n1,\"{}\"\n", rows.concat()));
    fs::create_dir(place.path("set")).unwrap();
    place.write("set/train-00001-of-00003.jsonl", text_lines(&rows));
    let notes = |paths: &[&str], out: &str, more: &[&str]| {
        let output = place.run(&build(paths, out, more));
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(notes(&["table.csv"], "c1", &[]).contains("table.csv is read as plain text, with its separators"));
    let unused = notes(&["table.csv"], "c2", &["--field", "body"]);
    assert!(unused.contains("the field \"body\" is not used"), "{unused}");
    let parts = notes(&["set"], "c3", &[]);
    assert!(parts.contains("train-*-of-00003.jsonl: 1 of its 3 parts are here"), "{parts}");
}

#[test]
fn a_tokenizer_gives_the_same_tokens_each_time_and_loses_none_of_the_text() {
    let place = Place::new();
    let rows = texts(40);
    place.write("book.txt", rows.concat());
    place.json(&build(&["book.txt"], "c0", &[]));
    let made: Value = serde_json::from_slice(&fs::read(place.path("c0/tokenizer.json")).unwrap()).unwrap();
    let with = |tokenizer: &str, out: &str| {
        ["corpus", "build", "--text", "book.txt", "--tokenizer", tokenizer, "--json", "--out", out].map(str::to_owned)
    };
    let build = |tokenizer: &str, out: &str| {
        let arguments = with(tokenizer, out);
        place.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    fs::create_dir(place.path("drops")).unwrap();
    let mut drops = made.clone();
    drops["model"]["dropout"] = json!(0.5);
    place.write("drops/tokenizer.json", drops.to_string());
    // The folder of a model stands for its tokenizer.
    let corpora: Vec<Value> = (0..3).map(|number| build("drops", &format!("d{number}"))["corpus"].clone()).collect();
    assert!(corpora.iter().all(|corpus| *corpus == corpora[0]), "{corpora:?}");
    let mut lacks = made;
    lacks["model"]["vocab"].as_object_mut().unwrap().remove(".").unwrap();
    lacks["model"]["merges"].as_array_mut().unwrap().retain(|merge| !merge.to_string().contains('.'));
    place.write("lacks.json", lacks.to_string());
    let arguments = with("lacks.json", "l");
    let error = place.failure(1, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("no token for the byte 0x2e"), "{error}");
}
