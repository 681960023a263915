//! Columns of text.

/// The header and the rows, each column as wide as its widest cell and two spaces from the next.
/// An empty cell is `-`. Cells come from the network: a control character in one, which a
/// terminal could take for an order, is replaced.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let lines: Vec<[String; N]> = std::iter::once(&header)
        .chain(rows)
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths);
        let padded: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn printable(cell: &str) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    let replace = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    cell.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = [["gpu-1", "", "up"], ["b", "Zoë", "\u{1b}[31mdown\n"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["NAME", "SUBJECT", "HEALTH"], &rows),
            "\
NAME   SUBJECT  HEALTH
gpu-1  -        up
b      Zoë      \u{fffd}[31mdown\u{fffd}
"
        );
        assert_eq!(table(["NAME"], &[]), "NAME\n");
    }
}
