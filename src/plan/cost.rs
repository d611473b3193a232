//! Money, in US cents.

use std::str::FromStr;

use crate::error::{Error, Kind};
use crate::names::shown;

/// An amount of US dollars as people type it, in cents: `3999`, `12.50`, `$20`, `20 USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usd(pub u64);

impl FromStr for Usd {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.trim();
        let bare = bare.strip_prefix('$').or_else(|| bare.strip_suffix("USD")).unwrap_or(bare).trim();
        let (whole, cents) = bare.split_once('.').unwrap_or((bare, "00"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parsed = (digits(whole) && digits(cents) && cents.len() <= 2).then(|| {
            Some(whole.parse::<u64>().ok()?.checked_mul(100)? + format!("{cents:0<2}").parse::<u64>().ok()?)
        });
        match parsed.flatten() {
            Some(cents) if cents > 0 => Ok(Self(cents)),
            _ => Err(Error::new(
                Kind::Usage,
                format!(
                    "`{}` is not an amount of US dollars, such as `3999`, `12.50` or `20 USD`",
                    shown(text)
                ),
            )),
        }
    }
}

/// US cents as a person reads them: `1.49 USD`.
pub fn render_price(cents: u64) -> String {
    format!("{}.{:02} USD", cents / 100, cents % 100)
}

/// An hour's price as a person reads it; nothing costs on machines of one's own.
pub fn render_hourly(cents: Option<u32>) -> String {
    match cents {
        Some(0) => "free".to_owned(),
        Some(cents) => format!("{} an hour", render_price(u64::from(cents))),
        None => "price unknown".to_owned(),
    }
}

/// What so many seconds cost. Billed by the minute, begun minutes in full (lambda-cloud.md).
pub fn cents_of(seconds: i64, per_hour: u32) -> u64 {
    let minutes = u64::try_from(seconds).unwrap_or(0).div_ceil(60);
    minutes.saturating_mul(u64::from(per_hour)).div_ceil(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dollars() {
        let read = |text: &str| text.parse::<Usd>().ok().map(|usd| usd.0);
        assert_eq!(
            ["3999", "12.5", "$20.05", "20 USD", "0.01"].map(read),
            [Some(399_900), Some(1250), Some(2005), Some(2000), Some(1)]
        );
        assert_eq!(
            ["", "-1", "0", "1.234", "1.", ".5", "20 EUR", "1e3", "99999999999999999999"].map(read),
            [None; 9]
        );
    }

    #[test]
    fn a_begun_minute_is_paid() {
        assert_eq!(
            [cents_of(-5, 149), cents_of(0, 149), cents_of(1, 149), cents_of(3600, 149)],
            [0, 0, 3, 149]
        );
        assert_eq!(render_price(3), "0.03 USD");
        assert_eq!(render_hourly(Some(2392)), "23.92 USD an hour");
    }

    proptest! {
        #[test]
        fn longer_is_never_cheaper(a in 0_i64..10_000_000, b in 0_i64..10_000_000, per_hour: u32) {
            prop_assert!(cents_of(a.min(b), per_hour) <= cents_of(a.max(b), per_hour));
        }
    }
}
