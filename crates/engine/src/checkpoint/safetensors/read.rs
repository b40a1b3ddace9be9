//! Reading safetensors files: all tensors of one in memory, or a model's parameters segment by segment.

use super::header::{Entry, Header, read_header};
use super::naming::Naming;
use crate::checkpoint::{CheckpointError, Precision, StreamError, ValueSink, strange_tensor};
use crate::{ParamLayout, SEGMENT};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use templar_base::ModelConfig;

/// A tensor as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor<'a> {
    /// The type's name in the header, such as `BF16`.
    pub dtype: String,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// Its values, little-endian.
    pub bytes: &'a [u8],
}

impl StoredTensor<'_> {
    /// Number of values; none if the shape has more than can be counted.
    pub fn values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))
    }

    /// The values as f32, of a tensor of F32, BF16 or F16 whose bytes hold its shape.
    pub fn to_f32(&self) -> Result<Vec<f32>, String> {
        let entry = self.entry();
        let precision = entry.precision()?;
        entry.check_size(precision.bytes())?;
        let mut values = vec![0.0; self.bytes.len() / precision.bytes()];
        precision.decode(self.bytes, &mut values);
        Ok(values)
    }

    /// The values as token ids, of a tensor of I64 or I32 whose bytes hold its shape.
    pub fn to_tokens(&self) -> Result<Vec<u32>, String> {
        let token = |value: i64| u32::try_from(value).map_err(|_| format!("{value} is not a token"));
        match self.dtype.as_str() {
            "I64" => {
                self.entry().check_size(8)?;
                self.bytes.as_chunks::<8>().0.iter().map(|&bytes| token(i64::from_le_bytes(bytes))).collect()
            }
            "I32" => {
                self.entry().check_size(4)?;
                self.bytes.as_chunks::<4>().0.iter().map(|&bytes| token(i32::from_le_bytes(bytes).into())).collect()
            }
            other => Err(format!("type {other} is not one of I64, I32")),
        }
    }

    fn entry(&self) -> Entry {
        Entry { dtype: self.dtype.clone(), shape: self.shape.clone(), data_offsets: [0, self.bytes.len()] }
    }
}

/// The tensors of one safetensors file by name. `file` numbers it in errors.
pub fn stored_tensors(bytes: &[u8], file: usize) -> Result<BTreeMap<String, StoredTensor<'_>>, CheckpointError> {
    let Header { tensors, data_start } = read_header(&mut &bytes[..], bytes.len() as u64, file)?;
    let data = &bytes[data_start as usize..];
    let stored = |(name, Entry { dtype, shape, data_offsets: [start, end] })| {
        // The header's check put both offsets inside the file.
        (name, StoredTensor { dtype, shape, bytes: &data[start..end] })
    };
    Ok(tensors.into_iter().map(stored).collect())
}

/// Fails at the first tensor, given by name and type, whose values cannot be read. Values of one byte make files too small
/// for a model's parameters, and the type is the cause then.
pub fn check_types<'t>(tensors: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<(), CheckpointError> {
    for (name, dtype) in tensors {
        if Precision::from_safetensors_name(dtype).is_none() {
            let reason = match dtype {
                "F64" | "I64" | "I32" => format!("type {dtype} is not one of F32, BF16, F16"),
                _ => format!("type {dtype}, of quantised weights, is not supported: convert to F32, BF16 or F16"),
            };
            return Err(CheckpointError::Tensor { name: name.to_owned(), reason });
        }
    }
    Ok(())
}

/// A file, a mapped file or bytes in memory.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// Reads a model's parameters from the safetensors files of a folder, with memory for one segment of values.
///
/// Rejects missing, doubled and unknown tensors, other shapes and types. What a model does not store but older tools
/// wrote (rotary frequencies, the head of a tied model where it is the embedding) is ignored; so is one prefix that all
/// names have, such as `_orig_mod.`, and `model.` where all names lack it.
///
/// ```
/// use std::io::Cursor;
/// use templar_engine::checkpoint::{ParameterStream, Precision, write_safetensors};
/// use templar_engine::{Buffer, CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};
///
/// let config = preset("nano", 64)?;
/// let file = write_safetensors(&config, &initial_parameters(&config, [1; 32]), Precision::Bf16)?;
/// let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone()))?;
/// let mut stream = ParameterStream::new(&config, file.len() as u64)?;
/// stream.read(&mut Cursor::new(&file), &mut |start, values| Ok(engine.write(Buffer::Parameters, start, values)?))?;
/// stream.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParameterStream {
    layout: ParamLayout,
    is_tied: bool,
    found: BTreeSet<usize>,
    files: usize,
    naming: Option<Naming>,
    /// Hashes of the embedding's values and of those of a head that is tied to it.
    embedding: Option<blake3::Hash>,
    head: Option<blake3::Hash>,
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

impl ParameterStream {
    /// Nothing read yet of a model of these sizes; the files to come have `files_bytes` bytes in all. Fails if that is
    /// too little: a config.json must not make a reader allocate more than the files warrant.
    pub fn new(config: &ModelConfig, files_bytes: u64) -> Result<Self, CheckpointError> {
        let parameters = config.parameter_count() as u64;
        if parameters > files_bytes / 2 {
            return Err(CheckpointError::TooSmall { parameters, bytes: files_bytes });
        }
        let layout = ParamLayout::new(config);
        let is_tied = config.tie_word_embeddings;
        let (found, naming, embedding, head) = (BTreeSet::new(), None, None, None);
        Ok(Self { layout, is_tied, found, files: 0, naming, embedding, head })
    }

    /// Reads the tensors of the next file, in the order of their data. `sink(start, values)` gets ranges of the
    /// parameters in canonical order: such as [`crate::Engine::write`]. After an error it may have got some of them.
    pub fn read(&mut self, from: &mut dyn Source, sink: &mut ValueSink<'_>) -> Result<(), StreamError> {
        let length = from.seek(SeekFrom::End(0))?;
        from.rewind()?;
        for (start, place) in self.places(from, length)? {
            from.seek(SeekFrom::Start(start))?;
            let purpose = place.purpose;
            let mut hasher = blake3::Hasher::new();
            read_values(from, place, &mut |start, values| {
                if purpose != Purpose::Parameter {
                    values.iter().for_each(|value| _ = hasher.update(&value.to_le_bytes()));
                }
                if purpose == Purpose::TiedHead { Ok(()) } else { sink(start, values) }
            })?;
            match purpose {
                Purpose::Parameter => {}
                Purpose::TiedEmbedding => self.embedding = Some(hasher.finalize()),
                Purpose::TiedHead => self.head = Some(hasher.finalize()),
            }
        }
        Ok(())
    }

    /// As [`Self::read`], without the values: whether every tensor of the next file is one of the model's.
    pub fn check(&mut self, from: &mut dyn Source) -> Result<(), CheckpointError> {
        let unreadable = |error: std::io::Error| CheckpointError::Frame { file: self.files, reason: error.to_string() };
        let length = from.seek(SeekFrom::End(0)).map_err(unreadable)?;
        from.rewind().map_err(unreadable)?;
        self.places(from, length).map(|_| ())
    }

    /// What is read of a file of this length, and where in it each begins, in the order of the file.
    fn places(&mut self, from: &mut dyn Source, length: u64) -> Result<Vec<(u64, Place)>, CheckpointError> {
        let header = read_header(&mut *from, length, self.files)?;
        self.files += 1;
        if self.naming.is_none() {
            self.naming = Naming::of(header.tensors.keys().map(String::as_str));
        }
        let mut wanted = Vec::new();
        for (name, entry) in &header.tensors {
            let start = header.data_start + entry.data_offsets[0] as u64;
            wanted.extend(self.place(name, entry)?.map(|place| (start, place)));
        }
        wanted.sort_by_key(|(start, _)| *start);
        Ok(wanted)
    }

    /// Where a tensor of a file goes among the parameters, if it is one of the model's.
    fn place(&mut self, name: &str, entry: &Entry) -> Result<Option<Place>, CheckpointError> {
        let bad = |reason: String| CheckpointError::Tensor { name: name.to_owned(), reason };
        let known = self.naming.clone().unwrap_or_default().name_of(name);
        let is_tied_head = known == HEAD && self.is_tied;
        let Some(tensor) = self.layout.tensor(if is_tied_head { EMBEDDING } else { &known }) else {
            if known.ends_with(".rotary_emb.inv_freq") {
                return Ok(None);
            }
            return Err(bad(strange_tensor(name).into()));
        };
        let precision = entry.precision().map_err(bad)?;
        if entry.shape != tensor.shape {
            return Err(bad(format!("shape {:?} where config.json asks for {:?}", entry.shape, tensor.shape)));
        }
        entry.check_size(precision.bytes()).map_err(bad)?;
        let range = tensor.range.clone();
        if is_tied_head {
            return Ok(Some(Place { range, precision, purpose: Purpose::TiedHead }));
        }
        if !self.found.insert(range.start) {
            return Err(bad("it occurs twice".into()));
        }
        let is_embedding = self.is_tied && known == EMBEDDING;
        let purpose = if is_embedding { Purpose::TiedEmbedding } else { Purpose::Parameter };
        Ok(Some(Place { range, precision, purpose }))
    }

    /// Checks that every parameter was read.
    pub fn finish(self) -> Result<(), CheckpointError> {
        if self.head.is_some() && self.embedding.is_some() && self.head != self.embedding {
            let reason = "it is not the embedding, though config.json ties the two: set tie_word_embeddings to false";
            return Err(CheckpointError::Tensor { name: HEAD.to_owned(), reason: reason.to_owned() });
        }
        match self.layout.tensors().iter().find(|tensor| !self.found.contains(&tensor.range.start)) {
            Some(tensor) => Err(CheckpointError::Missing(tensor.name.clone())),
            None => Ok(()),
        }
    }
}

/// Where a stored tensor goes among the parameters, how it is stored, and what it is read for.
struct Place {
    range: Range<usize>,
    precision: Precision,
    purpose: Purpose,
}

/// The head of a tied model is no parameter; it is read to see that it is the embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Parameter,
    TiedEmbedding,
    TiedHead,
}

/// Reads a tensor's values by segments.
fn read_values(
    from: &mut dyn Source,
    Place { range, precision, .. }: Place,
    sink: &mut ValueSink<'_>,
) -> Result<(), StreamError> {
    let largest = SEGMENT.min(range.len());
    let (mut bytes, mut values) = (vec![0; largest * precision.bytes()], vec![0.0; largest]);
    for start in range.clone().step_by(SEGMENT) {
        let len = SEGMENT.min(range.end - start);
        let bytes = &mut bytes[..len * precision.bytes()];
        from.read_exact(bytes)?;
        precision.decode(bytes, &mut values[..len]);
        sink(start, &values[..len]).map_err(StreamError::Values)?;
    }
    Ok(())
}

/// Collects a model's parameters from safetensors files in memory; as [`ParameterStream`], with the parameters as a whole.
pub struct ParameterReader {
    stream: ParameterStream,
    parameters: Vec<f32>,
}

impl ParameterReader {
    /// As [`ParameterStream::new`].
    pub fn new(config: &ModelConfig, files_bytes: u64) -> Result<Self, CheckpointError> {
        let stream = ParameterStream::new(config, files_bytes)?;
        let parameters = vec![0.0; stream.layout.total()];
        Ok(Self { stream, parameters })
    }

    /// Takes the tensors of the next file.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let (file, parameters) = (self.stream.files, &mut self.parameters);
        let read = self.stream.read(&mut Cursor::new(bytes), &mut |start, values| {
            parameters[start..start + values.len()].copy_from_slice(values);
            Ok(())
        });
        read.map_err(|error| match error {
            StreamError::Checkpoint(error) => error,
            // Bytes in memory end where their length says, and what takes the values does not fail.
            other => CheckpointError::Frame { file, reason: other.to_string() },
        })
    }

    /// The parameters in canonical order, if all were read.
    pub fn finish(self) -> Result<Vec<f32>, CheckpointError> {
        self.stream.finish()?;
        Ok(self.parameters)
    }
}

/// The parameters, in canonical order, from a safetensors file or from all the shards of one.
pub fn read_safetensors(config: &ModelConfig, files: &[&[u8]]) -> Result<Vec<f32>, CheckpointError> {
    let size = files.iter().map(|file| file.len() as u64).sum();
    let mut reader = ParameterReader::new(config, size)?;
    for bytes in files {
        reader.read(bytes)?;
    }
    reader.finish()
}
