//! The templates: what `nix flake init -t` copies from `nix/templates`, carried along in the binary.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use crate::config::nearest::hint_for_name;
use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// What a project can start from.
#[derive(Debug)]
pub struct Template {
    /// What it is called.
    pub name: &'static str,
    /// What it gives, in a few words.
    pub about: &'static str,
    /// Its files: the name, without folders, and the text.
    pub files: &'static [(&'static str, &'static str)],
    /// What to know and to do next, as a list in Markdown.
    pub next: &'static str,
}

/// The files of one template: those of its folder, each by its name.
macro_rules! files {
    ($template:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../nix/templates/", $template, "/", $name)))),*]
    };
}

/// Every template; the first is the one of a project that names none.
pub static TEMPLATES: [Template; 2] = [
    Template {
        name: "minimal",
        about: "A dev shell with git and Python",
        files: files!("minimal": "flake.nix", "flake.lock", "devbox.toml"),
        next: include_str!("../nix/templates/minimal.txt"),
    },
    Template {
        name: "cuda-torch",
        about: "CUDA, PyTorch and FlashAttention for GH200 and H100",
        files: files!("cuda-torch": "flake.nix", "flake.lock", "devbox.toml", "check_cuda.py"),
        next: include_str!("../nix/templates/cuda-torch.txt"),
    },
];

/// The template of that name. Pure.
///
/// # Errors
/// [`Kind::Usage`] when there is none, with what was probably meant.
pub fn find(name: &str) -> Result<&'static Template> {
    if let Some(found) = TEMPLATES.iter().find(|template| template.name == name) {
        return Ok(found);
    }
    let error = Error::new(Kind::Usage, format!("there is no template `{}`", shown(name)));
    let error = match hint_for_name(name, TEMPLATES.iter().map(|template| template.name)) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    let all: Vec<_> = TEMPLATES.iter().map(|t| format!("`{}` ({})", t.name, t.about)).collect();
    Err(error.hint(format!("templates are {}", all.join(", "))))
}

/// Tells clap the names, for help and completions. What is none of them is left to [`find`], whose error says more.
#[derive(Clone)]
pub struct Names;

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> std::result::Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(TEMPLATES.iter().map(|t| PossibleValue::new(t.name).help(t.about))))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::layer::{Trust, parse_file};

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        for (slip, meant) in [("cuda", "cuda-torch"), ("cuda_torch", "cuda-torch"), ("minimum", "minimal")] {
            let error = find(slip).unwrap_err();
            assert_eq!(error.message(), format!("there is no template `{slip}`"));
            assert_eq!(error.hints()[0], format!("did you mean `{meant}`?"));
        }
        let error = find("rust").unwrap_err();
        assert_eq!(error.hints().len(), 1);
        assert!(error.hints()[0].contains("`minimal` (A dev shell"), "{:?}", error.hints());
    }

    /// What project files may say is what they do say.
    #[test]
    fn every_configuration_is_right() {
        for template in &TEMPLATES {
            let (_, text) = template.files.iter().find(|(name, _)| *name == "devbox.toml").unwrap();
            let layer = parse_file(text, Path::new("devbox.toml"), Trust::Project).unwrap();
            assert!(layer.get("name").is_none(), "{}", template.name);
        }
    }
}
