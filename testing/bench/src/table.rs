//! Tables that are markdown, and legible as they are.

/// A table with its first row as the head; the first column is text, others numbers.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        widths.max().unwrap_or_default().max(3)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            let cell =
                if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") };
            text.extend(["| ", &cell, " "]);
        }
        text += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column == 0 { "-" } else { ":" };
                text.extend(["|", &"-".repeat(width + 1), end]);
            }
            text += "|\n";
        }
    }
    text
}

/// A row of a table.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::{row, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(&[row(["peer", "µs"]), row(["a", "1234.5"])]);
        assert_eq!(text, "| peer |     µs |\n|------|-------:|\n| a    | 1234.5 |\n");
    }
}
