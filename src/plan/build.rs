//! Where the dev shell is built. Pure.

use crate::config::BuildSetting;
use crate::error::{Error, Kind, Result};
use crate::names::System;
use crate::nix::builders::Builders;
use crate::nix::missing::Missing;

/// How many derivations are named.
const NAMED: usize = 5;

/// Where, and why there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, or by its remote builders.
    Here,
    /// On the box.
    There(String),
}

/// Where a dev shell of `system` is built: as the setting says, else here where that can be.
///
/// # Errors
/// [`Kind::Environment`] where the setting wants it here, and that can't be.
pub fn plan_place(setting: BuildSetting, system: System, builders: &Builders) -> Result<Place> {
    let name = system.to_string();
    let can = builders.own.contains(&name) || builders.remote.contains(&name);
    // The rest of its own are mostly variants of the first.
    let own = builders.own.first();
    let ours: Vec<&str> = own
        .into_iter()
        .chain(builders.remote.iter().filter(|s| Some(*s) != own))
        .map(String::as_str)
        .collect();
    let only = format!("this machine builds for {}, not for {name}", ours.join(", "));
    match setting {
        BuildSetting::Box => Ok(Place::There("`environment.build` is `box`".to_owned())),
        _ if can => Ok(Place::Here),
        BuildSetting::Auto => Ok(Place::There(only)),
        BuildSetting::Local => {
            Err(Error::new(Kind::Environment, format!("{only}, and `environment.build` is `local`"))
                .hint("`environment.build = \"auto\"` has the box build it")
                .hint("or set up a remote builder in nix.conf"))
        }
    }
}

/// So many derivations, the first of them by their names, as a person reads it.
pub fn render_derivations(missing: &Missing) -> String {
    let names = missing.build_names();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let many =
        if names.len() == 1 { "1 derivation".to_owned() } else { format!("{} derivations", names.len()) };
    format!("{many}: {}{more}", names.into_iter().take(NAMED).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn builders(own: &[&str], remote: &[&str]) -> Builders {
        let all = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Builders { own: all(own), remote: all(remote).into_iter().collect() }
    }

    #[test]
    fn here_where_that_can_be() {
        let plan = |setting, builders: &Builders| plan_place(setting, System::Aarch64Linux, builders);
        let x86 = builders(&["x86_64-linux", "i686-linux"], &[]);
        let there = plan(BuildSetting::Auto, &x86).unwrap();
        assert_eq!(there, Place::There("this machine builds for x86_64-linux, not for aarch64-linux".into()));
        let error = plan(BuildSetting::Local, &x86).unwrap_err();
        assert!(error.to_string().contains("`environment.build` is `local`"), "{error}");
        assert_eq!(error.kind(), Kind::Environment);
        for able in [builders(&["aarch64-linux"], &[]), builders(&["x86_64-linux"], &["aarch64-linux"])] {
            assert_eq!(plan(BuildSetting::Auto, &able).unwrap(), Place::Here);
            assert_eq!(plan(BuildSetting::Local, &able).unwrap(), Place::Here);
            assert!(matches!(plan(BuildSetting::Box, &able).unwrap(), Place::There(_)));
        }
    }

    #[test]
    fn the_first_derivations_are_named() {
        let drv = |name: &str| format!("/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-{name}.drv");
        let missing =
            |names: &[&str]| Missing { build: names.iter().map(|n| drv(n)).collect(), ..Missing::default() };
        assert_eq!(render_derivations(&missing(&["flash-attn-2.8.3"])), "1 derivation: flash-attn-2.8.3");
        assert_eq!(
            render_derivations(&missing(&["a", "b", "c", "d", "e", "f", "g"])),
            "7 derivations: a, b, c, d, e and 2 more"
        );
    }

    proptest! {
        /// It is never built here where that can't be, and never refused unless it was wanted here.
        #[test]
        fn never_where_it_can_not_be(
            own in proptest::collection::vec("x86_64-linux|aarch64-linux|aarch64-darwin", 1..3),
            remote in proptest::collection::btree_set("x86_64-linux|aarch64-linux", 0..2),
            setting in prop_oneof![Just(BuildSetting::Auto), Just(BuildSetting::Local), Just(BuildSetting::Box)],
        ) {
            let builders = Builders { own, remote };
            for system in [System::X86_64Linux, System::Aarch64Linux] {
                let name = system.to_string();
                let can = builders.own.contains(&name) || builders.remote.contains(&name);
                match plan_place(setting, system, &builders) {
                    Ok(Place::Here) => prop_assert!(can && setting != BuildSetting::Box),
                    Ok(Place::There(_)) => prop_assert!(setting != BuildSetting::Local),
                    Err(_) => prop_assert!(!can && setting == BuildSetting::Local),
                }
            }
        }
    }
}
