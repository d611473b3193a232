//! What Nix does not pin of a box: its kernel, the size of its pages, its GPUs and their driver. Each launch is written
//! down with it on the volume, beside the generations, so that a change can be told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Kind, OrFail, Result};
use crate::guest::script;
use crate::journal::Entry;
use crate::nix::Fingerprint;
use crate::ssh::Guest;

/// A machine, as far as programs may notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// What `uname -m` says.
    pub processor: String,
    /// What `uname -r` says.
    pub kernel: String,
    /// The size of its pages in bytes: 65536 on a GH200, 4096 nearly everywhere else. Unknown of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// The version of its NVIDIA driver, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The models of its NVIDIA GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

/// `2 x NVIDIA H100 80GB HBM3`; each model once, in order. Pure.
pub fn render_gpus(gpus: &[String]) -> String {
    let mut models: Vec<(&str, usize)> = Vec::new();
    for gpu in gpus {
        match models.iter_mut().find(|(model, _)| model == gpu) {
            Some((_, count)) => *count += 1,
            None => models.push((gpu, 1)),
        }
    }
    let words = models.iter().map(|(model, count)| match count {
        1 => (*model).to_owned(),
        many => format!("{many} x {model}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// `4 KiB`. Pure.
fn render_pages(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") }
}

impl Machine {
    /// `Linux 6.8.0, pages of 64 KiB`. Pure.
    pub fn render_system(&self) -> String {
        let pages =
            self.page_size.map(|size| format!(", pages of {}", render_pages(size))).unwrap_or_default();
        format!("Linux {}{pages}", self.kernel)
    }

    /// `NVIDIA GH200 480GB, driver 570.86.15`; nothing where there is neither. Pure.
    pub fn render_gpu(&self) -> Option<String> {
        let driver = self.driver.as_ref().map(|version| format!("driver {version}"));
        let gpus = Some(render_gpus(&self.gpus)).filter(|gpus| !gpus.is_empty());
        let words: Vec<String> = gpus.into_iter().chain(driver).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// What differs, in words, where `before` is what it was: `driver 575.51.03, was 570.86.15`. Pure.
    pub fn changes(&self, before: &Self) -> Vec<String> {
        let none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let pages = |machine: &Self| machine.page_size.map(render_pages);
        let mut all = vec![
            ("driver", self.driver.clone().unwrap_or_default(), before.driver.clone().unwrap_or_default()),
            ("GPU", render_gpus(&self.gpus), render_gpus(&before.gpus)),
            ("kernel", self.kernel.clone(), before.kernel.clone()),
            ("processor", self.processor.clone(), before.processor.clone()),
        ];
        if let (Some(now), Some(then)) = (pages(self), pages(before)) {
            all.push(("pages of", now, then));
        }
        all.iter()
            .filter(|(_, now, then)| now != then)
            .map(|(what, now, then)| format!("{what} {}, was {}", none(now), none(then)))
            .collect()
    }
}

/// A launch as the volume remembers it: one line of `launches/SYSTEM/PROJECT.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// When it was written.
    pub at: Timestamp,
    /// The box.
    pub r#box: String,
    /// Our id of the launch.
    pub launch: String,
    /// The provider's id of the instance.
    pub instance: Option<String>,
    /// What kind of machine it is, in the provider's words.
    pub instance_type: Option<String>,
    /// Where it is, in the provider's words.
    pub region: Option<String>,
    /// The environment that became current.
    pub fingerprint: Fingerprint,
    /// Its generation.
    pub generation: u64,
    /// What it runs on.
    #[serde(flatten)]
    pub machine: Machine,
}

impl Record {
    /// That of a box that is ready now.
    pub fn new(
        entry: &Entry,
        machine: Machine,
        fingerprint: &Fingerprint,
        generation: u64,
        at: Timestamp,
    ) -> Self {
        Self {
            at,
            r#box: entry.name.to_string(),
            launch: entry.launch.to_string(),
            instance: entry.instance.as_ref().map(ToString::to_string),
            instance_type: entry.instance_type.clone(),
            region: entry.region.clone(),
            fingerprint: fingerprint.clone(),
            generation,
            machine,
        }
    }
}

/// Writes a launch down on the volume. Returns the one before it, where there is one that can be read.
///
/// # Errors
/// [`Kind::Guest`] when the box can't be reached, or can't write there.
pub async fn record(guest: &Guest, project: &str, record: &Record) -> Result<Option<Record>> {
    let mut line = serde_json::to_vec(record).or_kind(Kind::Failed, || "can't write a launch down".into())?;
    line.push(b'\n');
    let cmd = guest.command(&["sudo", &script("record"), project]).input(line);
    let before = guest.checked(&cmd).await?.text();
    Ok(serde_json::from_str(before.trim()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gh200() -> Machine {
        Machine {
            processor: "aarch64".into(),
            kernel: "6.8.0-1013-nvidia-64k".into(),
            page_size: Some(65536),
            driver: Some("570.86.15".into()),
            gpus: vec!["NVIDIA GH200 480GB".into()],
        }
    }

    #[test]
    fn a_machine_in_words() {
        let machine = gh200();
        assert_eq!(machine.render_system(), "Linux 6.8.0-1013-nvidia-64k, pages of 64 KiB");
        assert_eq!(machine.render_gpu().unwrap(), "NVIDIA GH200 480GB, driver 570.86.15");
        let bare = Machine { driver: None, gpus: vec![], page_size: None, ..machine };
        assert_eq!(bare.render_system(), "Linux 6.8.0-1013-nvidia-64k");
        assert_eq!(bare.render_gpu(), None);
        let eight = ["H100", "H100", "A10", "H100"].map(str::to_owned);
        assert_eq!(render_gpus(&eight), "3 x H100, A10");
    }

    #[test]
    fn what_changed_is_named_and_nothing_else() {
        assert!(gh200().changes(&gh200()).is_empty());
        let h100 = Machine {
            processor: "x86_64".into(),
            kernel: "6.8.0-60-generic".into(),
            page_size: Some(4096),
            driver: None,
            gpus: vec![],
        };
        assert_eq!(
            gh200().changes(&h100),
            [
                "driver 570.86.15, was none",
                "GPU NVIDIA GH200 480GB, was none",
                "kernel 6.8.0-1013-nvidia-64k, was 6.8.0-60-generic",
                "processor aarch64, was x86_64",
                "pages of 64 KiB, was 4 KiB",
            ]
        );
        // What nobody wrote down is no change.
        assert!(Machine { page_size: None, ..gh200() }.changes(&gh200()).is_empty());
    }

    proptest! {
        #[test]
        fn a_record_goes_round(kernel in ".{0,20}", gpus in proptest::collection::vec(".{0,20}", 0..4), driver in proptest::option::of(".{1,9}")) {
            let record = Record {
                at: Timestamp::UNIX_EPOCH,
                r#box: "hello".into(),
                launch: "01".into(),
                instance: None,
                instance_type: Some("gpu_1x_gh200".into()),
                region: None,
                fingerprint: Fingerprint("a".repeat(64)),
                generation: 3,
                machine: Machine { kernel, gpus, driver, ..gh200() },
            };
            let text = serde_json::to_string(&record).unwrap();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        }
    }
}
