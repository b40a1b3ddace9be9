//! One text column of a Parquet file, row group by row group.

use crate::documents::{Documents, SourceError};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows that are decoded at a time.
const ROWS: usize = 1024;

/// The documents of a column; rows without a value are left out.
pub(crate) fn read_column(path: &Path, column: &str) -> Result<Documents, SourceError> {
    let file = File::open(path).map_err(|source| SourceError::Unreadable { path: path.to_path_buf(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|error| not_parquet(path, error.to_string()))?;
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    let found = columns.iter().position(|candidate| {
        candidate.path().string() == column
            && candidate.physical_type() == PhysicalType::BYTE_ARRAY
            && candidate.max_rep_level() == 0
    });
    let Some(index) = found else {
        let columns = columns.iter().map(|candidate| candidate.path().string()).collect::<Vec<_>>().join(", ");
        return Err(SourceError::WrongColumn { path: path.to_path_buf(), column: column.to_owned(), columns });
    };
    let mut rows = Rows { path: path.to_path_buf(), reader, column: index, next_group: 0, current: None };
    let mut batch = Vec::new().into_iter();
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            if let Some(text) = batch.next() {
                return Some(Ok(text));
            }
            match rows.next_batch() {
                Ok(Some(texts)) => batch = texts.into_iter(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    })))
}

struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    column: usize,
    next_group: usize,
    current: Option<ColumnReader>,
}

impl Rows {
    /// The texts of the next rows, perhaps none of them with a value; nothing at the end.
    fn next_batch(&mut self) -> Result<Option<Vec<String>>, SourceError> {
        loop {
            if self.current.is_none() {
                if self.next_group == self.reader.num_row_groups() {
                    return Ok(None);
                }
                let group = self.reader.get_row_group(self.next_group);
                let column = group.and_then(|group| group.get_column_reader(self.column));
                self.current = Some(column.map_err(|error| not_parquet(&self.path, error.to_string()))?);
                self.next_group += 1;
            }
            // The column was chosen for its type, and each row group has the file's schema.
            let Some(ColumnReader::ByteArrayColumnReader(column)) = &mut self.current else {
                return Err(not_parquet(&self.path, "a row group has another schema than the file".to_owned()));
            };
            let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
            let (rows, _, _) = column
                .read_records(ROWS, Some(&mut levels), None, &mut values)
                .map_err(|error| not_parquet(&self.path, error.to_string()))?;
            if rows == 0 {
                self.current = None;
                continue;
            }
            let texts: Result<Vec<String>, SourceError> =
                values.iter().map(|value| text(&self.path, value.data())).collect();
            return texts.map(Some);
        }
    }
}

fn text(path: &Path, bytes: &[u8]) -> Result<String, SourceError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        Ok(_) => Err(not_parquet(path, "a value of the column is binary (it has a NUL)".to_owned())),
        Err(_) => Err(not_parquet(path, "a value of the column is binary (no valid UTF-8)".to_owned())),
    }
}

fn not_parquet(path: &Path, reason: String) -> SourceError {
    SourceError::NotParquet { path: path.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use parquet::data_type::{ByteArrayType, Int32Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    /// Writes a file of an optional text column and a number column, in row groups of two.
    fn write_file(path: &Path, texts: &[Option<&str>], compression: parquet::basic::Compression) {
        let schema =
            Arc::new(parse_message_type("message m { OPTIONAL BYTE_ARRAY text (UTF8); REQUIRED INT32 id; }").unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for group in texts.chunks(2) {
            let mut row_group = writer.next_row_group().unwrap();
            let levels: Vec<i16> = group.iter().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<ByteArray> = group.iter().flatten().map(|text| ByteArray::from(*text)).collect();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&vec![7; group.len()], None, None).unwrap();
            column.close().unwrap();
            row_group.close().unwrap();
        }
        writer.close().unwrap();
    }

    #[test]
    fn a_column_gives_its_rows_whatever_the_compression() {
        let folder = tempfile::tempdir().unwrap();
        for compression in [
            parquet::basic::Compression::UNCOMPRESSED,
            parquet::basic::Compression::SNAPPY,
            parquet::basic::Compression::GZIP(Default::default()),
        ] {
            let path = folder.path().join("rows.parquet");
            write_file(&path, &[Some("one"), None, Some("zwölf"), Some(""), Some("last")], compression);
            let source = Source::of_path(&path, "text").unwrap();
            let texts: Vec<String> = source.documents().unwrap().map(Result::unwrap).collect();
            assert_eq!(texts, ["one", "zwölf", "last"]);
        }
    }

    #[test]
    fn wrong_columns_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        write_file(&path, &[Some("one")], parquet::basic::Compression::UNCOMPRESSED);
        let error = |column: &str| read_column(&path, column).err().unwrap();
        assert!(matches!(error("body"), SourceError::WrongColumn { columns, .. } if columns == "text, id"));
        assert!(matches!(error("id"), SourceError::WrongColumn { .. }));
        std::fs::write(&path, b"PAR1 this is not one PAR1").unwrap();
        assert!(matches!(error("text"), SourceError::NotParquet { .. }));
    }
}
