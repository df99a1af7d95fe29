//! Tables that people read.

use std::fmt::Write;

/// A line of a table: two spaces between `cells`, each as wide as its column at least. What has a negative
/// width stands at the right of its column.
pub fn line<const N: usize>(widths: [isize; N], cells: [&str; N]) -> String {
    let mut line = String::new();
    for (width, cell) in widths.into_iter().zip(cells) {
        let wide = width.unsigned_abs();
        let _ = match width < 0 {
            true => write!(line, "{cell:>wide$}  "),
            false => write!(line, "{cell:<wide$}  "),
        };
    }
    line.truncate(line.trim_end().len());
    line
}

/// `rows`, each column as wide as its widest cell.
pub fn fitted<const N: usize>(rows: &[[String; N]]) -> String {
    let widths = std::array::from_fn(|column| {
        let all = rows.iter().map(|row| row[column].chars().count());
        all.max().unwrap_or(0).cast_signed()
    });
    let lines = rows
        .iter()
        .map(|row| line(widths, row.each_ref().map(String::as_str)) + "\n");
    lines.collect()
}
