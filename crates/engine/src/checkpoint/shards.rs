//! A model's parameters over several files, and the index that says what is where.

use super::safetensors::{tensors_in_memory, write_tensors};
use super::{CheckpointError, Precision, StreamError, ValueSource};
use crate::ParamLayout;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::ops::Range;

/// The index of a sharded model.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// How a model's parameters are split into files: as many whole tensors to a file as its size allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    layout: ParamLayout,
    precision: Precision,
    /// Which tensors of the layout each file holds.
    files: Vec<Range<usize>>,
}

impl Shards {
    /// Files with at most `largest_bytes` of data each; a tensor that is larger has a file of its own.
    pub fn new(layout: &ParamLayout, precision: Precision, largest_bytes: u64) -> Self {
        let mut files: Vec<Range<usize>> = Vec::new();
        let mut room = 0;
        for (index, tensor) in layout.tensors().iter().enumerate() {
            let size = tensor.range.len() as u64 * precision.bytes() as u64;
            match files.last_mut() {
                Some(file) if size <= room => {
                    file.end = index + 1;
                    room -= size;
                }
                _ => {
                    files.push(index..index + 1);
                    room = largest_bytes.saturating_sub(size);
                }
            }
        }
        Self { layout: layout.clone(), precision, files }
    }

    /// Number of files.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// The name of a file: `model.safetensors` if it is the only one, else such as `model-00001-of-00003.safetensors`.
    pub fn file_name(&self, file: usize) -> String {
        match self.files.len() {
            1 => "model.safetensors".to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", file + 1),
        }
    }

    /// The bytes of a file; `parameters` are those of the whole layout, in canonical order.
    pub fn file(&self, file: usize, parameters: &[f32]) -> Vec<u8> {
        tensors_in_memory(&self.layout.tensors()[self.files[file].clone()], parameters, self.precision)
    }

    /// Writes a file with memory for one segment of values; `source` as in [`super::write_streamed`].
    pub fn write_file(
        &self,
        file: usize,
        out: &mut dyn Write,
        source: &mut ValueSource<'_>,
    ) -> Result<(), StreamError> {
        write_tensors(&self.layout.tensors()[self.files[file].clone()], self.precision, out, source)
    }

    /// The text of [`INDEX_FILE`]; none where one file holds all.
    pub fn index(&self) -> Option<String> {
        if self.files.len() == 1 {
            return None;
        }
        let mut places = Map::new();
        for (file, tensors) in self.files.iter().enumerate() {
            for tensor in &self.layout.tensors()[tensors.clone()] {
                places.insert(tensor.name.clone(), json!(self.file_name(file)));
            }
        }
        let size = self.layout.total() as u64 * self.precision.bytes() as u64;
        let index = json!({"metadata": {"total_size": size}, "weight_map": places});
        Some(format!("{index:#}\n"))
    }
}

/// The names of the files that an [`INDEX_FILE`] lists, sorted. Names that lead out of the folder are refused.
pub fn files_of_index(text: &str) -> Result<Vec<String>, CheckpointError> {
    let bad = |reason: String| CheckpointError::Field { field: "weight_map".into(), reason };
    let index: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    let places = index.get("weight_map").and_then(Value::as_object);
    let places = places.ok_or_else(|| bad("the index has none".into()))?;
    let mut files = Vec::new();
    for (tensor, file) in places {
        let name = file.as_str().ok_or_else(|| bad(format!("the file of `{tensor}` is not a text")))?;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(bad(format!("`{name}` is not the name of a file in the folder")));
        }
        files.push(name.to_owned());
    }
    files.sort();
    files.dedup();
    if files.is_empty() { Err(bad("it lists no files".into())) } else { Ok(files) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_safetensors;
    use crate::{initial_parameters, preset};

    #[test]
    fn shards_read_back_in_any_order_and_keep_to_their_size() {
        let config = preset("nano", 300).unwrap();
        let layout = ParamLayout::new(&config);
        let parameters = initial_parameters(&config, [2; 32]);
        for largest in [0, 100_000, 400_000, u64::MAX] {
            let shards = Shards::new(&layout, Precision::F32, largest);
            let files: Vec<Vec<u8>> = (0..shards.count()).rev().map(|file| shards.file(file, &parameters)).collect();
            for (file, bytes) in (0..shards.count()).rev().zip(&files) {
                let mut streamed = Vec::new();
                let source = &mut |start: usize, values: &mut [f32]| {
                    values.copy_from_slice(&parameters[start..start + values.len()]);
                    Ok(())
                };
                shards.write_file(file, &mut streamed, source).unwrap();
                assert!(streamed == *bytes);
            }
            let views: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
            assert_eq!(read_safetensors(&config, &views).unwrap(), parameters);
            match shards.index() {
                None => assert_eq!((shards.count(), shards.file_name(0)), (1, "model.safetensors".to_owned())),
                Some(index) => {
                    let names: Vec<String> = (0..shards.count()).map(|file| shards.file_name(file)).collect();
                    assert_eq!(files_of_index(&index).unwrap(), names);
                }
            }
        }
        assert_eq!(Shards::new(&layout, Precision::F32, 0).count(), layout.tensors().len());
        let some = Shards::new(&layout, Precision::Bf16, 200_000);
        let sizes: Vec<usize> = (0..some.count()).map(|file| some.file(file, &parameters).len()).collect();
        assert!(sizes.len() > 2 && sizes.iter().all(|&size| size < 204_000), "{sizes:?}");
    }

    #[test]
    fn an_index_cannot_lead_out_of_its_folder() {
        for name in ["../x.safetensors", "/etc/passwd", "", ".hidden", "a\\b"] {
            let text = json!({"weight_map": {"lm_head.weight": name}}).to_string();
            assert!(files_of_index(&text).is_err(), "{name}");
        }
        for text in ["", "[]", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": 1}}"#] {
            assert!(files_of_index(text).is_err(), "{text}");
        }
    }
}
