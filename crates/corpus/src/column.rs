//! One text column of a Parquet file, row group by row group.

use crate::content::{Look, instead_of_parquet};
use crate::documents::SourceError;
use crate::input::Input;
use crate::rows::{Content, Fault, FaultKind, Place, Row};
use crate::utf8::Utf8Counter;
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use std::fs::File;

/// Rows that are decoded at a time.
const ROWS: usize = 1024;

/// Reads the rows of a column to its end.
pub(crate) struct ColumnRows {
    input: Input,
    reader: SerializedFileReader<File>,
    /// The column; none where the file does not have it.
    column: Option<usize>,
    /// What the file has instead of the column.
    instead: String,
    place: Place,
    counter: Utf8Counter,
    next_group: usize,
    current: Option<ColumnReader>,
    /// Rows of the last batch, the next one last.
    batch: Vec<Row>,
    is_over: bool,
}

impl ColumnRows {
    pub(crate) fn open(input: &Input, name: &str) -> Result<Self, SourceError> {
        let not_parquet = |reason: String| SourceError::NotParquet { path: input.path.clone(), reason };
        let head = input.head()?;
        if head.look != Look::Parquet || head.packing.is_some() {
            return Err(not_parquet(instead_of_parquet(&head.bytes).to_owned()));
        }
        let file = input.file()?;
        let reader = without_panic(|| SerializedFileReader::new(file)).map_err(|error| not_parquet(reason(&error)))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let (column, instead) = match find_column(schema, name) {
            Column::Text(index) => (Some(index), String::new()),
            Column::Missing => {
                (None, format!("there is no column \"{name}\"; the columns of text are {}", texts(schema)))
            }
            Column::Other(what) => {
                return Err(SourceError::WrongColumn { path: input.path.clone(), what, columns: texts(schema) });
            }
        };
        let file = input.path.display().to_string().into();
        Ok(Self {
            input: input.clone(),
            reader,
            column,
            instead,
            place: Place { file, unit: Some("row"), number: 0 },
            counter: Utf8Counter::default(),
            next_group: 0,
            current: None,
            batch: Vec::new(),
            is_over: false,
        })
    }

    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let Some(column) = self.column else {
            return Ok(if std::mem::replace(&mut self.is_over, true) { None } else { self.all_missing() });
        };
        while self.batch.is_empty() && !self.is_over {
            self.read_batch(column)?;
        }
        Ok(self.batch.pop())
    }

    /// All rows at once, where there is no column.
    fn all_missing(&self) -> Option<Row> {
        let rows = u64::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or_default();
        let fault = Fault { kind: FaultKind::Missing, what: self.instead.clone() };
        let place = Place { number: 1, ..self.place.clone() };
        (rows > 0).then_some(Row { place, content: Content::LeftOut { fault, rows } })
    }

    fn not_parquet(&self, error: &parquet::errors::ParquetError) -> SourceError {
        SourceError::NotParquet { path: self.input.path.clone(), reason: reason(error) }
    }

    /// The library takes the place of a column for granted.
    fn check_place(&self, group: usize, column: usize) -> Result<(), SourceError> {
        let chunk = self.reader.metadata().row_group(group).columns().get(column);
        let is_whole = chunk.is_some_and(|chunk| {
            let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            start >= 0 && chunk.data_page_offset() >= 0 && chunk.compressed_size() >= 0 && chunk.num_values() >= 0
        });
        match is_whole {
            true => Ok(()),
            false => {
                let reason = format!("the place of the column in row group {group} is none");
                Err(SourceError::Damaged { path: self.input.path.clone(), reason })
            }
        }
    }

    fn read_batch(&mut self, column: usize) -> Result<(), SourceError> {
        let mut reader = match self.current.take() {
            Some(reader) => reader,
            None if self.next_group == self.reader.num_row_groups() => {
                self.is_over = true;
                return Ok(());
            }
            None => {
                let number = self.next_group;
                self.next_group += 1;
                self.check_place(number, column)?;
                let reader = || self.reader.get_row_group(number).and_then(|group| group.get_column_reader(column));
                without_panic(reader).map_err(|error| self.not_parquet(&error))?
            }
        };
        let present = self.reader.metadata().file_metadata().schema_descr().column(column).max_def_level();
        // The column was chosen for its type, and each row group has the file's schema.
        let ColumnReader::ByteArrayColumnReader(values_of) = &mut reader else {
            let path = self.input.path.clone();
            return Err(SourceError::Damaged {
                path,
                reason: "a row group has another schema than the file".to_owned(),
            });
        };
        let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
        let read = without_panic(|| values_of.read_records(ROWS, Some(&mut levels), None, &mut values));
        let (rows, _, _) = read.map_err(|error| self.not_parquet(&error))?;
        if rows == 0 {
            return Ok(());
        }
        self.current = Some(reader);
        let mut values = values.into_iter();
        for row in 0..rows {
            self.place.number += 1;
            let is_present = levels.get(row).is_none_or(|level| *level == present);
            let value = if is_present { values.next() } else { None };
            let row = self.row(value)?;
            self.batch.push(row);
        }
        self.batch.reverse();
        Ok(())
    }

    fn row(&mut self, value: Option<ByteArray>) -> Result<Row, SourceError> {
        let Some(value) = value else {
            let fault = Fault { kind: FaultKind::Null, what: "it is null".to_owned() };
            return Ok(Row::left_out(self.place.clone(), fault));
        };
        let (before, mut text) = (self.counter.wrong_sequences(), String::with_capacity(value.len()));
        self.counter.push(value.data(), true, &mut text);
        self.counter.check(&self.input.path)?;
        Ok(Row::text(self.place.clone(), text, self.counter.wrong_sequences() > before))
    }
}

impl Iterator for ColumnRows {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

/// Runs the library, which panics on some damaged files where it should fail.
fn without_panic<T>(
    read: impl FnOnce() -> Result<T, parquet::errors::ParquetError>,
) -> Result<T, parquet::errors::ParquetError> {
    // After a panic nothing of the reader is used again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(parquet::errors::ParquetError::General("what it says of itself is not true".to_owned()))
    })
}

/// What a name stands for in a file.
enum Column {
    Text(usize),
    Missing,
    /// Something else than one text in a row.
    Other(String),
}

fn find_column(schema: &SchemaDescriptor, name: &str) -> Column {
    let columns = schema.columns();
    let mut named = columns.iter().enumerate().filter(|(_, column)| column.path().string() == name);
    if let Some((index, _)) = named.next() {
        if named.next().is_some() {
            return Column::Other(format!("the file has more than one column \"{name}\": rename all but one"));
        }
        return match other_than_text(&columns[index]) {
            None => Column::Text(index),
            Some(what) => Column::Other(format!("the column \"{name}\" is {what}, not a text in each row")),
        };
    }
    let below = format!("{name}.");
    let inside: Vec<_> = columns.iter().filter(|column| column.path().string().starts_with(&below)).collect();
    if inside.is_empty() {
        return Column::Missing;
    }
    let what = if inside.iter().all(|column| column.max_rep_level() > 0) { "a list" } else { "a group of columns" };
    Column::Other(format!("the column \"{name}\" is {what}, not a text in each row"))
}

/// What a column has in its rows, where that is not a text.
fn other_than_text(column: &ColumnDescriptor) -> Option<String> {
    if column.max_rep_level() > 0 {
        return Some("a list".to_owned());
    }
    let is_number = matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
        || column.converted_type() == ConvertedType::DECIMAL;
    match column.physical_type() {
        PhysicalType::BYTE_ARRAY if is_number => Some("a number (a decimal)".to_owned()),
        PhysicalType::BYTE_ARRAY => None,
        PhysicalType::BOOLEAN => Some("true or false".to_owned()),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => Some("bytes of a fixed length".to_owned()),
        number => Some(format!("a number ({number})")),
    }
}

/// The columns with a text in each row.
fn texts(schema: &SchemaDescriptor) -> String {
    let texts = schema.columns().iter().filter(|column| other_than_text(column).is_none());
    let names: Vec<String> = texts.map(|column| column.path().string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What the library says of a file that cannot be read.
fn reason(error: &parquet::errors::ParquetError) -> String {
    let said = error.to_string();
    let said = said.strip_prefix("Parquet error: ").unwrap_or(&said);
    if said.contains("Corrupt footer") || said.contains("footer") {
        return "it begins like one and has no end: it is cut off; fetch it again".to_owned();
    }
    if said.contains("isabled feature") || said.contains("not supported") || said.contains("LZO") {
        return format!("{said}; write it again with zstd, snappy or no compression");
    }
    format!("{said}; it is damaged, fetch it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::rows::Tally;
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArrayType, Int32Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::path::Path;
    use std::sync::Arc;

    const SCHEMA: &str = "message m { OPTIONAL BYTE_ARRAY text (UTF8); REQUIRED INT32 id; OPTIONAL group meta \
                          { OPTIONAL BYTE_ARRAY url (UTF8); } OPTIONAL group tags (LIST) { REPEATED group list \
                          { OPTIONAL BYTE_ARRAY element (UTF8); } } OPTIONAL BYTE_ARRAY price (DECIMAL(9, 2)); }";

    /// Writes a file of a text column and others, in row groups of two.
    fn write_file(path: &Path, texts: &[Option<&[u8]>], compression: Compression) {
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for group in texts.chunks(2) {
            let mut row_group = writer.next_row_group().unwrap();
            let levels: Vec<i16> = group.iter().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<ByteArray> = group.iter().flatten().map(|text| ByteArray::from(text.to_vec())).collect();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&vec![7; group.len()], None, None).unwrap();
            column.close().unwrap();
            let none = vec![0; group.len()];
            while let Some(mut column) = row_group.next_column().unwrap() {
                column.typed::<ByteArrayType>().write_batch(&[], Some(&none), Some(&none)).unwrap();
                column.close().unwrap();
            }
            row_group.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn read(path: &Path, column: &str) -> (Result<Vec<String>, SourceError>, String) {
        let (mut texts, mut tally) = (Vec::new(), Tally::default());
        for row in Source::of_path(path, column).unwrap().rows() {
            match row {
                Ok(row) => {
                    tally.add(&row);
                    texts.extend(row.into_document());
                }
                Err(error) => return (Err(error), tally.to_string()),
            }
        }
        (Ok(texts), tally.to_string().replace(path.to_str().unwrap(), "a"))
    }

    #[test]
    fn a_column_gives_its_rows_whatever_the_compression() {
        let folder = tempfile::tempdir().unwrap();
        let rows =
            [Some(&b"one"[..]), None, Some("zw\u{f6}lf".as_bytes()), Some(b""), Some(b"a\0b \xff"), Some(b"last")];
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
            Compression::BROTLI(Default::default()),
            Compression::LZ4_RAW,
            Compression::LZ4,
        ] {
            let path = folder.path().join("rows.parquet");
            write_file(&path, &rows, compression);
            let (texts, tally) = read(&path, "text");
            assert_eq!(texts.unwrap(), ["one", "zwölf", "a\0b \u{FFFD}", "last"], "{compression}");
            assert_eq!(
                tally,
                "2 of 6 rows left out: 1 with null as the text (a, row 2: it is null), 1 with an empty text (a, row 4: it \
                 is empty); 1 row with U+FFFD in place of what is no character (a, row 5)"
            );
        }
    }

    #[test]
    fn a_column_that_is_there_twice_is_not_chosen_from() {
        let schema = "message m { OPTIONAL BYTE_ARRAY text (UTF8); OPTIONAL BYTE_ARRAY text (UTF8); }";
        let schema = SchemaDescriptor::new(Arc::new(parse_message_type(schema).unwrap()));
        let Column::Other(what) = find_column(&schema, "text") else { panic!("one was chosen") };
        assert!(what.contains("more than one column \"text\""), "{what}");
    }

    #[test]
    fn wrong_columns_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        write_file(&path, &[Some(b"one"), Some(b"two"), Some(b"three")], Compression::UNCOMPRESSED);
        let error = |column: &str| read(&path, column).0.unwrap_err().to_string();
        assert!(
            error("id").contains(
                "\"id\" is a number (INT32), not a text in each row; the columns of text are: text, meta.url"
            )
        );
        assert!(error("price").contains("is a number (a decimal)"));
        assert!(error("meta").contains("is a group of columns"));
        assert!(error("tags").contains("is a list") && error("tags.list.element").contains("is a list"));
        assert!(error("body").contains("3 without the field (the first: "), "{}", error("body"));
        assert!(error("body").contains("there is no column \"body\"; the columns of text are text, meta.url"));
        assert!(error("meta.url").contains("3 of 3 rows left out: 3 with null"));
        let bytes = std::fs::read(&path).unwrap();
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match Source::of_path(&path, "text").unwrap().documents().unwrap().collect::<Result<Vec<_>, _>>() {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        assert!(of(&bytes[..bytes.len() - 5]).contains("it is cut off"), "{}", of(&bytes[..bytes.len() - 5]));
        assert!(of(b"{\"text\": 1}").contains("looks like JSON lines"));
        assert!(of(b"<!DOCTYPE html><html>").contains("a web page"));
        assert!(of(b"plain").contains("it is text") && of(b"").contains("it is empty"));
        // Any damage ends in rows or in an error.
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            of(&damaged);
            of(&bytes[..at]);
        }
    }
}
