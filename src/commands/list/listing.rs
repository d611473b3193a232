//! The same things twice: as cards, and as the rows of a table. Pure.

use crate::ui::card::{Card, render_cards};
use crate::ui::table::{Cell, Column, render_table};

/// One card and one row for each thing.
#[derive(Debug)]
pub(super) struct Listing {
    cards: Vec<Card>,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

impl Listing {
    pub(super) fn of<T>(
        items: &[T],
        card: impl Fn(&T) -> Card,
        columns: &'static [Column],
        row: impl Fn(&T) -> Vec<Cell>,
    ) -> Self {
        Self { cards: items.iter().map(card).collect(), columns, rows: items.iter().map(row).collect() }
    }

    pub(super) fn cards(&self, width: usize) -> String {
        render_cards(&self.cards, width)
    }

    pub(super) fn table(&self, width: usize) -> String {
        render_table(self.columns, &self.rows, width)
    }

    /// As on terminals of several widths, for snapshots.
    #[cfg(test)]
    pub(super) fn seen(&self) -> String {
        let cards = [80, 60].map(|width| format!("--- cards, {width}\n{}", self.cards(width)));
        let tables = [60, 80, 120].map(|width| format!("--- table, {width}\n{}", self.table(width)));
        [cards.concat(), tables.concat()].concat()
    }
}
