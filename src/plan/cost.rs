//! Money, in US cents.

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
