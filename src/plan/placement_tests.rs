//! Preferences, regions, volumes, images, systems.

use super::*;
use proptest::prelude::*;

fn offer(name: &str, cents: u32, regions: &[&str]) -> Offer {
    Offer {
        instance_type: name.into(),
        system: crate::provider::catalog::system_of(name),
        cents_per_hour: cents,
        regions: regions.iter().map(|r| (*r).to_owned()).collect(),
    }
}

fn volume(name: &str, region: &str) -> Volume {
    Volume {
        name: name.parse().unwrap(),
        id: name.into(),
        mount_point: format!("/lambda/nfs/{name}"),
        region: Some(region.into()),
        place: region.into(),
    }
}

fn wish(types: &[&str]) -> Wish {
    Wish {
        instance_types: types.iter().map(|t| (*t).to_owned()).collect(),
        by_price: false,
        regions: vec![],
        volumes: vec!["devbox".parse().unwrap()],
        image_family: None,
        system: None,
    }
}

fn market(offers: Vec<Offer>) -> Market {
    Market { offers, images: vec![] }
}

fn shown(placements: &Placements) -> Vec<String> {
    placements.all.iter().map(|p| format!("{} {} {}", p.instance_type, p.region, p.volume)).collect()
}

#[test]
fn preference_first_then_price_and_only_where_a_volume_lives() {
    let market = market(vec![
        offer("gpu_1x_h100_pcie", 249, &["a"]),
        offer("gpu_1x_h100_sxm5", 329, &["b"]),
        offer("gpu_1x_h100_new", 100, &[]),
        offer("gpu_8x_h100", 900, &["a"]),
    ]);
    let wish = wish(&["gpu_1x_h100_sxm5", "gpu_1x_h100*"]);
    let found = plan_placements(&wish, &market, &[volume("devbox", "a")]).unwrap();
    assert_eq!(
        shown(&found),
        ["gpu_1x_h100_sxm5 a devbox", "gpu_1x_h100_new a devbox", "gpu_1x_h100_pcie a devbox"]
    );
    assert_eq!(found.create, None);
    let by_price =
        plan_placements(&Wish { by_price: true, ..wish }, &market, &[volume("devbox", "a")]).unwrap();
    assert_eq!(by_price.all[0].instance_type, "gpu_1x_h100_new");
}

#[test]
fn more_volumes_more_regions_in_the_order_wanted() {
    let market = market(vec![offer("gpu_1x_a10", 75, &["a", "b"])]);
    let two = [volume("devbox", "a"), volume("west", "b")];
    assert_eq!(
        shown(&plan_placements(&wish(&["gpu_1x_a10"]), &market, &two).unwrap()),
        ["gpu_1x_a10 a devbox", "gpu_1x_a10 b west"]
    );
    let west_first = Wish { regions: vec!["b".into(), "a".into()], ..wish(&["gpu_1x_a10"]) };
    assert_eq!(
        shown(&plan_placements(&west_first, &market, &two).unwrap()),
        ["gpu_1x_a10 b west", "gpu_1x_a10 a devbox"]
    );
}

#[test]
fn a_volume_elsewhere_is_an_error_that_says_where() {
    let market = market(vec![offer("gpu_1x_a10", 75, &["a"])]);
    let wish = Wish { regions: vec!["us-west-1".into()], ..wish(&["gpu_1x_a10"]) };
    let error = plan_placements(&wish, &market, &[volume("devbox", "us-east-3")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Volume);
    assert_eq!(error.to_string(), "no volume is in the regions wanted (us-west-1)");
    assert_eq!(error.detail_lines(), ["`devbox` lives in us-east-3"]);
}

#[test]
fn a_new_volume_is_made_where_something_is_free() {
    let free = market(vec![offer("gpu_1x_gh200", 149, &["us-east-3"])]);
    let found = plan_placements(&wish(&["gpu_1x_gh200"]), &free, &[]).unwrap();
    assert_eq!(found.create, Some(("devbox".parse().unwrap(), Some("us-east-3".into()))));
    let nothing = market(vec![offer("gpu_1x_gh200", 149, &[])]);
    // Where nothing is free, nobody can tell yet.
    let found = plan_placements(&wish(&["gpu_1x_gh200"]), &nothing, &[]).unwrap();
    assert_eq!((found.all.len(), found.system), (0, System::Aarch64Linux));
    assert_eq!(found.create, Some(("devbox".parse().unwrap(), None)));
    let named = Wish { regions: vec!["b".into(), "us-east-3".into()], ..wish(&["gpu_1x_gh200"]) };
    assert_eq!(shown(&plan_placements(&named, &nothing, &[]).unwrap()), ["gpu_1x_gh200 b devbox"]);
    assert_eq!(shown(&plan_placements(&named, &free, &[]).unwrap()), ["gpu_1x_gh200 us-east-3 devbox"]);
}

#[test]
fn an_unknown_type_is_an_error() {
    let error = plan_placements(&wish(&["gpu_9x", "cpu*"]), &market(vec![offer("gpu_1x_a10", 1, &[])]), &[]);
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "there is no instance type `gpu_9x`, `cpu*`");
}

#[test]
fn the_image_must_be_there_for_the_architecture() {
    let image = |family: &str, system, region: &str| ImageOffer {
        family: family.into(),
        system,
        region: region.into(),
    };
    let market = Market {
        offers: vec![offer("gpu_1x_gh200", 149, &["a"])],
        images: vec![
            image("lambda-stack-24-04", Some(System::X86_64Linux), "a"),
            image("lambda-stack-22-04", Some(System::Aarch64Linux), "a"),
            image("lambda-stack-24-04", Some(System::Aarch64Linux), "b"),
        ],
    };
    let wish = Wish { image_family: Some("lambda-stack-24-04".into()), ..wish(&["gpu_1x_gh200"]) };
    let error = plan_placements(&wish, &market, &[volume("devbox", "a")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no image of the family `lambda-stack-24-04` for aarch64-linux in a"
    );
    assert_eq!(error.detail_lines(), ["there: lambda-stack-22-04"]);
    let nowhere = Wish { regions: vec!["us-eats-3".into()], ..wish.clone() };
    let error = plan_placements(&nowhere, &market, &[]).unwrap_err();
    assert_eq!(
        (error.to_string(), error.detail_lines()),
        ("there is no region `us-eats-3`".into(), &["there: a, b".to_owned()][..])
    );
    let there = plan_placements(&wish, &market, &[volume("devbox", "b")]).unwrap();
    assert_eq!(there.all[0].image_family.as_deref(), Some("lambda-stack-24-04"));
}

#[test]
fn one_system_is_asked_for_the_one_that_is_free() {
    let market = market(vec![offer("gpu_1x_gh200", 149, &[]), offer("gpu_1x_h100", 249, &["a"])]);
    let wish = Wish { by_price: true, ..wish(&["gpu_*"]) };
    let found = plan_placements(&wish, &market, &[volume("devbox", "a")]).unwrap();
    assert_eq!(found.system, System::X86_64Linux);
    assert_eq!(found.notes, ["left out, since the environment is built for x86_64-linux: gpu_1x_gh200"]);
}

#[test]
fn what_is_free_is_tried_and_now_and_then_what_is_not() {
    let nothing = [offer("x", 1, &[])];
    let market = market(vec![offer("x", 1, &["a"])]);
    let all = plan_placements(&wish(&["x"]), &market, &[volume("devbox", "a")]).unwrap().all;
    let tried: Vec<_> = (0..9).map(|round| plan_round(&all, &nothing, round).len()).collect();
    assert_eq!(tried, [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(plan_round(&all, &market.offers, 3).len(), 1);
}

proptest! {
    /// Whatever the market: nothing is asked for that nobody wanted, or where its volume does not live.
    #[test]
    fn only_what_was_wanted(
        offers in proptest::collection::vec(("(gpu|cpu)_[18]x_(a|gh200)", 0_u32..500, proptest::collection::vec("[abc]", 0..3)), 0..6),
        volumes in proptest::collection::vec("[abc]", 0..3),
        regions in proptest::collection::vec("[abc]", 0..3),
        by_price: bool,
    ) {
        let offers: Vec<_> = offers.into_iter().map(|(name, cents, regions)| {
            offer(&name, cents, &regions.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let volumes: Vec<_> = volumes.iter().map(|region| volume("devbox", region)).collect();
        let wish = Wish { by_price, regions, ..wish(&["gpu_1x*", "gpu_8x_a"]) };
        if let Ok(found) = plan_placements(&wish, &market(offers), &volumes) {
            prop_assert!(!found.all.is_empty() || (volumes.is_empty() && wish.regions.is_empty()));
            for place in &found.all {
                prop_assert!(place.instance_type.starts_with("gpu_"));
                prop_assert!(wish.regions.is_empty() || wish.regions.contains(&place.region));
                prop_assert_eq!(place.system, found.system);
                prop_assert!(found.create.is_some() || volumes.iter().any(|v| v.region.as_ref() == Some(&place.region)));
            }
        }
    }
}
