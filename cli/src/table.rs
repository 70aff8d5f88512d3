//! Tables, for people.

use std::iter;

/// Lays rows out in columns below their headings, with a newline after each.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows = iter::once(headings.map(str::to_owned)).chain(rows);
    Columns::default().lay_out(rows)
}

/// The columns of a table whose rows come in parts.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Default for Columns<N> {
    fn default() -> Self {
        Self { widths: [0; N] }
    }
}

impl<const N: usize> Columns<N> {
    /// Lays out the next rows, in columns that are no narrower than those before.
    pub(crate) fn lay_out(&mut self, rows: impl IntoIterator<Item = [String; N]>) -> String {
        let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(printable)).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        rows.iter().map(|row| line(row, &self.widths)).collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let mut line = cells.collect::<Vec<_>>().join("  ").trim_end().to_owned();
    line.push('\n');
    line
}

/// Names and messages come from others: they must not end the line, or command the terminal.
pub(crate) fn printable(cell: String) -> String {
    if !cell.contains(char::is_control) {
        return cell;
    }
    cell.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["é".into(), "1".into()], ["longer".into(), String::new()]];
        assert_eq!(table(["NAME", "LEN"], rows), "NAME    LEN\né       1\nlonger\n");
    }

    #[test]
    fn columns_of_later_rows_are_no_narrower() {
        let mut columns = Columns::default();
        let row = |cells: [&str; 2]| [cells.map(str::to_owned)];
        assert_eq!(columns.lay_out(row(["longer", "1"])), "longer  1\n");
        assert_eq!(columns.lay_out(row(["a", "2"])), "a       2\n");
        assert_eq!(columns.lay_out(row(["even longer", "3"])), "even longer  3\n");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let rows = vec![["\x1b[2J\n".into()]];
        assert_eq!(table(["NAME"], rows), "NAME\n\\u{1b}[2J\\n\n");
    }
}
