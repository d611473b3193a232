//! Aligned tables that fit the terminal. Pure.

use console::measure_text_width;

use crate::ui::text::{harmless, shorten};

/// What flexible columns keep where only they can still give.
const NARROWEST: usize = 8;
/// What a flexible column takes, at most, before there is room to spare.
const AMPLE: usize = 40;
/// Blanks between columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    /// What it may be shortened to before others are left out for it.
    floor: Option<usize>,
    /// 0 for what is always there.
    rank: u8,
    spare: bool,
    right: bool,
}

impl Column {
    /// A column that is always there, and whole.
    pub const fn new(heading: &'static str) -> Self {
        Self { heading, floor: None, rank: 0, spare: false, right: false }
    }

    /// It is shortened where the terminal is narrow; less important columns are left out before it has fewer than
    /// `floor` columns of the terminal.
    pub const fn flexible(self, floor: usize) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// It is left out where there is no room for it beside those that matter more: 1 matters most.
    pub const fn optional(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// The same, but behind all of those, and only where the others have ample room.
    pub const fn spare(self, rank: u8) -> Self {
        Self { rank, spare: true, ..self }
    }

    /// Its values are numbers.
    pub const fn right(self) -> Self {
        Self { right: true, ..self }
    }
}

/// What a row has in a column. It may be foreign text; where it is empty stands a dash.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Text, shortened where it does not fit.
    Text(String),
    /// Several things. Those that do not fit are counted: `us-east-1, us-west-2 +3`.
    List(Vec<String>),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<String>> for Cell {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

impl Cell {
    fn clean(&self) -> Self {
        let dash = || Self::Text("-".to_owned());
        match self {
            Self::Text(text) => Some(harmless(text)).filter(|t| !t.is_empty()).map_or_else(dash, Self::Text),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|i| harmless(i)).filter(|i| !i.is_empty()).collect();
                if items.is_empty() { dash() } else { Self::List(items) }
            }
        }
    }

    fn whole(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(", "),
        }
    }

    /// As much of it as fits.
    fn fit(&self, width: usize) -> String {
        let whole = self.whole();
        let (Self::List(items), true) = (self, measure_text_width(&whole) > width) else {
            return shorten(&whole, width);
        };
        for shown in (1..items.len()).rev() {
            let rest = format!(" +{}", items.len() - shown);
            let some = items[..shown].join(", ");
            if measure_text_width(&some) + rest.len() <= width {
                return some + &rest;
            }
            if shown == 1 && width > rest.len() + 1 {
                return shorten(&some, width - rest.len()) + &rest;
            }
        }
        shorten(&whole, width)
    }
}

/// What columns of these widths take, with the gaps between them.
fn total(widths: impl IntoIterator<Item = usize>) -> usize {
    widths.into_iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// The width of each column, nothing where it is left out.
fn widths(columns: &[Column], natural: &[usize], width: usize) -> Vec<Option<usize>> {
    let least = |at: usize, spare: bool| match columns[at].floor {
        Some(floor) => natural[at].min(if spare { floor.max(AMPLE) } else { floor }),
        None => natural[at],
    };
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|at| (columns[*at].spare, columns[*at].rank));
    let mut kept: Vec<usize> = Vec::new();
    for at in by_rank {
        let taken = total(kept.iter().chain([&at]).map(|kept| least(*kept, columns[at].spare)));
        // A narrow one may still fit where a wider one that matters more did not.
        if columns[at].rank == 0 || taken <= width {
            kept.push(at);
        }
    }
    let mut widths: Vec<Option<usize>> = vec![None; columns.len()];
    for at in kept {
        widths[at] = Some(natural[at].min(width));
    }
    // First the widest flexible one, in the end whichever is widest.
    let floors =
        [|c: &Column| c.floor, |c: &Column| c.floor.map(|floor| floor.min(NARROWEST)), |_: &Column| Some(1)];
    for floor in floors {
        while total(widths.iter().flatten().copied()) > width {
            let shrinkable = widths.iter_mut().zip(columns).filter_map(|(width, column)| {
                let (width, floor) = (width.as_mut()?, floor(column)?);
                (*width > floor).then_some(width)
            });
            let Some(widest) = shrinkable.max() else { break };
            *widest -= 1;
        }
    }
    widths
}

/// A header line, then the rows, none wider than `width`. Rows have a cell for each column.
pub fn render_table(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> String {
    let headings = columns.iter().map(|c| Cell::from(c.heading)).collect();
    let clean = rows.iter().map(|row| row.iter().map(Cell::clean).collect());
    let lines: Vec<Vec<Cell>> = std::iter::once(headings).chain(clean).collect();
    let widest =
        |at: usize| lines.iter().filter_map(|l| l.get(at)).map(|c| measure_text_width(&c.whole())).max();
    let natural: Vec<usize> = (0..columns.len()).map(|at| widest(at).unwrap_or(0)).collect();
    let widths = widths(columns, &natural, width);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(columns).zip(&widths).filter_map(|((cell, column), width)| {
            let width = (*width)?;
            let cell = cell.fit(width);
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

    const COLUMNS: [Column; 6] = [
        Column::new("NAME").flexible(12),
        Column::new("ID").optional(3),
        Column::new("SIZE").right(),
        Column::new("FREE IN").flexible(12).optional(1),
        Column::new("OURS").spare(4),
        Column::new("WHAT ELSE").flexible(10).optional(2),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, id: &str, size: &str, regions: &[&str], ours: &str, what: &str| {
            let regions: Vec<_> = regions.iter().map(|r| (*r).to_owned()).collect();
            vec![name.into(), id.into(), size.into(), regions.into(), ours.into(), what.into()]
        };
        let three = ["us-east-3", "us-west-1", "moon-1"];
        vec![
            row(
                "data of the whole team",
                "398578a2336b49079e74043f",
                "1.5 TiB",
                &three,
                "yes",
                "the one with it all",
            ),
            row("東京", "id", "3 B", &["mars\n1"], "no", ""),
            row("", "id", "3 B", &[], "no", "x"),
        ]
    }

    fn at(widths: &[usize]) -> String {
        let table = |width: &usize| format!("--- {width}\n{}", render_table(&COLUMNS, &rows(), *width));
        widths.iter().map(table).collect()
    }

    #[test]
    fn the_widest_flexible_column_gives_first() {
        insta::assert_snapshot!(at(&[130, 105]));
    }

    #[test]
    fn then_columns_go_by_how_much_they_matter_and_then_all_give() {
        insta::assert_snapshot!(at(&[80, 50, 30, 12]));
    }

    #[test]
    fn what_does_not_fit_of_a_list_is_counted() {
        let list = Cell::from(["us-east-3", "us-west-1", "moon-1"].map(str::to_owned).to_vec());
        let cases = [
            (28, "us-east-3, us-west-1, moon-1"),
            (27, "us-east-3, us-west-1 +1"),
            (22, "us-east-3 +2"),
            (11, "us-east… +2"),
            (4, "us-…"),
        ];
        for (width, expected) in cases {
            assert_eq!(list.fit(width), expected);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider(
            cells in proptest::collection::vec(proptest::collection::vec(any::<char>(), 0..40), 12),
            width in 0_usize..130,
        ) {
            let cells: Vec<String> = cells.into_iter().map(String::from_iter).collect();
            let cell = |(n, text): (usize, &String)| -> Cell {
                if n % 2 == 0 { text.as_str().into() } else { vec![text.clone(); 3].into() }
            };
            let rows: Vec<Vec<Cell>> = cells.chunks(6).map(|c| c.iter().enumerate().map(cell).collect()).collect();
            let text = render_table(&COLUMNS, &rows, width);
            prop_assert_eq!(text.lines().count(), 3);
            for line in text.lines() {
                prop_assert!(measure_text_width(line) <= width, "{:?}", line);
            }
        }
    }
}
