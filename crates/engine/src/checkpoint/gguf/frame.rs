//! The frame of a GGUF file: a magic word and version, counts, key-value pairs, descriptions of tensors, their data.
//!
//! All little-endian. A text is its length (u64) and its UTF-8 bytes. A tensor's dimensions come innermost first, its
//! offset counts from the start of the data, which is aligned to `general.alignment` (32 where nothing is said).

use super::block::{BlockType, READ_TYPES};
use std::collections::BTreeMap;

/// A GGUF file that cannot be used; the file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// It does not begin as GGUF files do.
    #[error("these bytes are not a GGUF file")]
    Magic,
    /// Of another version.
    #[error("GGUF version {0} is not supported, only 2 and 3 are; convert the file anew")]
    Version(u32),
    /// Written for a machine of the other byte order.
    #[error("the GGUF file is big-endian: convert the model again, for a little-endian machine")]
    BigEndian,
    /// The bytes end too early.
    #[error("the GGUF file is cut off in {0}")]
    CutOff(String),
    /// The name of a key or of a tensor is no text.
    #[error("the GGUF file is damaged: the name of {0} is not UTF-8")]
    Name(&'static str),
    /// A key-value pair is missing or makes no sense.
    #[error("GGUF key `{key}`: {reason}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing or makes no sense.
    #[error("GGUF tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// The value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number without sign.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(&'a str),
    /// Bytes in the place of a text that are not UTF-8. They matter only where they are needed.
    NotText,
    /// Values of one type.
    Array(Array<'a>),
}

impl Value<'_> {
    /// As a whole number without sign, whatever its type is.
    pub fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// As a number, whatever its type is.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Value::Float(value) => Some(value),
            Value::Unsigned(value) => Some(value as f64),
            Value::Signed(value) => Some(value as f64),
            _ => None,
        }
    }
}

/// Values of one type, still as the file has them; an array within one has been walked over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    kind: u32,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values one by one.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Self { kind, count, bytes } = *self;
        let mut reader = Reader { bytes };
        // The frame's parser has walked over these bytes once: each value is there.
        (0..count).map_while(move |_| reader.value(kind).ok().flatten())
    }
}

/// A tensor as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor<'a> {
    /// Outermost first, as elsewhere.
    pub shape: Vec<usize>,
    /// How the values are packed.
    kind: BlockType,
    bytes: &'a [u8],
}

impl GgufTensor<'_> {
    /// The name of the packing, such as `Q4_1`.
    pub fn type_name(&self) -> String {
        self.kind.name()
    }

    /// Why its values cannot be read, if they cannot.
    pub(super) fn unread(&self) -> Option<String> {
        let reason = format!("its type {} is not supported; {READ_TYPES} are", self.kind.name());
        (!self.kind.is_read()).then_some(reason)
    }

    /// Bytes in the file.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The values as f32; none of a type that is not supported.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        self.kind.decode(self.bytes)
    }
}

/// A file: its key-value pairs and its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf<'a> {
    /// By key.
    pub values: BTreeMap<&'a str, Value<'a>>,
    /// By name.
    pub tensors: BTreeMap<&'a str, GgufTensor<'a>>,
}

/// Arrays within arrays are read to this depth.
const DEEPEST_ARRAY: u32 = 8;

/// A tensor has at most so many dimensions.
const MOST_DIMENSIONS: u32 = 4;

/// Alignment of the data where the file does not say.
const USUAL_ALIGNMENT: u64 = 32;

impl<'a> Gguf<'a> {
    /// Whether the bytes begin as a GGUF file does.
    pub fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(b"GGUF")
    }

    /// The file of these bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GgufError> {
        let mut reader = Reader { bytes: bytes.strip_prefix(b"GGUF".as_slice()).ok_or(GgufError::Magic)? };
        let cut = |place: &str| GgufError::CutOff(place.to_owned());
        let version = reader.u32().ok_or(GgufError::Magic)?;
        if (1..=3).contains(&version.swap_bytes()) {
            return Err(GgufError::BigEndian);
        }
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = reader.u64().ok_or(cut("its head"))?;
        let pair_count = reader.u64().ok_or(cut("its head"))?;
        let mut values = BTreeMap::new();
        for _ in 0..pair_count {
            let key = reader.name("a key").ok_or(cut("the names of its keys"))??;
            let bad = |reason: String| GgufError::Key { key: key.to_owned(), reason };
            let kind = reader.u32().ok_or(cut("its keys"))?;
            let value = reader.value(kind).map_err(bad)?.ok_or(cut(&format!("the value of `{key}`")))?;
            if values.insert(key, value).is_some() {
                return Err(bad("it occurs twice".into()));
            }
        }
        let mut described = Vec::new();
        for _ in 0..tensor_count {
            described.push(Description::read(&mut reader)?);
        }
        let alignment = values.get("general.alignment").map_or(Some(USUAL_ALIGNMENT), Value::as_unsigned);
        let is_possible = |alignment: &u64| alignment.is_power_of_two() && *alignment <= 1 << 16;
        let alignment = alignment.filter(is_possible).ok_or(GgufError::Key {
            key: "general.alignment".into(),
            reason: "it is not a power of two up to 65536".into(),
        })?;
        let data_start = ((bytes.len() - reader.bytes.len()) as u64).next_multiple_of(alignment);
        let data = usize::try_from(data_start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        let mut tensors = BTreeMap::new();
        let mut places = Vec::new();
        for Description { name, shape, kind, offset } in described {
            let bad = |reason: &str| GgufError::Tensor { name: name.to_owned(), reason: reason.to_owned() };
            let size = kind.size_of(&shape).ok_or(bad("its rows are no whole blocks, or too large"))?;
            if !offset.is_multiple_of(alignment) {
                return Err(bad("its data are not where the file's alignment puts them: the file is damaged"));
            }
            let start = usize::try_from(offset).ok();
            let range = start.and_then(|start| Some(start..start.checked_add(size)?));
            let bytes =
                range.and_then(|range| data.get(range)).ok_or(bad("its data lie outside the file; is it cut off?"))?;
            places.push((offset, size as u64, name));
            if tensors.insert(name, GgufTensor { shape, kind, bytes }).is_some() {
                return Err(bad("it occurs twice"));
            }
        }
        check_apart(places)?;
        Ok(Self { values, tensors })
    }

    /// The number of this part and of all parts, where the file is one part of a model (`split.no`, `split.count`).
    pub fn part(&self) -> Option<(u64, u64)> {
        let number = |key| self.values.get(key).and_then(Value::as_unsigned);
        let count = number("split.count").filter(|count| *count > 1)?;
        Some((number("split.no").unwrap_or(0), count))
    }

    /// One file from all parts of a model, in their order: the keys are those of the first, the tensors those of all.
    pub fn join(parts: Vec<Self>) -> Result<Self, GgufError> {
        let bad = |key: &str, reason: String| GgufError::Key { key: key.to_owned(), reason };
        let count = parts.len() as u64;
        let mut whole: Option<Self> = None;
        for (number, part) in (0..).zip(parts) {
            if part.part() != Some((number, count)) {
                return Err(bad("split.no", format!("this is not part {} of {count}", number + 1)));
            }
            let Some(whole) = &mut whole else {
                whole = Some(part);
                continue;
            };
            for (name, tensor) in part.tensors {
                if whole.tensors.insert(name, tensor).is_some() {
                    return Err(GgufError::Tensor { name: name.to_owned(), reason: "it is in two parts".into() });
                }
            }
        }
        let mut whole = whole.ok_or_else(|| bad("split.count", "there are no parts".into()))?;
        let found = whole.tensors.len() as u64;
        if let Some(wanted) = whole.values.get("split.tensors.count").and_then(Value::as_unsigned)
            && wanted != found
        {
            return Err(bad("split.tensors.count", format!("the parts have {found} tensors, not {wanted}")));
        }
        // It is whole now.
        whole.values.remove("split.count");
        Ok(whole)
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The array of a key.
    pub fn array(&self, key: &str) -> Option<Array<'a>> {
        match self.values.get(key) {
            Some(Value::Array(array)) => Some(*array),
            _ => None,
        }
    }
}

/// Rejects tensors that share bytes. It bounds what the tensors unpack to, too: many could name the same bytes.
fn check_apart(mut places: Vec<(u64, u64, &str)>) -> Result<(), GgufError> {
    places.retain(|(_, size, _)| *size > 0);
    places.sort_unstable();
    let overlapping = places.array_windows().find(|[(start, size, _), (next, ..)]| start + size > *next);
    match overlapping {
        Some([_, (_, _, name)]) => {
            let reason = "its data overlap those of another tensor: the file is damaged".to_owned();
            Err(GgufError::Tensor { name: (*name).to_owned(), reason })
        }
        None => Ok(()),
    }
}

struct Description<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: BlockType,
    offset: u64,
}

impl<'a> Description<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, GgufError> {
        let cut = || GgufError::CutOff("its descriptions of tensors".to_owned());
        let name = reader.name("a tensor").ok_or_else(cut)??;
        let bad = |reason: String| GgufError::Tensor { name: name.to_owned(), reason };
        let dimensions = reader.u32().ok_or_else(cut)?;
        if dimensions > MOST_DIMENSIONS {
            return Err(bad(format!("{dimensions} dimensions are more than {MOST_DIMENSIONS}")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let length = reader.u64().ok_or_else(cut)?;
            shape.push(usize::try_from(length).map_err(|_| bad(format!("a dimension of {length}")))?);
        }
        shape.reverse();
        let kind = BlockType::from_code(reader.u32().ok_or_else(cut)?);
        let offset = reader.u64().ok_or_else(cut)?;
        Ok(Self { name, shape, kind, offset })
    }
}

/// Takes values from the front of some bytes; none where they end too early.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Value<'a>> {
        let length = usize::try_from(self.u64()?).ok()?;
        Some(std::str::from_utf8(self.take(length)?).map_or(Value::NotText, Value::Text))
    }

    /// The name of `what`.
    fn name(&mut self, what: &'static str) -> Option<Result<&'a str, GgufError>> {
        Some(match self.text()? {
            Value::Text(name) => Ok(name),
            _ => Err(GgufError::Name(what)),
        })
    }

    /// A value of this type; an error for an unknown type.
    fn value(&mut self, kind: u32) -> Result<Option<Value<'a>>, String> {
        self.value_at(kind, 0)
    }

    fn value_at(&mut self, kind: u32, depth: u32) -> Result<Option<Value<'a>>, String> {
        Ok(match kind {
            0 => self.array().map(|[byte]: [u8; 1]| Value::Unsigned(byte.into())),
            1 => self.array().map(|[byte]: [u8; 1]| Value::Signed((byte as i8).into())),
            2 => self.array().map(|bytes| Value::Unsigned(u16::from_le_bytes(bytes).into())),
            3 => self.array().map(|bytes| Value::Signed(i16::from_le_bytes(bytes).into())),
            4 => self.u32().map(|value| Value::Unsigned(value.into())),
            5 => self.array().map(|bytes| Value::Signed(i32::from_le_bytes(bytes).into())),
            6 => self.array().map(|bytes| Value::Float(f32::from_le_bytes(bytes).into())),
            7 => self.array().map(|[byte]: [u8; 1]| Value::Flag(byte != 0)),
            8 => self.text(),
            9 => return self.values(depth + 1),
            10 => self.u64().map(Value::Unsigned),
            11 => self.array().map(|bytes| Value::Signed(i64::from_le_bytes(bytes))),
            12 => self.array().map(|bytes| Value::Float(f64::from_le_bytes(bytes))),
            other => return Err(format!("type {other} is unknown")),
        })
    }

    fn values(&mut self, depth: u32) -> Result<Option<Value<'a>>, String> {
        let (Some(kind), Some(count)) = (self.u32(), self.u64()) else { return Ok(None) };
        if depth > DEEPEST_ARRAY {
            return Err(format!("arrays are within each other more than {DEEPEST_ARRAY} times"));
        }
        let start = self.bytes;
        for _ in 0..count {
            if self.value_at(kind, depth)?.is_none() {
                return Ok(None);
            }
        }
        let bytes = &start[..start.len() - self.bytes.len()];
        // Each value took at least a byte, so that the count fits.
        Ok(Some(Value::Array(Array { kind, count: count as usize, bytes })))
    }
}
