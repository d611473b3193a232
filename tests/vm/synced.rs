//! What a box said was safely on its volume, and whether it is there.

use std::collections::HashSet;

use crate::room::{BOX, Laptop, Listening};
use crate::support::until;

const WRITER: &str = include_str!("writer.sh");

/// The lines that writers printed, in their own words.
#[derive(Default)]
pub(crate) struct Synced {
    /// Store path, SHA-256 of the file.
    store: Vec<(String, String)>,
    home: Vec<String>,
}

impl Synced {
    pub(crate) fn add(&mut self, lines: &[String]) {
        for line in lines.iter().filter(|line| *line != "end") {
            match line.split_once(' ').unwrap() {
                ("store", rest) => {
                    let (path, sum) = rest.split_once(' ').unwrap();
                    self.store.push((path.to_owned(), sum.to_owned()));
                }
                ("home", line) => self.home.push(line.to_owned()),
                _ => panic!("{line}"),
            }
        }
    }

    /// How much that is, for people.
    pub(crate) fn count(&self) -> String {
        format!("{} store paths and {} lines", self.store.len(), self.home.len())
    }

    /// All of it is in the box, as it was written, and so is all else in its store.
    #[track_caller]
    pub(crate) fn assert_kept(&self, laptop: &Laptop, name: &str) {
        if !self.store.is_empty() {
            let sums: String = self.store.iter().map(|(path, sum)| format!("{sum}  {path}\n")).collect();
            let paths: String = self.store.iter().map(|(path, _)| format!("{path}\n")).collect();
            laptop.on_reading(name, "sha256sum --check --quiet", &sums);
            laptop.on_reading(name, "xargs nix-store --check-validity", &paths);
        }
        if !self.home.is_empty() {
            let home = laptop.on(name, "cat lines");
            let home: HashSet<_> = home.lines().collect();
            let lost: Vec<_> = self.home.iter().filter(|line| !home.contains(line.as_str())).collect();
            assert!(lost.is_empty(), "lost of the home: {lost:?}");
        }
        assert_store_is_sound(laptop, name);
    }
}

/// Every path that Nix takes for valid is what it was when it was registered.
#[track_caller]
pub(crate) fn assert_store_is_sound(laptop: &Laptop, name: &str) {
    let verify = "sudo nix-store --verify --check-contents";
    let run = laptop.cloud.env.devbox(["ssh", "--plain", name, "--", verify]).ok();
    for word in ["modified", "disappeared", "error"] {
        assert!(!run.stderr.contains(word), "{}", run.stderr);
    }
}

/// The writer runs on the box of a laptop, and has said its first words.
#[track_caller]
pub(crate) fn writer(laptop: &Laptop, mark: &str) -> Listening {
    laptop.on_reading(BOX, "cat >writer && chmod +x writer && sync", WRITER);
    let writer = laptop.listen(&format!("exec ./writer {mark}"));
    until("the first words of the writer", || !writer.heard().is_empty());
    writer
}

/// It ends by itself when it is told: what it said.
#[track_caller]
pub(crate) fn end_writer(laptop: &Laptop, mut writer: Listening) -> Vec<String> {
    laptop.on(BOX, "touch /tmp/enough");
    until("the end of the writer", || !writer.runs());
    let said = writer.end();
    assert_eq!(said.last().map(String::as_str), Some("end"), "{said:?}");
    said
}
