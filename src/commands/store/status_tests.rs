use super::*;
use crate::guest::store::status::{RawGeneration, RawImage, Superblock};
use crate::journal::tests::entry;

const OURS: &str = r#"{"box":"hello","launch":"00000000000000000000000000000001","instance":"i-1","host":"h","boot":"b","since":"2026-01-02T03:04:05Z","lease":"flock"}"#;
const THEIRS: &str = r#"{"box":"gh","launch":"00000000000000000000000000000002","instance":"i-2","host":"h","boot":"b","since":"2026-01-02T03:04:05Z","lease":"flock"}"#;

pub(in crate::commands::store) fn raw() -> RawStatus {
    let generation = |generation, current, there, manifest: &str| RawGeneration {
        project: "hello".into(),
        generation,
        current,
        environment: "/nix/store/xz5k6zj078901gvm8zniw5v2sa85b2ln-hello-shell-env".into(),
        there,
        made: 1_767_322_000,
        manifest: manifest.into(),
    };
    let manifest =
        r#"{"fingerprint":"2be80df48331aaaa","paths":7,"bytes":4341400,"made":"2026-01-02T03:05:00Z"}"#;
    RawStatus {
        system: "x86_64-linux".into(),
        box_: "hello".into(),
        launch: "00000000000000000000000000000001".parse().unwrap(),
        path: "/lambda/nfs/devbox/devbox/stores/x86_64-linux.img".into(),
        mounted: true,
        errors: 0,
        image: Some(File { size: 100 << 30, real: 14_000_000 }),
        filesystem: Some(Filesystem { size: 98 << 30, used: 15 << 20, free: 97 << 30 }),
        superblock: Some(Superblock {
            state: "clean".into(),
            checked: Some(1_767_322_000),
            mounted: Some(1_767_322_100),
            replayed: true,
        }),
        volume: Volume {
            path: "/lambda/nfs/devbox".into(),
            kind: "nfs4".into(),
            size: 1 << 43,
            free: 1 << 42,
        },
        lease: "flock".into(),
        holder: Some(OURS.into()),
        checked: Some(r#"{"at":"2026-01-02T04:00:00Z","paths":812,"damaged":0}"#.into()),
        status: SetUp::default(),
        snapshots: Snapshots { count: 2, real: 27 << 20 },
        generations: vec![
            generation(1, false, true, ""),
            generation(2, false, false, "{"),
            generation(3, true, true, manifest),
        ],
        images: vec![
            RawImage {
                system: "x86_64-linux".into(),
                size: 100 << 30,
                real: 14_000_000,
                holder: Some(OURS.into()),
            },
            RawImage {
                system: "aarch64-linux".into(),
                size: 100 << 30,
                real: 9 << 30,
                holder: Some(THEIRS.into()),
            },
        ],
    }
}

/// As on terminals of several widths.
fn seen(raw: &RawStatus, instances: Option<&[Instance]>) -> String {
    let document = document(&entry(), raw.clone(), instances);
    [80, 120].map(|width| format!("--- {width}\n{}", render(&document, width))).concat()
}

#[test]
fn a_store_that_is_well() {
    insta::assert_snapshot!(seen(&raw(), Some(&[])));
}

#[test]
fn a_store_that_is_not() {
    let failed = r#"{"steps":[{"step":"volume","state":"done","detail":"nfs4"},{"step":"store","state":"failed",
        "detail":"the store image is damaged beyond what is repaired unasked: Unattached inode 84; it was not touched"}]}"#;
    let mut raw = RawStatus {
        mounted: false,
        filesystem: None,
        holder: Some(THEIRS.into()),
        checked: None,
        status: serde_json::from_str(failed).unwrap(),
        generations: vec![],
        snapshots: Snapshots { count: 0, real: 0 },
        ..raw()
    };
    raw.images.truncate(1);
    let unknown = seen(&raw, None);
    raw.superblock = None;
    raw.holder = None;
    raw.image = None;
    raw.status = SetUp::default();
    raw.lease = "text".into();
    insta::assert_snapshot!(unknown + &seen(&raw, None));
}

#[test]
fn the_document() {
    let document = document(&entry(), raw(), Some(&[]));
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}
