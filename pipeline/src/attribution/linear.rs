//! Systems of linear equations, solved exactly up to rounding: elimination, no iteration.

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    cells: Vec<f64>,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, cells: vec![0.0; rows * columns] }
    }

    /// Ones on the diagonal of a square matrix.
    pub fn identity(size: usize) -> Self {
        let mut matrix = Self::zeros(size, size);
        (0..size).for_each(|place| *matrix.cell(place, place) = 1.0);
        matrix
    }

    /// A cell.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.columns + column]
    }

    /// A cell, to be written.
    pub fn cell(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.cells[row * self.columns + column]
    }

    /// A row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.cells[row * self.columns..(row + 1) * self.columns]
    }

    /// Some rows and columns.
    pub fn part(&self, rows: &[usize], columns: &[usize]) -> Self {
        let cells = rows.iter().flat_map(|row| columns.iter().map(|column| self.at(*row, *column)));
        Self { rows: rows.len(), columns: columns.len(), cells: cells.collect() }
    }

    /// Rows as columns.
    pub fn transposed(&self) -> Self {
        let rows: Vec<usize> = (0..self.rows).collect();
        let cells = (0..self.columns).flat_map(|column| rows.iter().map(move |row| self.at(*row, column)));
        Self { rows: self.columns, columns: self.rows, cells: cells.collect() }
    }

    fn swap_rows(&mut self, a: usize, b: usize) {
        if a != b {
            (0..self.columns).for_each(|column| self.cells.swap(a * self.columns + column, b * self.columns + column));
        }
    }

    /// Subtracts `factor` times a row from another, from a column on.
    fn subtract(&mut self, factor: f64, from: usize, row: usize, first_column: usize) {
        if factor == 0.0 {
            return;
        }
        let (source, target) = (from * self.columns, row * self.columns);
        let (low, high) = self.cells.split_at_mut(source.max(target));
        let (source, target) = if source < target {
            (&low[source..source + self.columns], &mut high[..self.columns])
        } else {
            (&high[..self.columns], &mut low[target..target + self.columns])
        };
        target[first_column..].iter_mut().zip(&source[first_column..]).for_each(|(to, from)| *to -= factor * from);
    }
}

/// The `x` of `a x = b` for a square `a`, by Gaussian elimination with partial pivoting; none if `a` is singular.
pub fn solve(mut a: Matrix, mut b: Matrix) -> Option<Matrix> {
    debug_assert!(a.rows == a.columns && a.rows == b.rows);
    let size = a.rows;
    for column in 0..size {
        let pivot = (column..size).max_by(|x, y| a.at(*x, column).abs().total_cmp(&a.at(*y, column).abs()))?;
        if a.at(pivot, column) == 0.0 {
            return None;
        }
        a.swap_rows(pivot, column);
        b.swap_rows(pivot, column);
        for row in column + 1..size {
            let factor = a.at(row, column) / a.at(column, column);
            a.subtract(factor, column, row, column);
            b.subtract(factor, column, row, 0);
        }
    }
    for column in (0..size).rev() {
        let pivot = a.at(column, column);
        (0..b.columns).for_each(|place| *b.cell(column, place) /= pivot);
        for row in 0..column {
            b.subtract(a.at(row, column), column, row, 0);
        }
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[f64]]) -> Matrix {
        Matrix { rows: rows.len(), columns: rows[0].len(), cells: rows.concat() }
    }

    fn check(a: &[&[f64]], b: &[&[f64]], expected: &[&[f64]]) {
        let found = solve(matrix(a), matrix(b)).unwrap();
        let distance = found.cells.iter().zip(&matrix(expected).cells).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(distance < 1e-12, "{found:?}");
    }

    #[test]
    fn equations_are_solved() {
        check(&[&[2.0]], &[&[1.0]], &[&[0.5]]);
        check(&[&[2.0, 1.0], &[1.0, 3.0]], &[&[3.0, 1.0], &[5.0, 0.0]], &[&[0.8, 0.6], &[1.4, -0.2]]);
    }

    #[test]
    fn a_zero_on_the_diagonal_is_swapped_away() {
        check(&[&[0.0, 1.0], &[2.0, 0.0]], &[&[3.0], &[4.0]], &[&[2.0], &[3.0]]);
        check(&[&[1e-20, 1.0], &[1.0, 1.0]], &[&[1.0], &[2.0]], &[&[1.0], &[1.0]]);
    }

    #[test]
    fn what_has_no_single_solution_has_none() {
        assert_eq!(solve(matrix(&[&[1.0, 2.0], &[2.0, 4.0]]), Matrix::identity(2)), None);
    }

    #[test]
    fn parts_and_transposes() {
        let given = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
        assert_eq!(given.part(&[1], &[2, 0]), matrix(&[&[6.0, 4.0]]));
        assert_eq!(given.transposed(), matrix(&[&[1.0, 4.0], &[2.0, 5.0], &[3.0, 6.0]]));
    }
}
