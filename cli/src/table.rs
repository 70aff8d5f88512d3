//! Tables, for people.

use std::iter;

/// Lays rows out in columns below their headings, with a newline after each.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<[String; N]> =
        iter::once(headings.map(str::to_owned)).chain(rows).map(|row| row.map(printable)).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter().map(|row| line(row, &widths)).collect()
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
    fn a_name_cannot_command_the_terminal() {
        let rows = vec![["\x1b[2J\n".into()]];
        assert_eq!(table(["NAME"], rows), "NAME\n\\u{1b}[2J\\n\n");
    }
}
