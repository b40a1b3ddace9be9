//! Sparse matrices of fixed-point numbers, as rows of (uid, value).

use crate::arithmetic::fixed::I32F32;

/// One row: an entry for each uid that it says something about.
pub(super) type Row = Vec<(u16, I32F32)>;

/// Scales a row to a sum of one, unless it is empty or all zeros.
pub(super) fn normalise_row(row: &mut [(u16, I32F32)]) {
    let total: I32F32 = row.iter().map(|(_, value)| *value).sum();
    if total > I32F32::ZERO {
        for (_, value) in row {
            *value = value.safe_div(total);
        }
    }
}

/// Scales each column to a sum of one, unless it is all zeros.
pub(super) fn normalise_columns(matrix: &mut [Row]) {
    let mut sums = vec![I32F32::ZERO; matrix.len()];
    for (column, value) in matrix.iter().flatten() {
        let sum = &mut sums[usize::from(*column)];
        *sum = sum.saturating_add(*value);
    }
    divide_columns(matrix, &sums);
}

/// Scales each column so that its largest entry is one, unless it is all zeros.
pub(super) fn upscale_columns(matrix: &mut [Row]) {
    let mut largest = vec![I32F32::ZERO; matrix.len()];
    for (column, value) in matrix.iter().flatten() {
        let largest = &mut largest[usize::from(*column)];
        *largest = (*largest).max(*value);
    }
    divide_columns(matrix, &largest);
}

fn divide_columns(matrix: &mut [Row], divisors: &[I32F32]) {
    for (column, value) in matrix.iter_mut().flatten() {
        let divisor = divisors[usize::from(*column)];
        if divisor != I32F32::ZERO {
            *value = value.safe_div(divisor);
        }
    }
}

/// Holds each entry to its column's limit; an entry over a limit of zero goes.
pub(super) fn clip_columns(matrix: &[Row], limits: &[I32F32]) -> Vec<Row> {
    let clip = |(column, value): &(u16, I32F32)| {
        let limit = limits[usize::from(*column)];
        if limit >= *value { Some((*column, *value)) } else { (limit > I32F32::ZERO).then_some((*column, limit)) }
    };
    matrix.iter().map(|row| row.iter().filter_map(clip).collect()).collect()
}

/// `Σ_i factor_i · m_ij` for each column j.
pub(super) fn weighted_column_sums(matrix: &[Row], factors: &[I32F32]) -> Vec<I32F32> {
    let mut sums = vec![I32F32::ZERO; matrix.len()];
    for (row, factor) in matrix.iter().zip(factors) {
        for (column, value) in row {
            let sum = &mut sums[usize::from(*column)];
            *sum = sum.saturating_add(factor.saturating_mul(*value));
        }
    }
    sums
}

/// `factor_i · m_ij` for each entry.
pub(super) fn scale_rows(matrix: &[Row], factors: &[I32F32]) -> Vec<Row> {
    let scale = |(row, factor): (&Row, &I32F32)| -> Row {
        row.iter().map(|(column, value)| (*column, value.saturating_mul(*factor))).collect()
    };
    matrix.iter().zip(factors).map(scale).collect()
}

/// `Σ_j m_ij · factor_j` for each row i.
pub(super) fn weighted_row_sums(matrix: &[Row], factors: &[I32F32]) -> Vec<I32F32> {
    let weighted =
        |row: &Row| row.iter().map(|(column, value)| value.saturating_mul(factors[usize::from(*column)])).sum();
    matrix.iter().map(weighted).collect()
}

/// A row with an entry for each of `width` columns; of repeated columns the last counts.
pub(super) fn dense(row: &[(u16, I32F32)], width: usize) -> Vec<I32F32> {
    let mut values = vec![I32F32::ZERO; width];
    for (column, value) in row {
        values[usize::from(*column)] = *value;
    }
    values
}

/// A row as the chain reads it in step with another: entries that are not in ascending order are passed over.
pub(super) fn dense_ascending(row: &[(u16, I32F32)], width: usize) -> Vec<I32F32> {
    let mut values = vec![I32F32::ZERO; width];
    let mut entries = row.iter().peekable();
    for (column, cell) in values.iter_mut().enumerate() {
        while entries.next_if(|entry| usize::from(entry.0) < column).is_some() {}
        if let Some((_, value)) = entries.peek().filter(|entry| usize::from(entry.0) == column) {
            *cell = *value;
        }
    }
    values
}

/// The entries over zero.
pub(super) fn positive_entries(values: &[I32F32]) -> Row {
    let entries = values.iter().enumerate().filter(|(_, value)| **value > I32F32::ZERO);
    entries.map(|(column, value)| (column as u16, *value)).collect()
}
