//! Aligned tables that fit the terminal. Pure.

use console::measure_text_width;

use crate::ui::text::{harmless, shorten};

/// Flexible columns are not shortened below this while anything else helps.
const FLOOR: usize = 12;
/// Blanks between columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    flexible: bool,
    optional: bool,
    right: bool,
}

impl Column {
    /// A column that is shown whole.
    pub const fn new(heading: &'static str) -> Self {
        Self { heading, flexible: false, optional: false, right: false }
    }

    /// It is shortened where the terminal is narrow.
    pub const fn flexible(self) -> Self {
        Self { flexible: true, ..self }
    }

    /// It is left out where the terminal is still too narrow.
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Its values are numbers.
    pub const fn right(self) -> Self {
        Self { right: true, ..self }
    }
}

/// The width of each column, nothing where it is left out.
fn widths(columns: &[Column], natural: &[usize], width: usize) -> Vec<Option<usize>> {
    let floor = |at: usize| if columns[at].flexible { natural[at].min(FLOOR) } else { natural[at] };
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    while kept.iter().map(|at| floor(*at) + GAP).sum::<usize>() > width + GAP {
        let Some(last) = kept.iter().rposition(|at| columns[*at].optional) else { break };
        kept.remove(last);
    }
    let mut widths: Vec<Option<usize>> = vec![None; columns.len()];
    for at in &kept {
        widths[*at] = Some(natural[*at].min(width));
    }
    // First the widest flexible one, in the end whichever is widest.
    for smallest in [FLOOR, 1] {
        let may = |at: usize| smallest == 1 || columns[at].flexible;
        while widths.iter().flatten().map(|w| w + GAP).sum::<usize>() > width + GAP {
            let shrinkable = widths.iter_mut().enumerate().filter(|(at, _)| may(*at));
            let widest = shrinkable.filter_map(|(_, w)| w.as_mut()).max();
            match widest {
                Some(widest) if *widest > smallest => *widest -= 1,
                _ => break,
            }
        }
    }
    widths
}

/// A header line, then the rows, none wider than `width`. Rows have a cell for each column, which may be
/// foreign text.
pub fn render_table(columns: &[Column], rows: &[Vec<String>], width: usize) -> String {
    let headings = columns.iter().map(|c| c.heading.to_owned()).collect();
    let clean = rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(clean).collect();
    let natural: Vec<usize> = (0..columns.len())
        .map(|at| lines.iter().filter_map(|l| l.get(at)).map(|c| measure_text_width(c)).max().unwrap_or(0))
        .collect();
    let widths = widths(columns, &natural, width);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(columns).zip(&widths).filter_map(|((cell, column), width)| {
            let width = (*width)?;
            let cell = shorten(cell, width);
            let gap = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
            Some(if column.right { gap + &cell } else { cell + &gap })
        });
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        text.push_str(&shorten(line.trim_end(), width));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [Column; 4] = [
        Column::new("NAME").flexible(),
        Column::new("SIZE").right(),
        Column::new("REGION"),
        Column::new("WHAT ELSE").flexible().optional(),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row(["data of the whole team", "1.5 TiB", "us-east-3", "the one with everything on it"]),
            row(["東京", "3 B", "moon\n1", ""]),
        ]
    }

    #[test]
    fn the_widest_flexible_column_gives_first() {
        insta::assert_snapshot!(render_table(&COLUMNS, &rows(), 80));
        insta::assert_snapshot!(render_table(&COLUMNS, &rows(), 60));
    }

    #[test]
    fn then_columns_go_and_then_all_give() {
        insta::assert_snapshot!(render_table(&COLUMNS, &rows(), 40));
        insta::assert_snapshot!(render_table(&COLUMNS, &rows(), 20));
    }

    proptest! {
        #[test]
        fn no_line_is_wider(
            cells in proptest::collection::vec(proptest::collection::vec(any::<char>(), 0..40), 8),
            width in 0_usize..130,
        ) {
            let cells: Vec<String> = cells.into_iter().map(String::from_iter).collect();
            let rows: Vec<Vec<String>> = cells.chunks(4).map(<[String]>::to_vec).collect();
            let text = render_table(&COLUMNS, &rows, width);
            prop_assert_eq!(text.lines().count(), 3);
            for line in text.lines() {
                prop_assert!(measure_text_width(line) <= width, "{:?}", line);
            }
        }
    }
}
