//! `devbox list images`: what instances start from. An image has an id for each region, and is the same in all of
//! them, so that regions are lines of one card.

use std::cmp::Reverse;

use crate::commands::list::listing::Listing;
use crate::commands::list::words::{day, minute, moment};
use crate::provider::catalog::Image;
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};
use crate::ui::text::harmless;

const COLUMNS: &[Column] = &[
    Column::new("FAMILY"),
    Column::new("ARCH"),
    Column::new("VERSION").flexible(12),
    Column::new("UPDATED").optional(1),
    Column::new("REGIONS").flexible(20),
];

/// By architecture and region, then by family, the newest first.
pub(super) fn sort(images: &mut [Image]) {
    images.sort_by_cached_key(|i| {
        (i.architecture.clone(), i.region.name.clone(), i.family.clone(), Reverse(time(&i.updated_time)))
    });
}

/// For comparing: what can't be read counts as old.
fn time(text: &str) -> (Option<jiff::Timestamp>, String) {
    (moment(text), text.to_owned())
}

/// Those that differ by their region alone, and what comes with that. Never empty.
struct Group<'a>(Vec<&'a Image>);

impl Group<'_> {
    fn newest<'a>(&'a self, of: impl Fn(&'a Image) -> &'a str) -> &'a str {
        self.0.iter().map(|i| of(i)).max_by_key(|text| time(text)).unwrap_or_default()
    }

    fn oldest<'a>(&'a self, of: impl Fn(&'a Image) -> &'a str) -> &'a str {
        self.0.iter().map(|i| of(i)).min_by_key(|text| time(text)).unwrap_or_default()
    }

    /// `2026-01-02 03:04 UTC`, or from when to when.
    fn times<'a>(&'a self, of: impl Fn(&'a Image) -> &'a str + Copy) -> String {
        let (first, last) = (minute(self.oldest(of)), minute(self.newest(of)));
        if first == last { last } else { format!("{first} to {last}") }
    }
}

/// By architecture and family, the newest first.
fn groups(images: &[Image]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for image in images {
        let same = |g: &&mut Group<'_>| {
            g.0.first().is_some_and(|first| {
                let like_it = Image {
                    id: first.id.clone(),
                    region: first.region.clone(),
                    created_time: first.created_time.clone(),
                    updated_time: first.updated_time.clone(),
                    ..image.clone()
                };
                like_it == **first
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.0.push(image),
            None => groups.push(Group(vec![image])),
        }
    }
    groups.sort_by_cached_key(|g| {
        let first = g.0.first().map(|i| (i.architecture.clone(), i.family.clone()));
        (first, Reverse(time(g.newest(|i| &i.updated_time))))
    });
    for group in &mut groups {
        group.0.sort_by_cached_key(|i| (i.region.name.clone(), Reverse(time(&i.updated_time))));
    }
    groups
}

pub(super) fn listing(images: &[Image]) -> Listing {
    let card = |g: &Group<'_>| {
        let Some(first) = g.0.first() else { return Card::default() };
        let mut card = Card::new(&format!("{}, {}", first.family, first.architecture));
        card.line("version", &first.version).line("name", &first.name).line("what", &first.description);
        card.line("updated", g.times(|i| &i.updated_time)).line("created", g.times(|i| &i.created_time));
        // Below each other, the ids too.
        let widest = g.0.iter().map(|i| console::measure_text_width(&harmless(&i.region.name))).max();
        card.lines(
            "regions",
            g.0.iter().map(|i| {
                let region = harmless(&i.region.name);
                let gap = widest.unwrap_or(0).saturating_sub(console::measure_text_width(&region));
                format!("{region}{}  {}", " ".repeat(gap), i.id)
            }),
        );
        card.extra("", &first.extra);
        card
    };
    let row = |g: &Group<'_>| -> Vec<Cell> {
        let Some(first) = g.0.first() else { return Vec::new() };
        let mut regions: Vec<_> = g.0.iter().map(|i| i.region.name.clone()).collect();
        regions.dedup();
        vec![
            first.family.as_str().into(),
            first.architecture.as_str().into(),
            first.version.as_str().into(),
            day(g.newest(|i| &i.updated_time)).into(),
            regions.into(),
        ]
    };
    Listing::of(&groups(images), card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::catalog::Region;
    use serde_json::json;

    fn image(family: &str, architecture: &str, region: &str, updated: &str) -> Image {
        let image = json!({
            "id": "43336648-096d-4cba-9aa2-f9bb7727639d", "name": "lambda-stack-24-04-v3",
            "description": "Lambda Stack on Ubuntu 24.04", "family": family, "version": "24.04.01",
            "architecture": architecture, "region": {"name": region, "description": "somewhere"},
            "created_time": "2026-01-02T03:04:05Z", "updated_time": updated,
        });
        serde_json::from_value(image).unwrap()
    }

    #[test]
    fn what_boots() {
        let stack = "lambda-stack-24-04";
        let mut images = vec![
            image(stack, "x86_64", "us-east-1", "2026-02-02T00:00:00Z"),
            image(stack, "arm64", "us-east-3", "2026-02-02T00:00:00Z"),
            image(stack, "arm64", "us-east-3", "2026-03-02T00:00:00Z"),
            image("lambda-stack-22-04", "riscv64", "mars\u{9b}", "yesterday"),
        ];
        images.extend(
            ["europe-central-1", "asia-south-1", "us-west-1", "me-west-1", "us-south-2"]
                .map(|region| image(stack, "x86_64", region, "2026-02-02T00:00:00Z")),
        );
        images.push(Image {
            version: "24.04.02".into(),
            ..image(stack, "x86_64", "us-east-1", "2026-04-02T00:00:00Z")
        });
        images[3].extra.insert("deprecated".into(), true.into());
        sort(&mut images);
        insta::assert_snapshot!(listing(&images).seen());
    }

    #[test]
    fn only_what_differs_by_region_is_one() {
        let same = image("a", "arm64", "us-east-1", "2026-02-02T00:00:00Z");
        let region = Region { name: "us-west-1".into(), description: String::new() };
        let there = Image { region, id: "other".into(), ..same.clone() };
        let named = Image { name: "other".into(), ..same.clone() };
        let mut marked = same.clone();
        marked.extra.insert("new".into(), 1.into());
        let images = [same, there, named, marked];
        let sizes: Vec<usize> = groups(&images).iter().map(|g| g.0.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn the_newest_of_a_family_comes_first() {
        let mut images = vec![
            image("b", "arm64", "us-east-1", "2024-01-01T00:00:00Z"),
            image("a", "arm64", "us-east-1", "never"),
            // Earlier than the next, whatever the letters say.
            image("a", "arm64", "us-east-1", "2024-06-01T01:00:00+05:00"),
            image("a", "arm64", "us-east-1", "2024-05-31T23:00:00Z"),
        ];
        sort(&mut images);
        let order: Vec<&str> = images.iter().map(|i| i.updated_time.as_str()).collect();
        assert_eq!(
            order,
            ["2024-05-31T23:00:00Z", "2024-06-01T01:00:00+05:00", "never", "2024-01-01T00:00:00Z"]
        );
    }
}
