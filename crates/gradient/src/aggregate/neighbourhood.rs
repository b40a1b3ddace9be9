//! What the entries around a position of an aggregate tell about it: how often its column and its row are sent, and
//! which sign they had. Pseudo-gradients of a matrix are strong in some rows and columns for all miners at once.

use crate::layout::{CHUNK_VALUES, GradientLayout, SEGMENT_CHUNKS};

/// Classes of an expected count.
pub(crate) const LEVELS: usize = 20;
/// Contexts of a sign: what the column had last, and how sure which sign is expected.
pub(crate) const SIGN_CONTEXTS: usize = 3 * (2 * CERTAINTIES + 1);

/// Classes of how sure a sign is expected.
const CERTAINTIES: usize = 6;
/// What a new entry adds to the votes of its row and column. Old votes fade, by an eighth in a row and a sixteenth in a
/// column, so that they stay under 64 and 128.
const VOTE: i32 = 8;

/// Counts over this are taken for this: a few heavy weights must not drown the rest.
const MOST: u32 = 15;
/// A column's expectation moves by a sixteenth towards each new count: an eighth costs half a per cent more on real
/// payloads.
const COLUMN_RATE: u32 = 4;
const COLUMN_BITS: u32 = 11;
/// The row before counts as much as this many positions of the row's own.
const PRIOR_POSITIONS: u32 = 6;
/// Fractions of a count in a row's mean.
const ROW_UNITS: u32 = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Column {
    /// Expected count over 2^11.
    expected: u16,
    /// Sign of the last entry, 0 for none.
    sign: i8,
    /// Votes for the column's sign in a matrix of rank one, within ±120.
    votes: i8,
}

/// The walk through the tensors of a segment, position after position.
#[derive(Debug, Default)]
pub(crate) struct Neighbourhood {
    columns: Vec<Column>,
    tensor: Option<u32>,
    column: usize,
    /// Sum of the counts in the row so far.
    row_sum: u32,
    /// Mean count of the row before, in units.
    row_before: u32,
    /// Class of the row's expectation, as of the last position that was looked at.
    row_level: usize,
    /// Votes for the row's sign in a matrix of rank one, within ±64.
    row_votes: i32,
}

impl Neighbourhood {
    /// Goes to the first position of a chunk.
    pub fn enter(&mut self, layout: &GradientLayout, chunk: usize) {
        let chunk = &layout.chunks()[chunk];
        if self.tensor == Some(chunk.tensor) {
            return;
        }
        let tensor = &layout.tensors()[chunk.tensor as usize];
        let offset = chunk.start - tensor.start;
        // No column comes back within a segment where rows are longer than that, so the cut costs nothing. It bounds the
        // memory, and no sum below can overflow.
        let row_len = tensor.row_len.min(SEGMENT_CHUNKS * CHUNK_VALUES);
        // Columns of the same number are those of the same layer's width, and strong in one tensor as in the other.
        let mut columns = std::mem::take(&mut self.columns);
        if columns.len() != row_len {
            columns.clear();
            columns.resize(row_len, Column::default());
        }
        *self = Self { tensor: Some(chunk.tensor), column: offset % row_len, columns, ..Self::default() };
        self.look_at_row();
    }

    fn look_at_row(&mut self) {
        let sum = self.row_sum * ROW_UNITS + self.row_before * PRIOR_POSITIONS;
        self.row_level = level(sum / (self.column as u32 + PRIOR_POSITIONS));
    }

    /// The classes of the expectations of the column and of the row at this position, each under [`LEVELS`].
    pub fn levels(&self) -> (usize, usize) {
        let column = u32::from(self.columns[self.column].expected) >> (COLUMN_BITS - ROW_UNITS.ilog2());
        (level(column), self.row_level)
    }

    /// The context of the sign at this position, under [`SIGN_CONTEXTS`]: a matrix of rank one has the product of the
    /// row's and the column's sign, which both are known from the votes of the entries before.
    pub fn sign_context(&self) -> usize {
        let column = self.columns[self.column];
        let product = i32::from(column.votes) * self.row_votes;
        let certainty = (product.unsigned_abs() / 32).checked_ilog2().map_or(0, |log| (log / 2 + 1) as usize);
        let certainty = certainty.min(CERTAINTIES);
        let expected = if product < 0 { CERTAINTIES - certainty } else { CERTAINTIES + certainty };
        3 * expected + (column.sign + 1) as usize
    }

    /// Tells what the position holds, and goes on to the next one.
    pub fn step(&mut self, count: u16, sign: i8) {
        let seen = u32::from(count).min(MOST);
        let column = &mut self.columns[self.column];
        let expected = u32::from(column.expected);
        column.expected = (expected + (seen << (COLUMN_BITS - COLUMN_RATE)) - (expected >> COLUMN_RATE)) as u16;
        if sign != 0 {
            vote(&mut self.row_votes, column, i32::from(sign));
        }
        self.row_sum += seen;
        self.column += 1;
        if self.column == self.columns.len() {
            self.row_before = (self.row_before + self.row_sum * ROW_UNITS / self.column as u32) / 2;
            (self.column, self.row_sum, self.row_votes) = (0, 0, 0);
        }
        // The mean of a row moves slowly: every entry and each eighth position are enough.
        if count > 0 || self.column.is_multiple_of(8) {
            self.look_at_row();
        }
    }
}

/// Counts an entry of this sign: its row and its column agree with it, each as far as the other is known.
fn vote(row_votes: &mut i32, column: &mut Column, sign: i32) {
    let votes = i32::from(column.votes);
    let for_row = sign * votes.signum();
    let row_sign = match row_votes.signum() {
        0 if for_row == 0 => 1,
        0 => for_row,
        known => known,
    };
    *row_votes = *row_votes * 7 / 8 + VOTE * for_row;
    column.votes = (votes * 15 / 16 + VOTE * sign * row_sign) as i8;
    column.sign = sign as i8;
}

/// Half octaves of an expectation in units.
fn level(units: u32) -> usize {
    let value = units + 1;
    let octave = value.ilog2();
    let half = if octave > 0 { value >> (octave - 1) & 1 } else { 0 };
    ((2 * octave + half) as usize).min(LEVELS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_column_is_expected_to_be_busy() {
        let layout = GradientLayout::new([("t".to_owned(), 4096, 64)]).unwrap().with_row_lengths(&[16]).unwrap();
        let mut around = Neighbourhood::default();
        around.enter(&layout, 0);
        for position in 0..160 {
            let busy = position % 16 == 5;
            around.step(if busy { 3 } else { 0 }, if busy { -1 } else { 0 });
        }
        let quiet = around.levels();
        (0..5).for_each(|_| around.step(0, 0));
        let busy = around.levels();
        assert!(busy.0 > quiet.0 + 5, "{quiet:?} {busy:?}");
        // A column that always was minus.
        assert_eq!(around.sign_context() % 3, 0);
    }

    #[test]
    fn the_signs_of_a_matrix_of_rank_one_are_expected() {
        let layout = GradientLayout::new([("t".to_owned(), 4096, 64)]).unwrap().with_row_lengths(&[16]).unwrap();
        let sign = |position: usize| if (position / 16 % 3 == 1) == (position % 16 < 5) { -1 } else { 1 };
        let mut around = Neighbourhood::default();
        around.enter(&layout, 0);
        let (mut right, mut wrong) = (0, 0);
        for position in 0..4096 {
            let expected = (around.sign_context() / 3) as i32 - CERTAINTIES as i32;
            if position > 256 && expected != 0 {
                *(if expected.signum() == sign(position) { &mut right } else { &mut wrong }) += 1;
            }
            around.step(2, sign(position) as i8);
        }
        assert!(right > 3000 && (wrong == 0 || right / wrong > 50), "{right} {wrong}");
    }

    #[test]
    fn classes_ascend_and_end() {
        let classes: Vec<usize> = [0, 1, 2, 5, 63, 64, 960, 9999].map(level).to_vec();
        assert!(classes.is_sorted() && classes[0] == 0 && classes[7] == LEVELS - 1, "{classes:?}");
    }
}
