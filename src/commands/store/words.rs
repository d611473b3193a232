//! The words that the store commands share. Pure.

use std::cmp::Ordering;

use indicatif::BinaryBytes;
use jiff::Timestamp;

use crate::guest::store::answers::{Current, Numbered};

/// Bytes as people read them.
pub(super) fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// A moment as people read it.
pub(super) fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// What changed, and by how much.
pub(super) fn before_and_after(before: u64, after: u64) -> String {
    let (was, is) = (bytes(before), bytes(after));
    match before.cmp(&after) {
        _ if was == is => format!("{is}, as before"),
        Ordering::Less => format!("{was} before, {is} now: {} more", bytes(after - before)),
        _ => format!("{was} before, {is} now: {} freed", bytes(before - after)),
    }
}

/// So many things.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// `hello 1, 2; other 7`.
pub(super) fn generations(all: &[Numbered]) -> String {
    let mut text = String::new();
    let mut last = None;
    for one in all {
        if last == Some(&one.project) {
            text.push_str(&format!(", {}", one.generation));
        } else {
            let sep = if last.is_some() { "; " } else { "" };
            text.push_str(&format!("{sep}{} {}", one.project, one.generation));
        }
        last = Some(&one.project);
    }
    text
}

/// `hello 3 (2be80df48331)`.
pub(super) fn current(one: &Current) -> String {
    let print = one.fingerprint.as_ref().map(|p| format!(" ({})", p.short())).unwrap_or_default();
    format!("{} {}{print}", one.project, one.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_direction() {
        assert_eq!(before_and_after(3 << 20, 1 << 20), "3.00 MiB before, 1.00 MiB now: 2.00 MiB freed");
        assert_eq!(before_and_after(5, 5), "5 B, as before");
        assert_eq!(before_and_after(5, 7), "5 B before, 7 B now: 2 B more");
    }

    #[test]
    fn generations_go_by_project() {
        let one = |project: &str, generation| Numbered { project: project.into(), generation };
        assert_eq!(generations(&[one("a", 1), one("a", 2), one("b", 7)]), "a 1, 2; b 7");
        assert_eq!(generations(&[]), "");
    }
}
