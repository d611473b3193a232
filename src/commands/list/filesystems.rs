//! `devbox list filesystems`: what outlives instances.

use indicatif::BinaryBytes;

use crate::commands::list::listing::Listing;
use crate::commands::list::words::{day, minute, more, place};
use crate::provider::catalog::Filesystem;
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME").flexible(24),
    Column::new("REGION"),
    Column::new("SIZE").right(),
    Column::new("IN USE"),
    Column::new("MOUNT POINT").flexible(20).optional(1),
    Column::new("CREATED").optional(2),
    Column::new("ID").spare(3),
];

pub(super) fn listing(filesystems: &[Filesystem]) -> Listing {
    let size = |f: &Filesystem| {
        f.bytes_used.map_or_else(|| "unknown".to_owned(), |bytes| BinaryBytes(bytes).to_string())
    };
    let in_use = |f: &Filesystem| if f.is_in_use { "yes" } else { "no" };
    let card = |f: &Filesystem| {
        let mut card = Card::new(&f.name);
        card.line("region", place(&f.region)).line("size", size(f)).line("in use", in_use(f));
        card.line("mount point", &f.mount_point);
        let by = if f.created_by.email.is_empty() { &f.created_by.id } else { &f.created_by.email };
        let by = format!("{by}{}", more(&f.created_by.extra));
        card.line("created", minute(&f.created)).line("created by", by.trim_start_matches(", "));
        card.line("id", &f.id).extra("", &f.extra);
        card
    };
    let row = |f: &Filesystem| -> Vec<Cell> {
        vec![
            f.name.as_str().into(),
            f.region.name.as_str().into(),
            size(f).into(),
            in_use(f).into(),
            f.mount_point.as_str().into(),
            day(&f.created).into(),
            f.id.as_str().into(),
        ]
    };
    Listing::of(filesystems, card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes() {
        let all = json!([
            {
                "id": "398578a2336b49079e74043f0bd2cfe8", "name": "devbox", "mount_point": "/lambda/nfs/devbox",
                "is_in_use": true, "region": {"name": "us-east-3", "description": "Washington, DC, USA"},
                "bytes_used": 12_345_678_901_u64, "created": "2026-01-02T03:04:05.123Z",
                "created_by": {"id": "u", "email": "me@example.com", "status": "active"},
            },
            {
                "id": "498578a2336b49079e74043f0bd2cfe8", "name": "Daten für alle, die sie brauchen — 実験データ",
                "mount_point": "/home/ubuntu/Daten für alle, die sie brauchen — 実験データ", "created": "a while ago",
                "created_by": {"id": "3da5a70a57a7422ea8a7203f98b2198b"}, "region": "us-west-1",
                "tier": {"name": "cold", "access_token": "s"},
            },
        ]);
        let all: Vec<Filesystem> = serde_json::from_value(all).unwrap();
        insta::assert_snapshot!(listing(&all).seen());
    }
}
