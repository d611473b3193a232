//! What the cloud has when the scenario says nothing: its regions, kinds of machine and images.

use super::scenario::{Scenario, TypeSpec};

/// The regions of the document.
pub(crate) const REGIONS: [(&str, &str); 17] = [
    ("europe-central-1", "Germany"),
    ("asia-south-1", "India"),
    ("australia-east-1", "Australia"),
    ("me-west-1", "Israel"),
    ("asia-northeast-1", "Osaka, Japan"),
    ("asia-northeast-2", "Tokyo, Japan"),
    ("us-east-1", "Virginia, USA"),
    ("us-west-2", "Arizona, USA"),
    ("us-west-1", "California, USA"),
    ("us-south-1", "Texas, USA"),
    ("us-west-3", "Utah, USA"),
    ("us-midwest-1", "Illinois, USA"),
    ("us-east-2", "Washington, DC, USA"),
    ("us-south-2", "North Texas, USA"),
    ("us-south-3", "Central Texas, USA"),
    ("us-east-3", "Washington, DC, USA"),
    ("us-midwest-2", "Illinois, USA"),
];

/// Where a region is.
pub(crate) fn region(name: &str) -> Option<&'static str> {
    REGIONS.iter().find(|(code, _)| *code == name).map(|(_, place)| *place)
}

/// Name, description, GPU, cents an hour, processors, memory, disk, GPUs, where it is free.
type Line = (&'static str, &'static str, &'static str, u32, u32, u32, u32, u32, &'static [&'static str]);

const TYPES: [Line; 14] = [
    ("gpu_1x_gh200", "1x GH200 (96 GB)", "GH200 (96 GB)", 149, 64, 432, 4096, 1, &["us-east-3"]),
    (
        "gpu_1x_h100_pcie",
        "1x H100 (80 GB PCIe)",
        "H100 (80 GB PCIe)",
        249,
        26,
        200,
        1024,
        1,
        &["us-west-3", "us-south-2"],
    ),
    ("gpu_1x_h100_sxm5", "1x H100 (80 GB SXM5)", "H100 (80 GB SXM5)", 329, 26, 225, 2816, 1, &["us-south-3"]),
    ("gpu_2x_h100_sxm5", "2x H100 (80 GB SXM5)", "H100 (80 GB SXM5)", 638, 52, 450, 5632, 2, &[]),
    (
        "gpu_8x_h100_sxm5",
        "8x H100 (80 GB SXM5)",
        "H100 (80 GB SXM5)",
        2392,
        208,
        1800,
        22528,
        8,
        &["us-south-2"],
    ),
    ("gpu_8x_b200_sxm6", "8x B200 (180 GB SXM6)", "B200 (180 GB SXM6)", 3992, 208, 2900, 22528, 8, &[]),
    ("gpu_1x_a100", "1x A100 (40 GB PCIe)", "A100 (40 GB PCIe)", 129, 30, 200, 512, 1, &["us-south-1"]),
    (
        "gpu_1x_a100_sxm4",
        "1x A100 (40 GB SXM4)",
        "A100 (40 GB SXM4)",
        129,
        30,
        200,
        512,
        1,
        &["us-east-1", "us-west-2"],
    ),
    ("gpu_8x_a100", "8x A100 (40 GB SXM4)", "A100 (40 GB SXM4)", 1032, 124, 1800, 6144, 8, &[]),
    (
        "gpu_8x_a100_80gb_sxm4",
        "8x A100 (80 GB SXM4)",
        "A100 (80 GB SXM4)",
        1432,
        240,
        1800,
        19968,
        8,
        &["us-midwest-1"],
    ),
    (
        "gpu_1x_a10",
        "1x A10 (24 GB PCIe)",
        "A10 (24 GB PCIe)",
        75,
        30,
        200,
        1400,
        1,
        &["us-west-1", "us-east-1"],
    ),
    ("gpu_1x_a6000", "1x A6000 (48 GB)", "A6000 (48 GB)", 80, 14, 100, 512, 1, &[]),
    ("gpu_1x_rtx6000", "1x RTX 6000 (24 GB)", "RTX 6000 (24 GB)", 50, 14, 46, 512, 1, &["us-south-1"]),
    ("gpu_8x_v100_n", "8x Tesla V100 (16 GB)", "Tesla V100 (16 GB)", 440, 88, 448, 5939, 8, &["us-south-1"]),
];

/// Every kind of machine, in the catalogue's order.
pub(crate) fn types(scenario: &Scenario) -> Vec<TypeSpec> {
    let mut all: Vec<TypeSpec> = TYPES.iter().map(spec).collect();
    for own in &scenario.instance_types {
        match all.iter_mut().find(|t| t.name == own.name) {
            Some(there) => *there = own.clone(),
            None => all.push(own.clone()),
        }
    }
    all
}

fn spec(line: &Line) -> TypeSpec {
    let (name, description, gpu, price, vcpus, memory_gib, storage_gib, gpus, regions) = *line;
    TypeSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        gpu: gpu.to_owned(),
        price,
        vcpus,
        memory_gib,
        storage_gib,
        gpus,
        arm64: name.contains("gh200"),
        regions: regions.iter().map(|r| (*r).to_owned()).collect(),
    }
}

/// An image in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) architecture: &'static str,
    pub(crate) region: &'static str,
}

/// The family of a launch that names none.
pub(crate) const DEFAULT_FAMILY: &str = "lambda-stack-24-04";

const FAMILIES: [(&str, &str, &str); 2] = [
    ("lambda-stack-24-04", "Lambda Stack 24.04", "24.4.1"),
    ("lambda-stack-22-04", "Lambda Stack 22.04", "22.4.5"),
];

/// Every image: each family for each architecture in each region, with an id for each.
pub(crate) fn images() -> Vec<Image> {
    let mut all = Vec::new();
    for (r, (region, _)) in REGIONS.iter().enumerate() {
        for (f, (family, name, version)) in FAMILIES.iter().enumerate() {
            for (a, architecture) in ["x86_64", "arm64"].into_iter().enumerate() {
                let id =
                    format!("{:08x}-5a1b-4c0d-8e{a:02}-{f:04x}{r:08x}", 0x1a3b_0000 + r * 16 + f * 4 + a);
                all.push(Image { id, family, name, version, architecture, region });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_an_id_of_its_own_and_every_place_exists() {
        let mut ids: Vec<_> = images().into_iter().map(|image| image.id).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), all), (68, 68));
        for spec in types(&Scenario::default()) {
            assert!(spec.regions.iter().all(|name| region(name).is_some()), "{}", spec.name);
        }
    }
}
