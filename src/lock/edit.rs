//! Writing one section of a lock, and nothing else.

use std::path::Path;

use crate::error::{Error, Kind, Result, tick};
use crate::lock::parse::parse_lock;
use crate::lock::render::{header, render_section};
use crate::lock::{Lock, Section};
use crate::names::System;

/// The text of a lock file with this section in place of the one it had: every byte outside of it stays. Without a
/// text, that of a new file. `path` is for messages.
///
/// # Errors
/// [`Kind::Usage`] when the text is no lock, or is laid out so that a section can't be told from the rest.
pub fn with_section(text: Option<&str>, path: &Path, system: System, section: &Section) -> Result<String> {
    let Some(text) = text else {
        return Ok(format!("{}\n{}", header(), render_section(system, section)));
    };
    let before = parse_lock(text, path)?;
    let edited = splice(text, system, &render_section(system, section));
    let mut wanted = before.clone();
    wanted.sections.insert(system, section.clone());
    match parse_lock(&edited, path) {
        Ok(lock) if lock == wanted => Ok(edited),
        _ => Err(Error::new(Kind::Usage, format!("{} is not laid out as devbox lays it out", tick(path)))
            .hint("move it out of the way: `devbox lock` writes a new one")),
    }
}

/// Where the table header in a line says it belongs: the first part of its key.
fn table_of(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?.trim_start();
    let quoted = inner.strip_prefix(['"', '\'']);
    let end = if quoted.is_some() { ['"', '\''] } else { ['.', ']'] };
    quoted.unwrap_or(inner).split(end).next().map(str::trim)
}

/// The text with the lines of a system's tables replaced; where it has none, with new ones before those of the systems
/// behind it. Comments above a table belong to it.
fn splice(text: &str, system: System, section: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_talk = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let name = system.as_str();
    let first = lines.iter().position(|line| table_of(line) == Some(name));
    let is_later = |line: &str| table_of(line).is_some_and(|table| table > name);
    let (from, to) = match first {
        Some(first) => {
            let rest = lines.iter().skip(first);
            let foreign = rest.take_while(|line| table_of(line).is_none_or(|table| table == name)).count();
            let mut to = first + foreign;
            while to > first && is_talk(lines[to - 1]) {
                to -= 1;
            }
            (first, to)
        }
        None => {
            let mut at = lines.iter().position(|line| is_later(line)).unwrap_or(lines.len());
            while at > 0 && at < lines.len() && lines[at - 1].trim_start().starts_with('#') {
                at -= 1;
            }
            (at, at)
        }
    };
    let mut out: String = lines[..from].concat();
    if first.is_none() && !out.is_empty() {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        if !out.ends_with("\n\n") {
            out.push('\n');
        }
    }
    out.push_str(section);
    if first.is_none() && to < lines.len() {
        out.push('\n');
    }
    out.push_str(&lines[to..].concat());
    out
}

impl Lock {
    /// The text of a file with these sections. Devbox itself writes one at a time; tests want all.
    #[cfg(test)]
    pub(super) fn render(&self) -> String {
        let mut sections: Vec<_> = self.sections.iter().collect();
        sections.sort_by_key(|(system, _)| system.as_str());
        let sections = sections.into_iter().map(|(system, section)| render_section(*system, section));
        format!("{}\n{}", header(), sections.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{arbitrary_section, section};
    use proptest::prelude::*;

    const PATH: &str = "devbox.lock";

    fn write(text: Option<&str>, system: System, section: &Section) -> String {
        with_section(text, Path::new(PATH), system, section).unwrap()
    }

    #[test]
    fn a_new_file() {
        insta::assert_snapshot!(write(None, System::X86_64Linux, &section()));
    }

    #[test]
    fn sections_stand_in_the_order_of_their_names_whichever_came_first() {
        let (x86, arm) = (System::X86_64Linux, System::Aarch64Linux);
        let other = Section { shell: ".#other".into(), ..section() };
        let one = write(Some(&write(None, x86, &section())), arm, &other);
        let two = write(Some(&write(None, arm, &other)), x86, &section());
        assert_eq!(one, two);
        assert_eq!(one, Lock { sections: [(x86, section()), (arm, other)].into() }.render());
    }

    #[test]
    fn comments_and_blanks_around_a_section_stay() {
        let (x86, arm) = (System::X86_64Linux, System::Aarch64Linux);
        let text = Lock { sections: [(x86, section()), (arm, section())].into() }.render();
        let text = text.replace("[aarch64-linux]\n", "# for the arm\n[\"aarch64-linux\"] # here\n");
        let text =
            text.replace("\n[x86_64-linux]\n", "\n\n# for the rest of us\n\n[x86_64-linux]\n") + "\n# end\n";
        let other = Section { shell: ".#other".into(), ..section() };
        let edited = write(Some(&text), x86, &other);
        assert_eq!(
            edited,
            text.replacen(".#default", "\0", 1).replace(".#default", ".#other").replace('\0', ".#default")
        );
        let edited = write(Some(&text), arm, &other);
        assert!(edited.contains("# for the arm\n[aarch64-linux]\nshell = \".#other\""), "{edited}");
        let rest = |text: &str| text[text.find("\n\n# for the rest").unwrap()..].to_owned();
        assert_eq!(rest(&edited), rest(&text));
    }

    #[test]
    fn what_can_not_be_edited_in_place_is_refused() {
        let text = write(None, System::X86_64Linux, &section());
        let (head, rest) = text.split_once("[x86_64-linux]\n").unwrap();
        let (keys, packages) = rest.split_once("\n[").unwrap();
        let dotted: String = keys.lines().map(|l| format!("x86_64-linux.{l}\n")).collect();
        let text = format!("{head}{dotted}\n[{packages}");
        let error = with_section(Some(&text), Path::new(PATH), System::X86_64Linux, &section()).unwrap_err();
        assert_eq!(error.message(), "`devbox.lock` is not laid out as devbox lays it out");
    }

    proptest! {
        #[test]
        fn one_section_is_written_and_the_other_stays(a in arbitrary_section(), b in arbitrary_section(), c in arbitrary_section()) {
            let (x86, arm) = (System::X86_64Linux, System::Aarch64Linux);
            let text = Lock { sections: [(x86, a.clone()), (arm, b)].into() }.render();
            let edited = write(Some(&text), arm, &c);
            prop_assert_eq!(&edited, &Lock { sections: [(x86, a.clone()), (arm, c.clone())].into() }.render());
            let edited = write(Some(&edited), x86, &c);
            prop_assert_eq!(edited, Lock { sections: [(x86, c.clone()), (arm, c)].into() }.render());
        }
    }
}
