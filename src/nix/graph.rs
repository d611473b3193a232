//! Derivations read as they lie in the store: what a dev shell would refer to, before anything of it is built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix_derivation::Derivation;
use nix_derivation::store_path::StorePath;

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::nix::command;
use crate::nix::environment::closure_of_all;
use crate::nix::listing::Listing;
use crate::nix::missing::derivation_name;

/// How many derivations are looked at, at most: nixpkgs' largest environments have some ten thousand.
const MOST: usize = 50_000;

/// A derivation, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drv {
    /// Store paths of its outputs, as far as they are known before it is built, by their names.
    pub outputs: BTreeMap<String, String>,
    /// The outputs that it needs of other derivations.
    pub inputs: BTreeMap<String, BTreeSet<String>>,
    /// The store paths that it needs beside these.
    pub sources: Vec<String>,
    /// The values of its variables.
    pub values: Vec<String>,
}

/// Reads a derivation. `path` is its own store path, for its name and messages.
///
/// # Errors
/// [`Kind::Environment`] where it is none.
pub fn parse_drv(bytes: &[u8], path: &str) -> Result<Drv> {
    let not_one = |e: nix_derivation::Error| {
        Error::new(Kind::Environment, format!("can't read the derivation `{path}`")).caused_by(e)
    };
    let drv = Derivation::from_aterm_bytes(bytes, derivation_name(path)).map_err(not_one)?;
    let outputs = drv.resolved_outputs().map_err(not_one)?.into_iter();
    let text = |path: &StorePath| path.to_absolute_path();
    Ok(Drv {
        outputs: outputs.filter_map(|(name, output)| Some((name, text(&output.path?)))).collect(),
        inputs: drv
            .input_derivations()
            .iter()
            .map(|(path, input)| (text(path), input.outputs().clone()))
            .collect(),
        sources: drv.input_sources().iter().map(text).collect(),
        values: drv.environment().values().map(|v| String::from_utf8_lossy(v).into_owned()).collect(),
    })
}

/// What Nix will find in the environment of a dev shell: those of its inputs whose hashes stand in its variables. An
/// input that is only an argument of its builder is none: another builder records the environment.
pub fn roots(shell: &Drv, inputs: &BTreeMap<String, Drv>) -> Vec<String> {
    let of_inputs = shell.inputs.iter().flat_map(|(drv, outputs)| {
        let known = inputs.get(drv).map(|drv| &drv.outputs);
        outputs.iter().filter_map(move |name| known?.get(name).cloned())
    });
    let is_named = |path: &String| {
        let hash = path.trim_start_matches("/nix/store/").get(..32).unwrap_or(path);
        shell.values.iter().any(|value| value.contains(hash))
    };
    of_inputs.chain(shell.sources.iter().cloned()).filter(is_named).collect()
}

/// What a dev shell is made of, as far as that is known before it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// All of it is in this machine's store: these are the paths that it refers to.
    Here(Listing),
    /// Not all of it: these are the outputs that it or what it needs is made from, and how far from it the nearest
    /// that needs them is.
    ToCome(BTreeMap<String, usize>),
}

fn read(path: &str) -> Result<Drv> {
    let bytes =
        std::fs::read(path).or_kind(Kind::Environment, || format!("can't read {}", tick(Path::new(path))))?;
    parse_drv(&bytes, path)
}

/// Looks at the derivation of a dev shell. Builds nothing and fetches nothing.
///
/// # Errors
/// [`Kind::Environment`] when a derivation can't be read, or Nix does not answer.
pub async fn outlook(derivation: &str) -> Result<Outlook> {
    let shell = read(derivation)?;
    let direct = shell
        .inputs
        .keys()
        .map(|path| Ok((path.clone(), read(path)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let roots = roots(&shell, &direct);
    let known: usize = shell.inputs.values().map(BTreeSet::len).sum();
    let resolved = shell.inputs.iter().flat_map(|(drv, names)| {
        let outputs = &direct[drv].outputs;
        names.iter().filter(move |name| outputs.contains_key(*name))
    });
    // What is addressed by its contents has no path before it is built.
    if resolved.count() == known && are_valid(&roots).await? {
        return Ok(Outlook::Here(Listing::of(&closure_of_all(&roots).await?, "")));
    }
    Ok(Outlook::ToCome(candidates(shell, direct)?))
}

async fn are_valid(paths: &[String]) -> Result<bool> {
    if paths.is_empty() {
        return Ok(true);
    }
    let invalid = command::argv_invalid(paths).check().await.map_err(|e| e.with_kind(Kind::Environment))?;
    Ok(invalid.text().trim().is_empty())
}

/// Every output that is needed, each with how far away it is, nearest first.
fn candidates(shell: Drv, direct: BTreeMap<String, Drv>) -> Result<BTreeMap<String, usize>> {
    let mut known = direct;
    let mut all: BTreeMap<String, usize> = shell.sources.iter().map(|path| (path.clone(), 1)).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut layer = vec![shell];
    let mut depth = 1;
    while !layer.is_empty() && seen.len() < MOST {
        let mut next = Vec::new();
        for (path, outputs) in layer.iter().flat_map(|drv| &drv.inputs) {
            if !known.contains_key(path) {
                known.insert(path.clone(), read(path)?);
            }
            let input = &known[path];
            for output in outputs.iter().filter_map(|name| input.outputs.get(name)) {
                all.entry(output.clone()).or_insert(depth);
            }
            if seen.insert(path.clone()) {
                next.push(input.clone());
            }
        }
        layer = next;
        depth += 1;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DRV: &str = "/nix/store/f0i2jj7yn7s69jvpvcpgl1n38c8y8r98-hello-shell.drv";
    const TEXT: &str = r#"Derive([("out","/nix/store/d5dvb2wi57vnd6jx98mwprg82hw987zw-hello-shell","","")],[("/nix/store/40i617qb03vxvd35xcc0453ynbyf9g79-hello-all.drv",["out"])],["/nix/store/bxm2skg5g3hwy5g12iz9k7ni56iyc70z-hello-tools","/nix/store/1qy35gyg72wwc15w4xi921icxrapmsfz-builder.sh"],"x86_64-linux","/nix/store/bxm2skg5g3hwy5g12iz9k7ni56iyc70z-hello-tools/bash",["-e","/nix/store/1qy35gyg72wwc15w4xi921icxrapmsfz-builder.sh"],[("buildInputs","/nix/store/mdx40si584y9bdaxb2mr3nj3wd7iyp5v-hello-all"),("builder","/nix/store/bxm2skg5g3hwy5g12iz9k7ni56iyc70z-hello-tools/bash"),("name","hello-shell"),("out","/nix/store/d5dvb2wi57vnd6jx98mwprg82hw987zw-hello-shell"),("system","x86_64-linux")])"#;

    #[test]
    fn what_stands_in_the_variables_is_what_the_environment_refers_to() {
        let shell = parse_drv(TEXT.as_bytes(), DRV).unwrap();
        assert_eq!(shell.outputs["out"], "/nix/store/d5dvb2wi57vnd6jx98mwprg82hw987zw-hello-shell");
        let (input, _) = shell.inputs.first_key_value().unwrap();
        let made = "/nix/store/mdx40si584y9bdaxb2mr3nj3wd7iyp5v-hello-all".to_owned();
        let of_input = Drv { outputs: [("out".to_owned(), made.clone())].into(), ..Drv::default() };
        let roots = roots(&shell, &[(input.clone(), of_input)].into());
        assert_eq!(roots, [made, "/nix/store/bxm2skg5g3hwy5g12iz9k7ni56iyc70z-hello-tools".to_owned()]);
    }

    #[test]
    fn what_is_no_derivation_is_named() {
        let error = parse_drv(b"Derive(", DRV).unwrap_err();
        assert_eq!(error.message(), format!("can't read the derivation `{DRV}`"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,80}", at in 0usize..2000, cut in 0usize..20) {
            drop(parse_drv(text.as_bytes(), DRV));
            let mut bytes = TEXT.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes.splice(at..(at + cut).min(bytes.len()), text.bytes());
            drop(parse_drv(&bytes, DRV));
        }
    }
}
