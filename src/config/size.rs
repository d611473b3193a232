//! Sizes as people write them: `100GiB`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};
use crate::names::shown;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// Binary units, largest first, so that the first that divides is the shortest way to write a size.
const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many MiB; what does not fit is the largest size there is.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// Bytes in a unit. A bare letter is binary, as in `truncate` and `qemu-img`.
fn unit(name: &str) -> Option<u64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::new(Kind::Usage, format!("`{}` is not a size: {why}", shown(text)));
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, name) = (&trimmed[..end], trimmed[end..].trim_start());
        if digits.is_empty() {
            return Err(refuse("it does not start with a number").hint("write for example `100GiB`"));
        }
        if name.is_empty() {
            return Err(refuse("it has no unit").hint(format!("write for example `{}GiB`", shown(digits))));
        }
        let Some(unit) = unit(name) else {
            return Err(refuse(&format!("`{}` is no unit of size", shown(name)))
                .hint("write a whole number and one of `MiB`, `GiB`, `TiB`, `MB`, `GB`, `TB`"));
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| refuse("it is too large").hint("write for example `100GiB`"))
    }
}

/// Exact: what is printed parses back to the same size.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = BINARY.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = exact.copied().unwrap_or(("B", 1));
        f.pad(&format!("{}{name}", self.0 / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(text: &str) -> u64 {
        text.parse::<Size>().unwrap().as_bytes()
    }

    #[test]
    fn units_are_binary_unless_they_say_otherwise() {
        assert_eq!(size("100GiB"), 100 << 30);
        assert_eq!(size("100G"), 100 << 30);
        assert_eq!(size(" 100 gib "), 100 << 30);
        assert_eq!(size("100GB"), 100_000_000_000);
        assert_eq!(size("7B"), 7);
    }

    #[test]
    fn the_shortest_exact_unit_is_printed() {
        for text in ["0B", "1000B", "1KiB", "1536MiB", "100GiB", "16TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("2048GiB".parse::<Size>().unwrap().to_string(), "2TiB");
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_way_out() {
        for bad in
            ["", "GiB", "100", "-1GiB", "1.5TiB", "1GiBs", "٣GiB", "99999999999999999999B", "16777216TiB"]
        {
            let error = bad.parse::<Size>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
            assert!(!error.hints().is_empty(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_size_survives_being_printed(bytes: u64) {
            prop_assert_eq!(size(&Size::bytes(bytes).to_string()), bytes);
        }

        #[test]
        fn round_sizes_survive_being_printed(n in 0u64..1 << 24, shift in 0u32..40) {
            prop_assert_eq!(size(&Size::bytes(n << shift).to_string()), n << shift);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ 0-9]{0,25}.{0,6}") {
            crate::error::ignore(text.parse::<Size>());
        }
    }
}
